"""Hydra's side of fused sweeps: overrides in, finished run folders out.

Hydra imports this module at the start of every program in the environment: no torch here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.normlab.jobs import Job, JobComposer
from normlab.config import Settings
from normlab.errors import UserError
from normlab.interruption import Interrupted, tell
from normlab.same_data import check_same_data_of_sweep

log = logging.getLogger(__name__)


class FusedLauncher(Launcher):
    """Trains the jobs of a batch together, as many as share a shape.

    Hydra's callbacks `on_job_start` and `on_job_end` are called for the jobs that train alone.

    Args:
        max_runs: runs trained as one at most; None: as many as the memory holds.
        executor: "local" trains in this process; "submitit" hands each group to submitit.
        submitit: parameters of `submitit.AutoExecutor.update_parameters`, and `cluster`.
    """

    def __init__(
        self,
        max_runs: int | None = None,
        executor: str = "local",
        submitit: dict[str, Any] | None = None,
    ) -> None:
        if executor not in ("local", "submitit"):
            raise UserError(f"hydra.launcher.executor={executor}: must be local or submitit")
        self.max_runs = max_runs
        self.executor = executor
        self.submitit = submitit or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        self.composer = JobComposer(hydra_context.config_loader, config)
        self.launched: list[tuple[Settings, Path]] = []

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Called by Hydra's sweeper with the overrides of a batch of jobs.

        Raises:
            UserError: where a job's settings or data are bad, before any of them trains.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = [
            self.composer.compose(initial_job_idx + i, overrides)
            for i, overrides in enumerate(job_overrides)
        ]
        self.launched += ((job.settings, job.folder) for job in jobs)
        check_same_data_of_sweep(self.launched)
        from normlab.fused_sweep import Run, train_runs  # imports torch

        runs = [
            Run(
                job.settings,
                job.folder,
                f"job {job.num}",
                job.write_hydra_files,
                overrides=job.overrides,
            )
            for job in jobs
        ]
        folder = Path(self.config.hydra.sweep.dir)
        try:
            outcomes = train_runs(
                runs,
                alone=lambda i: self._run_alone(jobs[i]),
                max_runs=self.max_runs,
                executor=self.executor,
                submitit={**self.submitit, "folder": folder / ".submitit"},
            )
        except Interrupted as end:
            finished = sum((job.folder / "result.json").exists() for job in jobs)
            tell(end, f"{finished} of {len(jobs)} runs have finished", folder)
            raise
        return [_job_return(job, value) for job, value in zip(jobs, outcomes, strict=True)]

    def _run_alone(self, job: Job) -> Any:
        """One job as Hydra's basic launcher runs it."""
        returned = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=self.composer.load(job.num, job.overrides),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return returned.return_value  # raises what the job raised


def _job_return(job: Job, value: Any) -> JobReturn:
    """What sweepers read of a job; its config stands in its folder (OmegaConf takes 20 ms)."""
    returned = JobReturn()
    returned.overrides = job.overrides
    returned.working_dir = str(Path.cwd())
    returned.task_name = job.hydra["job"]["name"]
    returned.status = JobStatus.COMPLETED
    returned.return_value = value
    return returned
