"""The jobs of a sweep, composed and checked before the first of them trains.

Hydra composes a job in a twentieth of a second, `config.compose` in a thousandth: it has all jobs
but those that interpolate. A test holds both ways together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from normlab.app.hydra_app import explain, parse_settings, without_hydra
from normlab.config.check import check_job, check_settings
from normlab.config.compose import compose
from normlab.errors import UserError
from normlab.files import to_yaml
from normlab.training.job import Job
from normlab.training.locks import OF_RUN, refuse_held

PLAIN = {OverrideType.CHANGE: "", OverrideType.FORCE_ADD: "++"}  # how a key is marked
BY_NUMBER = "${hydra.job.num}"


class Composer:
    """Composes the jobs of a sweep.

    Args:
        loader: Hydra's.
        master: the sweep's own config, with Hydra's part.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._parser = OverridesParser.create(loader)
        self._parsed: dict[str, Override] = {}
        sources = {source.provider: source.path for source in master.hydra.runtime.config_sources}
        self._conf = Path(sources["main"])
        sweep: Any = OmegaConf.to_container(master.hydra.sweep, resolve=False)
        self._folder = str(sweep["subdir"])
        # All jobs see the same time, so `now` is none of a job's own.
        own = f"{sweep['dir']}/{self._folder}".replace(BY_NUMBER, "").replace("${now:", "")
        self._is_plain = "${" not in own
        self._subdir: str | None = master.hydra.output_subdir

    def compose(self, jobs: Sequence[Sequence[str]], first: int = 0) -> list[Job]:
        """The jobs of these overrides.

        Args:
            first: number of the first of them.

        Raises:
            UserError: where a job's settings are bad, or two jobs would share a folder; the message
                names the jobs.
        """
        composed: list[Job] = []
        places: dict[Path, Job] = {}
        for num, overrides in enumerate(jobs, first):
            try:
                job = self._compose(num, list(overrides))
                check_job(job.settings)
            except (UserError, HydraException) as error:
                reason = error if isinstance(error, UserError) else explain(error)
                raise UserError(f"job {num} ({' '.join(overrides)}): {reason}") from error
            other = places.setdefault(job.folder.absolute(), job)
            if other is not job:
                raise UserError(
                    f"{job.title}: its folder {job.folder} is that of {other.title} too: name in "
                    "hydra.sweep.subdir what tells the jobs apart"
                )
            refuse_held(job.folder, OF_RUN)
            composed.append(job)
        return composed

    def _compose(self, num: int, overrides: list[str]) -> Job:
        parsed = [self._parse(override) for override in overrides]
        if not self._is_plain or not all(map(_is_plain, parsed)):
            return self._by_hydra(num, overrides)
        pairs = [(PLAIN[one.type] + one.key_or_group, one.value()) for one in parsed]
        task = compose(pairs, self._conf)
        folder = Path(self._master.hydra.sweep.dir) / self._folder.replace(BY_NUMBER, str(num))
        return Job(check_settings(task), folder, num, overrides, self._files(task, overrides))

    def _by_hydra(self, num: int, overrides: list[str]) -> Job:
        """A job whose settings or folder interpolate, or that is more than keys and values."""
        config = self._loader.load_sweep_config(self._master, overrides)
        OmegaConf.set_struct(config, False)
        config.hydra.job.id, config.hydra.job.num = str(num), num
        OmegaConf.copy_cache(self._master, config)  # one time for all jobs
        current: Any = HydraConfig.instance()
        before, current.cfg = current.cfg, config  # for ${hydra:...}
        try:
            folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
            own = without_hydra(config)
            task: Any = OmegaConf.to_container(own, resolve=False)
            files = self._files(task, overrides)
            return Job(parse_settings(own), folder, num, overrides, files)
        finally:
            current.cfg = before

    def _files(self, task: dict[str, Any], overrides: list[str]) -> dict[str, str]:
        """What Hydra's own launcher leaves of a job's config, interpolations unresolved."""
        if self._subdir is None:
            return {}
        dumped = yaml.dump(overrides, Dumper=yaml.CSafeDumper, allow_unicode=True)
        contents = {"config.yaml": to_yaml(task), "overrides.yaml": dumped}
        return {f"{self._subdir}/{name}": content for name, content in contents.items()}

    def _parse(self, override: str) -> Override:
        if override not in self._parsed:
            (self._parsed[override],) = self._parser.parse_overrides([override])
        return self._parsed[override]


def _is_plain(override: Override) -> bool:
    """Whether an override only puts a scalar or a list at a key, or chooses of a group."""
    value = override.value()
    return (
        override.type in PLAIN
        and override.package is None
        and not override.is_hydra_override()
        and not re.search(r"\[|\.\d", override.key_or_group)  # an element of a list
        and not isinstance(value, dict)
        and "${" not in str(value)
    )
