"""Many runs from their settings to their folders: finished ones kept, the others stacked."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from normlab.app import objective
from normlab.assembly import lightning_trainer, make_classifier, make_data
from normlab.cluster import submit
from normlab.config import Settings
from normlab.defects import set_aside
from normlab.errors import UserError
from normlab.folder_lock import holding_job
from normlab.loading import load_table, stays_on_disk
from normlab.sweep_runs import Run, Tables, measure_trained, train_group
from normlab.training.environment import quiet_lightning
from normlab.training.leftovers import finished_result
from normlab.training.progress import bar
from normlab.training.stacked.grouping import stacking_key, why_alone
from normlab.training.stacked.member import Member
from normlab.training.stacked.memory import runs_that_fit
from normlab.unfinished import find_unfinished

log = logging.getLogger(__name__)


def train_runs(
    runs: Sequence[Run],
    alone: Callable[[int], float],
    max_runs: int | None = None,
    executor: str = "local",
    submitit: dict[str, Any] | None = None,
) -> list[float]:
    """Trains the runs, stacked where they share a shape.

    A run that had finished in its folder is not trained again, and one that had begun goes on: in
    the stack that it trained in, or from its own last checkpoint.

    Args:
        alone: trains the run of this position by itself, and returns its objective.
        max_runs: runs in a stack at most; None: as many as the memory holds.
        executor: "local" or "submitit".
        submitit: parameters of the submitit executor.

    Returns:
        Each run's objective (`app.objective`), in order; inf for one that a defect has ended.

    Raises:
        UserError: where data cannot be trained on, Lightning refuses an argument, or a folder
            holds a run of other settings; before any run trains.
    """
    if max_runs is not None and max_runs < 1:
        raise UserError(f"hydra.launcher.max_runs={max_runs}: must be at least 1, or null")
    quiet_lightning()
    outcomes: dict[int, float] = {}
    for i, run in enumerate(runs):
        done = finished_result(run.folder, run.settings.to_dict())
        if done is not None:
            outcomes[i] = objective(done)
    if outcomes:
        log.info(f"{len(outcomes)} of {len(runs)} runs had finished and are kept")
    left = find_unfinished(
        (run.folder for run in runs),
        ((i, run.folder, run.settings) for i, run in enumerate(runs) if i not in outcomes),
    )
    runs = [
        replace(run, stack=left.stacked[i].path) if i in left.stacked else run
        for i, run in enumerate(runs)
    ]
    trained = measure_trained(runs, left.own)
    if trained:
        log.info(f"{len(trained)} runs had trained all their epochs")
    outcomes |= trained
    waiting = [i for i in range(len(runs)) if i not in outcomes]
    if left.stacked:
        log.info(f"{len(left.stacked)} runs go on where they were ended")
    groups: list[list[int]] = []
    for group in _groups(runs, waiting, apart=left.own):
        with set_aside(_titles(runs, group)):
            groups += _parts(runs, group, max_runs)
    epochs = sum(runs[i].settings.trainer.max_epochs for i in waiting)
    shown = any(runs[i].settings.trainer.enable_progress_bar for i in waiting)
    with bar(epochs, " epochs", not shown) as progress, logging_redirect_tqdm():
        stacks = [group for group in groups if _why_alone(runs, group) is None]
        for group, values in _train_stacks(runs, stacks, executor, submitit or {}, progress):
            outcomes |= zip(group, values, strict=True)
        for group in groups:
            reason = _why_alone(runs, group)
            if reason is not None:
                (i,) = group
                log.info(f"{runs[i].name} alone: {reason}")
                outcomes[i] = alone(i)
                progress.update(runs[i].settings.trainer.max_epochs)
    return [outcomes.get(i, math.inf) for i in range(len(runs))]


def _train_stacks(
    runs: Sequence[Run],
    groups: Sequence[list[int]],
    executor: str,
    submitit: dict[str, Any],
    progress: tqdm,
) -> Iterator[tuple[list[int], list[float]]]:
    """Trains each group as one, here or where submitit says; yields it with its objectives."""
    for group in groups:
        first, last = runs[group[0]].name, runs[group[-1]].name
        log.info(f"{len(group)} runs as one: {first} to {last}")
        if executor == "local":
            yield group, train_group([runs[i] for i in group], progress)
    if executor == "submitit":
        jobs = submit(_train_elsewhere, [[runs[i] for i in group] for group in groups], submitit)
        for group, job in zip(groups, jobs, strict=True):
            with set_aside(_titles(runs, group)):
                yield group, job.result()
            progress.update(len(group) * runs[group[0]].settings.trainer.max_epochs)


def _train_elsewhere(runs: Sequence[Run]) -> list[float]:
    """`train_group` in a process of its own, which may outlive this one."""
    with holding_job(runs[0].folder):
        return train_group(runs)


def _titles(runs: Sequence[Run], group: Sequence[int]) -> dict[Path, str]:
    return {runs[i].folder: runs[i].title for i in group}


def _groups(
    runs: Sequence[Run], waiting: Sequence[int], apart: Container[int] = ()
) -> list[list[int]]:
    """Positions of the runs that share a shape; all data is read and split on the way.

    Args:
        apart: positions of runs that share no stack, whatever their shape.
    """
    tables = Tables()
    groups: dict[Hashable, list[int]] = {}
    for i in waiting:
        run = runs[i]
        try:
            with set_aside({run.folder: run.title}):
                split = make_data(run.settings, tables.load(run.settings)).split
                sizes = (len(split.train), len(split.val), len(split.test))
                origin = i if i in apart else run.stack
                groups.setdefault((stacking_key(run.settings), sizes, origin), []).append(i)
        except UserError as error:
            raise UserError(f"{run.name}: {error}") from error
    return list(groups.values())


def _parts(runs: Sequence[Run], group: list[int], max_runs: int | None) -> list[list[int]]:
    """A group in equal parts of at most `max_runs`; each run by itself if it cannot be stacked."""
    settings = runs[group[0]].settings
    device = _device(settings)
    if _unstackable(settings):
        return [[i] for i in group]
    if max_runs is None and runs[group[0]].stack is not None:
        return [group]  # as it was, for the same bits
    if max_runs is None:
        data = make_data(settings, load_table(settings))
        max_runs = runs_that_fit(Member(make_classifier(settings, data), data), device)
    n_parts = math.ceil(len(group) / max_runs)
    bounds = [len(group) * part // n_parts for part in range(n_parts + 1)]
    return [group[start:stop] for start, stop in pairwise(bounds)]


def _device(settings: Settings) -> torch.device:
    """Where a run trains; a run that trains alone has the devices that it asks for."""
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    own = {} if _unstackable(settings) else {"devices": 1}
    return lightning_trainer(settings, **silent, **own).strategy.root_device


def _why_alone(runs: Sequence[Run], group: list[int]) -> str | None:
    if len(group) == 1 and runs[group[0]].stack is None:
        return _unstackable(runs[group[0]].settings) or "no other run shares its stack"
    return None


def _unstackable(settings: Settings) -> str | None:
    """What keeps a run out of every stack, whose rows lie in memory; None where nothing does."""
    on_disk = "its table stays on disk (data.cache)" if stays_on_disk(settings) else None
    return why_alone(settings) or on_disk
