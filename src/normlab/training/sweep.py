"""Many runs from their settings to their folders: finished ones kept, the others trained together.

A run that had begun goes on, with all those that it trained with.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from normlab.data.load import stays_on_disk
from normlab.diagnosis.verdict import counted
from normlab.errors import UserError
from normlab.training.cluster import submit
from normlab.training.defects import TRACEBACK, set_aside
from normlab.training.environment import quiet_lightning
from normlab.training.folder import RunFolder
from normlab.training.grouping import why_apart
from normlab.training.job import Job
from normlab.training.leftovers import begin, finished_result, go_on
from normlab.training.locks import holding_job
from normlab.training.plan import Group, Tables, plan, trainer_for
from normlab.training.progress import Progress, bar
from normlab.training.resume import ResumePoint
from normlab.training.run import Run, Together

log = logging.getLogger(__name__)


def train_jobs(
    jobs: Sequence[Job],
    max_runs: int | None = None,
    executor: str = "local",
    submitit: dict[str, Any] | None = None,
) -> list[float]:
    """Trains all jobs, as many at once as share a shape.

    A defect of the program ends the group that it happens in, and is noted; the others train.

    Args:
        max_runs: runs that train together at most; None: as many as the memory holds.
        executor: "local", or "submitit" for a job of submitit's for each group.
        submitit: parameters of the submitit executor.

    Returns:
        What a search minimizes, of each job; inf where a defect ended it.

    Raises:
        UserError: where data cannot be trained on, Lightning refuses an argument, or a folder
            holds a run of other settings; before any run trains.
    """
    if max_runs is not None and max_runs < 1:
        raise UserError(f"hydra.launcher.max_runs={max_runs}: must be at least 1, or null")
    quiet_lightning()
    objectives: dict[int, float] = {}
    for i, job in enumerate(jobs):
        (job.folder / TRACEBACK).unlink(missing_ok=True)  # of an earlier attempt
        done = finished_result(job.folder, job.settings.to_dict())
        if done is not None:
            objectives[i] = objective(done)
    if objectives:
        log.info(f"{len(objectives)} of {len(jobs)} runs had finished and are kept")
    waiting, tables = [i for i in range(len(jobs)) if i not in objectives], Tables()
    groups = plan(jobs, waiting, max_runs, tables)
    epochs = sum(jobs[i].settings.trainer.max_epochs for i in waiting)
    shown = any(jobs[i].settings.trainer.enable_progress_bar for i in waiting)
    with bar(epochs, " epochs", not shown) as progress, logging_redirect_tqdm():
        trained = _submitted(jobs, groups, submitit or {}) if executor == "submitit" else None
        for position, group in enumerate(groups):
            own = [jobs[i] for i in group.jobs]
            with set_aside({job.folder: job.title for job in own}):
                if trained is not None:
                    values = trained[position].result()
                    progress.update(sum(job.settings.trainer.max_epochs for job in own))
                else:
                    _announce(own)
                    values = train_group((own, group.resumed), tables, progress)
                objectives |= zip(group.jobs, values, strict=True)
    return [objectives.get(i, math.inf) for i in range(len(jobs))]


def _announce(jobs: Sequence[Job]) -> None:
    first, last = jobs[0], jobs[-1]
    if len(jobs) > 1:
        log.info(f"{len(jobs)} runs as one: {first.name} to {last.name}")
    else:
        reason = why_apart(first.settings) or "no other run shares its stack"
        if stays_on_disk(first.settings):
            reason = "its table stays on disk (data.cache)"
        log.info(f"{first.name} alone: {reason}")


def _submitted(
    jobs: Sequence[Job], groups: Sequence[Group], submitit: dict[str, Any]
) -> Sequence[Any]:
    """A job of submitit's for each group."""
    arguments = [([jobs[i] for i in group.jobs], group.resumed) for group in groups]
    return submit(_train_elsewhere, arguments, submitit)


def _train_elsewhere(group: tuple[Sequence[Job], ResumePoint | None]) -> list[float]:
    """`train_group` in a process of its own, which may outlive this one."""
    with holding_job(group[0][0].folder):
        return train_group(group)


def train_group(
    group: tuple[Sequence[Job], ResumePoint | None],
    tables: Tables | None = None,
    progress: tqdm | None = None,
) -> list[float]:
    """Trains jobs of one shape together, into their folders; returns their objectives.

    Args:
        group: the jobs, and where they go on.
    """
    (jobs, resumed), tables = group, tables or Tables()
    settings = jobs[0].settings
    callbacks = [] if progress is None else [Progress(progress)]
    shown = progress is not None
    trainer = trainer_for(settings, jobs[0].folder, callbacks=callbacks, enable_progress_bar=shown)
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
