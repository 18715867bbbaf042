"""Where Lightning's loops stand in a run: a stack's own loops count an epoch as one batch."""

from __future__ import annotations

import copy
from typing import Any

from normlab.data.batches import batch_bounds
from normlab.data.module import EVALUATION_BATCH, TableDataModule


def loops_of_run(
    stack: dict[str, Any], data: TableDataModule, epochs: int, scheduled: bool
) -> dict[str, Any]:
    """The entry "loops" of the checkpoint that Lightning would have written of a run alone.

    Args:
        stack: that entry of the stack's own checkpoint, at the same epoch.
        data: the run's.
        epochs: number of epochs finished.
        scheduled: whether the run has a schedule of the learning rate.
    """
    loops = copy.deepcopy(stack)
    fit = loops["fit_loop"]
    steps = len(batch_bounds(len(data.split.train), data.batch_size))
    fit["epoch_loop.state_dict"]["_batches_that_stepped"] = epochs * steps
    optimizer = fit["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    for progress in (fit["epoch_loop.batch_progress"], optimizer["step"], optimizer["zero_grad"]):
        _set(progress, epochs * steps, steps)
    if scheduled:
        _set(fit["epoch_loop.scheduler_progress"], epochs, 1)
    if len(data.split.val):
        batches = len(batch_bounds(len(data.split.val), EVALUATION_BATCH))
        _set(fit["epoch_loop.val_loop.batch_progress"], batches, batches)
        fit["epoch_loop.val_loop.batch_progress"]["is_last_batch"] = True
    return loops


def _set(progress: dict[str, Any], total: int, current: int) -> None:
    progress["total"] = dict.fromkeys(progress["total"], total)
    progress["current"] = dict.fromkeys(progress["current"], current)
