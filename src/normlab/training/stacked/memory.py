"""How many runs fit into the memory at hand."""

from __future__ import annotations

import os

import torch

from normlab.training.stacked.member import Member

SHARE = 0.5  # of the memory that is free, which others may want too
OBJECTS = 400_000  # bytes of Python objects a run: modules, folder, settings (measured)
COPIES = 8  # of a run's weights: themselves, gradient, two moments, best, temporaries


def runs_that_fit(member: Member, device: torch.device) -> int:
    """An estimate from one run of how many like it may train at once; at least 1."""
    network = member.classifier.network
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    split = member.data.split
    n_train, n_val = len(split.train), len(split.val)
    batch = min(member.data.batch_size or n_train, n_train)
    widths = sum(network.hidden) + 2 * network.normalizer.n_features + 1
    numbers = COPIES * n_parameters + 4 * max(batch, n_val) * widths + 12 * (n_train + n_val)
    return max(1, int(SHARE * free_memory(device) / (8 * numbers + OBJECTS)))


def free_memory(device: torch.device) -> int:
    """Bytes free on the device, or in the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
