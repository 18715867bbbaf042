"""Hydra's grid of all combinations, with every job checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.normlab.fused_launcher import FusedLauncher
from hydra_plugins.normlab.jobs import JobComposer
from normlab.same_data import check_same_data_of_sweep


class GridSweeper(BasicSweeper):
    """`hydra/sweeper=basic`, but that it checks the settings of all jobs first, and in less time.

    Works with every launcher.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Called by Hydra with the overrides of the command line.

        Raises:
            UserError: where a job's settings are bad, naming the job, or the sweep goes on with
                data that have changed.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        (jobs,) = self.split_arguments(parsed, None)
        fused = self.launcher if isinstance(self.launcher, FusedLauncher) else None
        composer = JobComposer(loader, self.config) if fused is None else fused.composer
        checked = {num: composer.compose(num, overrides) for num, overrides in enumerate(jobs)}
        check_same_data_of_sweep((job.settings, job.folder) for job in checked.values())
        if fused is not None:
            composer.checked = checked
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Done for all batches before the first."""
