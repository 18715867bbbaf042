"""Many runs from their settings to their folders: finished ones kept, the others trained together.

A run that had begun goes on, with all those that it trained with.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from normlab.config import Settings
from normlab.config.data import DataSettings
from normlab.data.load import load_table, split_table, stays_on_disk
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.diagnosis.verdict import counted
from normlab.errors import UserError
from normlab.model.tasks import Binary
from normlab.training.cluster import submit
from normlab.training.environment import quiet_lightning
from normlab.training.folder import RunFolder
from normlab.training.grouping import sharing_key, why_apart
from normlab.training.leftovers import (
    begin,
    finished_result,
    go_on,
    points_of,
    why_not_go_on,
)
from normlab.training.memory import runs_that_fit
from normlab.training.progress import Progress, bar
from normlab.training.resume import ResumePoint
from normlab.training.run import Run, Together, make_network
from normlab.training.trainer import make_trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run of a sweep, before its data is read.

    Attributes:
        settings: checked.
        folder: where it goes.
        name: for messages.
        prepare: makes the folder and writes what belongs there before training.
    """

    settings: Settings
    folder: Path
    name: str
    prepare: Callable[[], None]


@dataclass(frozen=True)
class Group:
    """Positions of jobs that train together, and where they go on; None at their beginning."""

    jobs: list[int]
    resumed: ResumePoint | None = None


@dataclass
class Outcomes:
    """What jobs came to, by their positions: an objective, or a defect of the program."""

    objectives: dict[int, float] = field(default_factory=dict)
    defects: dict[int, Exception] = field(default_factory=dict)


def train_jobs(
    jobs: Sequence[Job],
    max_runs: int | None = None,
    executor: str = "local",
    submitit: dict[str, Any] | None = None,
) -> Outcomes:
    """Trains all jobs, as many at once as share a shape.

    A defect of the program ends the group that it happens in, and is returned; the others train.

    Args:
        max_runs: runs that train together at most; None: as many as the memory holds.
        executor: "local", or "submitit" for a job of submitit's for each group.
        submitit: parameters of the submitit executor.

    Raises:
        UserError: where data cannot be trained on, Lightning refuses an argument, or a folder
            holds a run of other settings; before any run trains.
    """
    if max_runs is not None and max_runs < 1:
        raise UserError(f"hydra.launcher.max_runs={max_runs}: must be at least 1, or null")
    quiet_lightning()
    outcomes, tables = Outcomes(), Tables()
    for i, job in enumerate(jobs):
        done = finished_result(job.folder, job.settings.to_dict())
        if done is not None:
            outcomes.objectives[i] = objective(done)
    if outcomes.objectives:
        log.info(f"{len(outcomes.objectives)} of {len(jobs)} runs had finished and are kept")
    waiting = [i for i in range(len(jobs)) if i not in outcomes.objectives]
    groups = _going_on(jobs, waiting)
    if groups:
        n_runs = sum(len(set(group.jobs) & set(waiting)) for group in groups)
        log.info(f"{n_runs} runs go on where they were ended")
    going_on = {i for group in groups for i in group.jobs}
    new = [i for i in waiting if i not in going_on]
    for same in _of_one_shape(jobs, new, tables):
        groups += [Group(part) for part in _parts(jobs, same, max_runs, tables)]
    epochs = sum(jobs[i].settings.trainer.max_epochs for i in waiting)
    shown = any(jobs[i].settings.trainer.enable_progress_bar for i in waiting)
    with bar(epochs, " epochs", not shown) as progress, logging_redirect_tqdm():
        if executor == "submitit":
            _submit(jobs, groups, outcomes, submitit or {}, progress)
        else:
            for group in groups:
                _train(jobs, group, outcomes, tables, progress)
    return outcomes


def _train(
    jobs: Sequence[Job], group: Group, outcomes: Outcomes, tables: Tables, progress: tqdm
) -> None:
    own = [jobs[i] for i in group.jobs]
    together = f"{len(own)} runs as one: {own[0].name} to {own[-1].name}"
    reason = why_apart(own[0].settings)
    log.info(together if len(own) > 1 else f"{own[0].name} alone{f': {reason}' if reason else ''}")
    try:
        values = train_group(own, group.resumed, tables, progress)
        outcomes.objectives |= zip(group.jobs, values, strict=True)
    except UserError:
        raise
    except Exception as error:
        log.exception(f"{own[0].name} to {own[-1].name} ended by a defect of the program")
        outcomes.defects |= dict.fromkeys(group.jobs, error)


def _submit(
    jobs: Sequence[Job],
    groups: Sequence[Group],
    outcomes: Outcomes,
    submitit: dict[str, Any],
    progress: tqdm,
) -> None:
    arguments = [([jobs[i] for i in group.jobs], group.resumed) for group in groups]
    submitted = submit(train_group, arguments, submitit)
    for group, job in zip(groups, submitted, strict=True):
        try:
            outcomes.objectives |= zip(group.jobs, job.result(), strict=True)
        except UserError:
            raise
        except Exception as error:
            log.exception(f"the job of {jobs[group.jobs[0]].name} failed")
            outcomes.defects |= dict.fromkeys(group.jobs, error)
        progress.update(len(group.jobs) * jobs[group.jobs[0]].settings.trainer.max_epochs)


