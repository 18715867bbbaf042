"""Which jobs of a sweep train together, and where they go on; all is known before one trains."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightning import Trainer

from normlab.config import Settings
from normlab.config.data import DataSettings
from normlab.data.load import load_table, split_table, stays_on_disk
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.model.tasks import Binary
from normlab.training.grouping import sharing_key, why_apart
from normlab.training.job import Job
from normlab.training.leftovers import points_of, why_not_go_on
from normlab.training.memory import runs_that_fit
from normlab.training.resume import ResumePoint
from normlab.training.run import make_network
from normlab.training.trainer import make_trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Positions of jobs that train together, and where they go on; None at their beginning."""

    jobs: list[int]
    resumed: ResumePoint | None = None


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


def plan(
    jobs: Sequence[Job], waiting: Sequence[int], max_runs: int | None, tables: Tables
) -> list[Group]:
    """The groups in which jobs train: those that had begun, then the new ones.

    Args:
        waiting: positions of the jobs that have no result.
        max_runs: runs that train together at most; None: as many as the memory holds.

    Raises:
        UserError: where data cannot be trained on, or Lightning refuses an argument.
    """
    groups = _going_on(jobs, waiting)
    if groups:
        n_runs = sum(len(set(group.jobs) & set(waiting)) for group in groups)
        log.info(f"{n_runs} runs go on where they were ended")
    going_on = {i for group in groups for i in group.jobs}
    new = [i for i in waiting if i not in going_on]
    for same in _of_one_shape(jobs, new, tables):
        groups += [Group(part) for part in _parts(jobs, same, max_runs, tables)]
    checked = set()
    for group in groups:
        settings = jobs[group.jobs[0]].settings
        if repr(settings.trainer) not in checked:  # Lightning's own refusals
            checked.add(repr(settings.trainer))
            trainer_for(settings, jobs[group.jobs[0]].folder, enable_progress_bar=False)
    return groups


def trainer_for(settings: Settings, folder: str | Path | None, **own: Any) -> Trainer:
    """The Trainer of runs that train together, or of one."""
    if why_apart(settings) is None:
        own["devices"] = 1  # "auto" would take all
    return make_trainer(settings, default_root_dir=folder, **own)


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
        device = trainer_for(
            settings, jobs[group[0]].folder, enable_progress_bar=False
        ).strategy.root_device
        data = tables.split(settings)
        max_runs = runs_that_fit(make_network(settings, data, Binary()), data, device)
    n_parts = math.ceil(len(group) / (max_runs or 1))
    bounds = [len(group) * part // n_parts for part in range(n_parts + 1)]
    return [group[start:stop] for start, stop in pairwise(bounds)]
