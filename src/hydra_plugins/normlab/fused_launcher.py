"""Hydra's side of sweeps: the grid of all jobs, checked at once, and the launcher that fuses them.

Hydra imports this module at the start of every program in the environment: no torch here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.normlab.jobs import Composer
from normlab.config import Settings
from normlab.errors import UserError
from normlab.layout import RESULT, SWEEP
from normlab.training.job import Job
from normlab.training.same_data import check_same_data_of_sweep
from normlab.training.signals import Interrupted, tell


class GridSweeper(Sweeper):
    """All combinations, as `hydra/sweeper=basic`, with the settings of all jobs checked first.

    Works with every launcher.

    Args:
        max_batch_size: jobs handed to the launcher at once; None: all.
        params: overrides to sweep over, beside those of the command line.
    """

    def __init__(self, max_batch_size: int | None, params: DictConfig | None = None) -> None:
        self.max_batch_size = max_batch_size
        self.params: Any = OmegaConf.to_container(params) if params else {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._loader = hydra_context.config_loader
        self._config = config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Called by Hydra with the overrides of the command line.

        Raises:
            UserError: where a job's settings are bad, or two jobs share a folder.
        """
        jobs = self._combinations(arguments)
        launcher = self._launcher
        composed = Composer(self._loader, self._config).compose(jobs)
        check_same_data_of_sweep((job.settings, job.folder) for job in composed)
        if isinstance(launcher, FusedLauncher):
            launcher.composed = composed
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / SWEEP)
        size = self.max_batch_size or len(jobs)
        returned: list[JobReturn] = []
        for start in range(0, len(jobs), size):
            returned += launcher.launch(jobs[start : start + size], start)
            _ = [job.return_value for job in returned]  # raises what a job raised
        return returned

    def _combinations(self, arguments: Sequence[str]) -> list[list[str]]:
        params = [f"{key}={value}" for key, value in self.params.items()]
        parser = OverridesParser.create(self._loader)
        choices: dict[str, list[str]] = {}  # of a key that is given twice the last one
        for override in parser.parse_overrides([*params, *arguments]):
            key, several = override.get_key_element(), override.is_sweep_override()
            if several and not override.is_discrete_sweep():
                raise UserError(
                    f"{override.input_line}: a grid takes choices and ranges; an interval is for "
                    "hydra/sweeper=search"
                )
            values = override.sweep_string_iterator() if several else ()
            choices[key] = [f"{key}={value}" for value in values] or [
                f"{key}={override.get_value_element_as_str()}"
            ]
        return [list(job) for job in itertools.product(*choices.values())]


class FusedLauncher(Launcher):
    """Trains the jobs of a batch together, as many as share a shape.

    Args:
        max_runs: runs trained as one at most; None: as many as the memory holds.
        executor: "local" trains in this process; "submitit" hands each group to submitit.
        submitit: parameters of `submitit.AutoExecutor.update_parameters`, and `cluster`.

    Attributes:
        composed: jobs that the sweeper has composed to check them.
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
        self.composed: list[Job] = []
        self._launched: list[tuple[Settings, Path]] = []  # of all batches of a search

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config = config
        self.composer = Composer(hydra_context.config_loader, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Called by a sweeper with the overrides of a batch of jobs.

        Raises:
            UserError: where a job's settings or data are bad, before any of them trains.
        """
        last = initial_job_idx + len(job_overrides)
        jobs = self.composed[initial_job_idx:last]
        if [job.overrides for job in jobs] != list(job_overrides):
            jobs = self.composer.compose(job_overrides, initial_job_idx)
            self._launched += ((job.settings, job.folder) for job in jobs)
            check_same_data_of_sweep(self._launched)
        from normlab.training.sweep import train_jobs  # imports torch

        folder = Path(self.config.hydra.sweep.dir)
        submitit = {**self.submitit, "folder": folder / ".submitit"}
        try:
            values = train_jobs(jobs, self.max_runs, self.executor, submitit)
        except Interrupted as end:
            finished = sum((job.folder / RESULT).exists() for job in jobs)
            tell(end, f"{finished} of {len(jobs)} runs have finished", folder)
            raise
        return [
            JobReturn(job.overrides, status=JobStatus.COMPLETED, _return_value=value)
            for job, value in zip(jobs, values, strict=True)
        ]