def train_group(
    jobs: Sequence[Job],
    resumed: ResumePoint | None = None,
    tables: Tables | None = None,
    progress: tqdm | None = None,
) -> list[float]:
    """Trains jobs of one shape together, into their folders; returns their objectives."""
    tables = tables or Tables()
    settings = jobs[0].settings
    callbacks = [] if progress is None else [Progress(progress)]
    own: dict[str, Any] = {"callbacks": callbacks, "enable_progress_bar": progress is not None}
    if why_apart(settings) is None:
        own["devices"] = 1  # "auto" would take all
    trainer = make_trainer(settings, default_root_dir=jobs[0].folder, **own)
    runs = []
    for i, job in enumerate(jobs):
        data, folder = tables.split(job.settings), RunFolder(job.folder)
        if resumed is None:
            job.prepare()
            begin(folder, job.settings, data.table)
        else:
            go_on(folder, job.settings, data.table, resumed, i)
        runs.append(Run(job.settings, data, folder, job.name))
    together = Together(runs)
    if resumed is not None:
        resumed.check_networks(together.descriptions, together.network.state_dict())
        if progress is not None:
            progress.update(len(jobs) * resumed.epochs)
    warning = together.examine()
    if warning is not None:
        log.warning(f"{runs[0].data.table.source}: {warning}")
    results = together.train(trainer, resumed)
    verdicts = [result.diagnosis["verdict"] for result in results if result.diagnosis]
    if verdicts:
        log.info(f"verdicts: {counted(verdicts)}")
    _draw(together, results)
    return [objective(result.to_dict()) for result in results]


def _draw(together: Together, results: Sequence[Any]) -> None:
    from normlab.insight.pictures.dashboard import conclude

    for i, (run, result) in enumerate(zip(together.runs, results, strict=True)):
        if run.folder is not None and run.settings.figures.of(sweep=True):
            network = together.network.of_runs([i])
            best_epoch = int(together.module.outcomes.best_epoch[i])
            conclude(run.folder, network, run.data, result, best_epoch, draws=True)


def objective(result: dict[str, Any]) -> float:
    """What a search over settings minimizes, from the content of result.json."""
    loss = (result["val"] or result["train"])["loss"]
    return math.inf if loss is None or math.isnan(loss) else loss


def _going_on(jobs: Sequence[Job], waiting: Sequence[int]) -> list[Group]:
    """The groups that had begun, of which a run is waiting; all of their runs go on."""
    places = {job.folder.resolve(): i for i, job in enumerate(jobs)}
    groups, taken = [], set()
    for point in points_of([job.folder for job in jobs]):
        members = [places.get(folder.resolve()) for folder in point.folders]
        known = [i for i in members if i is not None]
        if not set(known) & set(waiting) or taken & set(known):
            continue
        why_not = None
        if len(known) < len(members):
            why_not = "some of its runs are not of this sweep"
        for i in known:
            why_not = why_not or why_not_go_on(point, jobs[i].folder, jobs[i].settings)
        if why_not is not None:
            log.warning(f"{point.path} is left, and its runs are trained anew: {why_not}")
            continue
        groups.append(Group(known, point))
        taken |= set(known)
    return groups


def _of_one_shape(jobs: Sequence[Job], new: Sequence[int], tables: Tables) -> list[list[int]]:
    """Positions of jobs that may share a network; all data is read and split on the way."""
    groups: dict[Hashable, list[int]] = {}
    for i in new:
        settings = jobs[i].settings
        try:
            split = tables.split(settings).split
        except UserError as error:
            raise UserError(f"{jobs[i].name}: {error}") from error
        alone = why_apart(settings) is not None or stays_on_disk(settings)
        sizes = (len(split.train), len(split.val), len(split.test))
        key = i if alone else (sharing_key(settings), sizes)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _parts(
    jobs: Sequence[Job], group: list[int], max_runs: int | None, tables: Tables
) -> list[list[int]]:
    """A group in equal parts of at most `max_runs`."""
    if max_runs is None and len(group) > 1:
        settings = jobs[group[0]].settings
        device = make_trainer(settings, enable_progress_bar=False, devices=1).strategy.root_device
        data = tables.split(settings)
        max_runs = runs_that_fit(make_network(settings, data, Binary()), data, device)
    n_parts = math.ceil(len(group) / (max_runs or 1))
    bounds = [len(group) * part // n_parts for part in range(n_parts + 1)]
    return [group[start:stop] for start, stop in pairwise(bounds)]


class Tables:
    """Reads each table once, however many runs train on it."""

    def __init__(self) -> None:
        self._read: dict[str, Table] = {}

    def load(self, settings: Settings) -> Table:
        """The table of a run."""
        source = settings.data.model_dump(exclude=set(DataSettings.model_fields))
        key = repr((source, stays_on_disk(settings)))
        if key not in self._read:
            self._read[key] = load_table(settings)
        return self._read[key]

    def split(self, settings: Settings) -> SplitTable:
        """The table of a run with its split."""
        return split_table(settings, self.load(settings))
