"""What a training needs of the process around it: its threads, and quiet."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

QUIET = (
    "Total length of `list` across ranks is zero",  # data.split=none
    "Checkpoint directory .* exists and is not empty",
    "The number of training batches .* is smaller than the logging interval",  # epochs are logged
    "The `srun` command is available on your system",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning's own call into torch
)


@contextmanager
def threads_for(rows_in_a_step: int, hidden: list[int]) -> Iterator[None]:
    """Within, one thread for small steps, unless OMP_NUM_THREADS says otherwise.

    More gain little there, and where another process wants the cores they wait for each other at
    every operation: 38 ms a step instead of 3 for 500 rows and 4 units.
    """
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ and rows_in_a_step * max(hidden, default=1) < 2**21:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def quiet_lightning() -> None:
    """Leaves out what Lightning says that is of no use here: the device stands in the headline."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
