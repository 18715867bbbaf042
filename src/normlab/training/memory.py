"""How many runs fit into the memory at hand, and what keeps that memory fast."""

from __future__ import annotations

import ctypes
import os

import torch

from normlab.data.file.memory import free_memory as free_memory_here
from normlab.data.serve.module import SplitTable
from normlab.model.network import Network

SHARE = 0.5  # of the memory that is free, which others may want too
OBJECTS = 400_000  # bytes of Python objects a run: modules, folder, settings (measured)
LARGEST = 2**23  # numbers in an activation; see `keep_freed_memory`
COPIES = 8  # of a run's weights: themselves, gradient, two moments, best, temporaries


def runs_that_fit(network: Network, data: SplitTable, device: torch.device) -> int:
    """An estimate from one run of how many like it may train at once; at least 1."""
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    split = data.split
    n_train, n_val = len(split.train), len(split.val)
    batch = min(data.batch_size or n_train, n_train)
    widths = sum(network.hidden) + network.n_columns + network.n_inputs + 1
    numbers = COPIES * n_parameters + 4 * max(batch, n_val) * widths + 12 * (n_train + n_val)
    fitting = int(SHARE * free_memory(device) / (8 * numbers + OBJECTS))
    if device.type == "cpu":
        fitting = min(fitting, LARGEST // (batch * max(network.hidden, default=1)))
    return max(1, fitting)


def free_memory(device: torch.device) -> int:
    """Bytes free on the device, or for this process."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory_here()


def keep_freed_memory() -> None:
    """Lets glibc keep the blocks that a step frees, for the next step to take.

    By default it gives those of some megabytes back to the system, which hands them out again
    page by page: a step of 200 runs took 27 to 35 ms, and 18 without. Blocks above 32 MB (glibc's
    DEFAULT_MMAP_THRESHOLD_MAX) are given back all the same, hence `LARGEST`. Elsewhere than on
    glibc nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**25)
