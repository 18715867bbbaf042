"""Many runs from their settings to their folders: finished ones kept, the others stacked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from normlab.app import choose_threads, objective, quiet_lightning, write_start
from normlab.assembly import lightning_trainer, load_table, make_classifier, make_data
from normlab.config import Settings
from normlab.data.module import TableDataModule
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.training.progress import SweepProgress
from normlab.training.run_folder import RunFolder, clear, finished_result
from normlab.training.stacked.grouping import stacking_key, why_alone
from normlab.training.stacked.member import Member
from normlab.training.stacked.memory import runs_that_fit
from normlab.training.stacked.train import train_stack

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What to train, and where to.

    Attributes:
        name: for messages.
        prepare: makes the folder and writes what belongs there before training.
    """

    settings: Settings
    folder: Path
    name: str
    prepare: Callable[[], None]


def train_runs(
    runs: Sequence[Run],
    alone: Callable[[int], float],
    max_runs: int | None = None,
    executor: str = "local",
    submitit: dict[str, Any] | None = None,
) -> list[float]:
    """Trains the runs, stacked where they share a shape.

    A run that had finished in its folder is not trained again.

    Args:
        alone: trains the run of this position by itself, and returns its objective.
        max_runs: runs in a stack at most; None: as many as the memory holds.
        executor: "local" or "submitit".
        submitit: parameters of the submitit executor.

    Returns:
        Each run's objective (`app.objective`), in order.

    Raises:
        UserError: where data cannot be trained on, or a folder holds a run of other settings;
            before any run trains.
    """
    quiet_lightning()
    outcomes: dict[int, float] = {}
    for i, run in enumerate(runs):
        done = finished_result(run.folder, run.settings.to_dict())
        if done is not None:
            outcomes[i] = objective(done)
    waiting = [i for i in range(len(runs)) if i not in outcomes]
    if outcomes:
        log.info(f"{len(outcomes)} of {len(runs)} runs had finished and are kept")
    groups, singles = _group(runs, waiting)
    for group in groups:
        size = max_runs or _fitting(runs[group[0]])
        for part in _parts(group, size):
            members = [runs[i] for i in part]
            log.info(f"training {len(part)} runs as one: {members[0].name} ... {members[-1].name}")
            for i, value in zip(part, train_group(members), strict=True):
                outcomes[i] = value
    for i, reason in singles:
        log.info(f"training {runs[i].name} alone: {reason}")
        outcomes[i] = alone(i)
    return [outcomes[i] for i in range(len(runs))]
