"""Which of a run's processes this is, told by the environment: known before torch is imported.

Lightning runs the command line again in each process but the first (`ddp`), torchrun and srun
start all of them. Only the first has a run folder and speaks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normlab.config.training import TrainerSettings


def n_devices(trainer: TrainerSettings) -> int | None:
    """How many devices of a machine the settings ask for; None where only the machine can tell."""
    devices = trainer.devices
    if isinstance(devices, list):
        return len(devices)
    text = str(devices)
    return int(text) if text.isdecimal() else None


def n_nodes(trainer: TrainerSettings) -> int:
    """How many machines the settings ask for."""
    return (trainer.model_extra or {}).get("num_nodes") or 1


def may_be_several(trainer: TrainerSettings) -> bool:
    """Whether more than one process may come to share the training."""
    return n_devices(trainer) != 1 or n_nodes(trainer) > 1


def by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first(trainer: TrainerSettings) -> bool:
    """Whether this process is the only one of its run, or the first of several.

    A run of one process is the first wherever it was started: Slurm and Kubernetes number their
    processes too, whether or not these train together.
    """
    if by_torchrun():
        names = ("RANK",)
    elif not may_be_several(trainer):
        names = ()
    elif "SLURM_NTASKS" in os.environ and "LOCAL_RANK" not in os.environ:
        names = ("SLURM_PROCID",)
    else:
        names = ("LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def is_echo() -> bool:
    """Whether another process on this machine says whatever this one has to say of a refusal."""
    return by_torchrun() and os.environ.get("LOCAL_RANK", "0") != "0"
