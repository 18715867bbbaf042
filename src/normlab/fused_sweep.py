"""Many runs from their settings to their folders: finished ones kept, the others stacked."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from normlab.app import objective, write_start
from normlab.assembly import (
    lightning_trainer,
    load_table,
    make_classifier,
    make_data,
    stays_on_disk,
)
from normlab.cluster import submit
from normlab.config import Settings
from normlab.config.data import DataSettings
from normlab.data.table import Table
from normlab.diagnosis.conclusion import warning_of
from normlab.diagnosis.start import measure_starts
from normlab.diagnosis.verdict import counted
from normlab.diagnosis.warning import summed_up
from normlab.errors import UserError
from normlab.insight.pictures.dashboard import conclude
from normlab.training.environment import choose_threads, quiet_lightning
from normlab.training.progress import SweepProgress, bar
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
    waiting = [i for i in range(len(runs)) if i not in outcomes]
    groups = [part for group in _groups(runs, waiting) for part in _parts(runs, group, max_runs)]
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
    return [outcomes[i] for i in range(len(runs))]


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
        jobs = submit(train_group, [[runs[i] for i in group] for group in groups], submitit)
        for group, job in zip(groups, jobs, strict=True):
            yield group, job.result()
            progress.update(len(group) * runs[group[0]].settings.trainer.max_epochs)


def train_group(runs: Sequence[Run], progress: tqdm | None = None) -> list[float]:
    """Trains runs of one shape as one, into their folders; returns their objectives."""
    settings = runs[0].settings
    tables = _Tables()
    members = []
    for run in runs:
        run.prepare()
        clear(run.folder)
        table = tables.load(run.settings)
        folder = RunFolder(run.folder)
        write_start(folder, run.settings, table)
        data = make_data(run.settings, table)
        kept = run.settings.trainer.enable_checkpointing
        members.append(Member(make_classifier(run.settings, data), data, folder, kept))
    n_rows = len(members[0].data.split.train)
    rows_in_a_step = min(settings.data.batch_size or n_rows, n_rows)
    choose_threads(len(members) * rows_in_a_step, settings.model.hidden)
    if settings.diagnosis.enabled:
        examine(members, [run.name for run in runs])
    trainer = lightning_trainer(
        settings,
        devices=1,  # "auto" would take all
        callbacks=[] if progress is None else [SweepProgress(progress, len(members))],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=progress is not None,
    )
    stopping = settings.early_stopping
    results = train_stack(members, trainer, stopping.patience, stopping.min_delta)
    verdicts = [result.diagnosis["verdict"] for result in results if result.diagnosis]
    if verdicts:
        log.info(f"verdicts: {counted(verdicts)}")
    for run, member, result in zip(runs, members, results, strict=True):
        if run.settings.figures.of(sweep=True) and member.folder is not None:
            network, best_epoch = member.classifier.network, member.classifier.best.epoch
            conclude(member.folder, network, member.data, result, best_epoch, draws=True)
    return [objective(result.to_dict()) for result in results]


def examine(members: Sequence[Member], names: Sequence[str]) -> None:
    """What the runs start from; one warning for all those that this will keep from learning."""
    networks = [member.classifier.network for member in members]
    starts = measure_starts(networks, [member.data for member in members])
    warnings = []
    for member, start, name in zip(members, starts, names, strict=True):
        member.start = start
        message = warning_of(start, member.classifier)
        if message is not None:
            warnings.append((start, name, message))
    said = summed_up(warnings, len(members))
    if said is not None:
        log.warning(f"{members[0].data.table.source}: {said}")


class _Tables:
    """Reads each table once, however many runs train on it."""

    def __init__(self) -> None:
        self._read: dict[str, Table] = {}

    def load(self, settings: Settings) -> Table:
        source = settings.data.model_dump(exclude=set(DataSettings.model_fields))
        key = repr(source)
        if key not in self._read:
            self._read[key] = load_table(settings)
        return self._read[key]


def _groups(runs: Sequence[Run], waiting: Sequence[int]) -> list[list[int]]:
    """Positions of the runs that share a shape; all data is read and split on the way."""
    tables = _Tables()
    groups: dict[Hashable, list[int]] = {}
    for i in waiting:
        run = runs[i]
        try:
            split = make_data(run.settings, tables.load(run.settings)).split
        except UserError as error:
            raise UserError(f"{run.name}: {error}") from error
        sizes = (len(split.train), len(split.val), len(split.test))
        groups.setdefault((stacking_key(run.settings), sizes), []).append(i)
    return list(groups.values())


def _parts(runs: Sequence[Run], group: list[int], max_runs: int | None) -> list[list[int]]:
    """A group in equal parts of at most `max_runs`; each run by itself if it cannot be stacked."""
    settings = runs[group[0]].settings
    device = _device(settings)
    if _unstackable(settings):
        return [[i] for i in group]
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
    if len(group) == 1:
        return _unstackable(runs[group[0]].settings) or "no other run shares its stack"
    return None


def _unstackable(settings: Settings) -> str | None:
    """What keeps a run out of every stack, whose rows lie in memory; None where nothing does."""
    on_disk = "its table stays on disk (data.cache)" if stays_on_disk(settings) else None
    return why_alone(settings) or on_disk
