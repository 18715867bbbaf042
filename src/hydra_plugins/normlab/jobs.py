"""The jobs of a sweep, composed and checked: once for all jobs that differ in plain values only.

Hydra composes a job in a tenth of a second, and the sweeper and the launcher each do. Jobs with
the same choices of groups and the same keys differ in values that can be set in the composed
config just as well; a test holds both ways together.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from normlab.config import Settings
from normlab.errors import UserError
from normlab.folder_lock import OF_RUN, refuse_held
from normlab.messages import explain
from normlab.plain_yaml import to_yaml
from normlab.validation import check_job, check_settings, parse_settings, without_hydra

PLAIN = (OverrideType.CHANGE, OverrideType.ADD, OverrideType.FORCE_ADD)
BY_NUMBER = "${hydra.job.num}"


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        num: its number in the sweep.
        overrides: as they stand on the command line.
        settings: checked.
        folder: where it goes.
        task, hydra: the program's and Hydra's part of its config, as plain types with
            interpolations unresolved: what Hydra writes into `.hydra/`.
    """

    num: int
    overrides: list[str]
    settings: Settings
    folder: Path
    task: dict[str, Any]
    hydra: dict[str, Any]

    def write_hydra_files(self) -> None:
        """The run folder with `.hydra/`, as Hydra's own launcher writes it."""
        folder = self.folder / (self.hydra["output_subdir"] or "")
        folder.mkdir(parents=True, exist_ok=True)
        if self.hydra["output_subdir"] is not None:
            files = {
                "config": to_yaml(self.task),
                "hydra": to_yaml(self.hydra, under="hydra"),
                "overrides": yaml.dump(self.overrides, Dumper=yaml.CSafeDumper, allow_unicode=True),
            }
            for name, text in files.items():
                (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


class JobComposer:
    """Composes the jobs of a sweep.

    Args:
        config_loader: Hydra's.
        master: the sweep's own config, with Hydra's part.

    Attributes:
        checked: jobs that the sweeper has composed to check them, for the launcher to take.
    """

    def __init__(self, config_loader: ConfigLoader, master: DictConfig) -> None:
        self.config_loader = config_loader
        self.master = master
        self._parser = OverridesParser.create(config_loader)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._templates: dict[tuple, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.checked: dict[int, Job] = {}
        self._folders: dict[str, tuple[int, str]] = {}  # of all jobs: number and title of each

    def compose(self, num: int, overrides: Sequence[str]) -> Job:
        """The job of these overrides.

        Raises:
            UserError: where its settings are bad, or its folder is another job's or in use by
                another process; the message names the job.
        """
        job = self.checked.pop(num, None)
        if job is not None and job.overrides == list(overrides):
            return job
        try:
            job = self._compose(num, list(overrides))
            self._check_folder(job)
            return job
        except (UserError, HydraException) as error:
            reason = error if isinstance(error, UserError) else explain(error)
            raise UserError(f"{_title(num, overrides)}: {reason}") from error

    def _check_folder(self, job: Job) -> None:
        """Two jobs would write over one another's files, and so would two processes."""
        mine = job.num, _title(job.num, job.overrides)
        number, title = self._folders.setdefault(job.hydra["runtime"]["output_dir"], mine)
        if number != job.num:
            raise UserError(
                f"its folder {job.folder} is that of {title} too: name in hydra.sweep.subdir what "
                "tells the jobs apart"
            )
        refuse_held(job.folder, OF_RUN)

    def _compose(self, num: int, overrides: list[str]) -> Job:
        parsed = [self._parse(override) for override in overrides]
        values = self._values(parsed)
        signature = tuple(
            override.key_or_group if override.key_or_group in values else override.input_line
            for override in parsed
        )
        template = self._templates.get(signature)
        if template is None:
            template = self._templates[signature] = self._load(overrides)
        task, hydra = copy.deepcopy(template)
        for key, value in values.items():
            _set(task, key, value)
        task_overrides = [o for o in parsed if not o.is_hydra_override()]
        hydra["overrides"]["task"] = [override.input_line for override in task_overrides]
        hydra["job"]["id"], hydra["job"]["num"] = str(num), num
        names = hydra["job"]["config"]["override_dirname"]
        hydra["job"]["override_dirname"] = get_overrides_dirname(task_overrides, **names)
        if _interpolates(task) or _interpolates_more_than_time(hydra["sweep"]):
            folder, settings = self._resolve(task, hydra)
        else:
            folder = Path(self.master.hydra.sweep.dir) / _subdir(num, hydra)
            hydra["runtime"]["output_dir"] = os.path.abspath(folder)
            settings = check_settings(task)
        check_job(settings)
        return Job(num, overrides, settings, folder, task, hydra)

    def load(self, num: int, overrides: Sequence[str]) -> DictConfig:
        """The whole config of a job, as Hydra's own launcher composes it."""
        config = self.config_loader.load_sweep_config(self.master, list(overrides))
        OmegaConf.set_struct(config, False)
        config.hydra.job.id, config.hydra.job.num = str(num), num
        OmegaConf.set_struct(config, True)
        return config

    def _parse(self, override: str) -> Override:
        if override not in self._parsed:
            (self._parsed[override],) = self._parser.parse_overrides([override])
        return self._parsed[override]

    def _values(self, parsed: Sequence[Override]) -> dict[str, Any]:
        """What can be set in the config of another job with these keys.

        Hydra applies groups first, then all else in order: a value that comes before a
        deletion, say, is left to Hydra.
        """
        values: dict[str, Any] = {}
        for override in parsed:
            if self._is_value(override):
                values[override.key_or_group] = override.value()
            elif not self._is_group(override.key_or_group):
                values.clear()
        return values

    def _is_value(self, override: Override) -> bool:
        """Whether an override only puts a scalar or a list at a key of the program's own."""
        key, value = override.key_or_group, override.value()
        return (
            override.type in PLAIN
            and override.package is None
            and not override.is_hydra_override()
            and not re.search(r"\[|\.\d", key)  # an element of a list
            and not isinstance(value, dict)
            and not _interpolates(value)
            and not self._is_group(key)
        )

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:  # Hydra reads its folders anew at every question
            self._groups[key] = bool(self.config_loader.get_group_options(key))
        return self._groups[key]

    def _load(self, overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        config = self.config_loader.load_sweep_config(self.master, overrides)
        task = OmegaConf.to_container(without_hydra(config), resolve=False)
        hydra = OmegaConf.to_container(config.hydra, resolve=False, enum_to_str=True)
        assert isinstance(task, dict)
        assert isinstance(hydra, dict)
        return task, hydra  # type: ignore[return-value]

    def _resolve(self, task: dict[str, Any], hydra: dict[str, Any]) -> tuple[Path, Settings]:
        """Folder and settings where they interpolate, as `hydra.core.utils.run_job` finds them."""
        config = OmegaConf.create({**task, "hydra": hydra})
        OmegaConf.copy_cache(self.master, config)  # one time for all jobs
        current: Any = HydraConfig.instance()
        before, current.cfg = current.cfg, config  # for ${hydra:...}
        try:
            folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
            hydra["runtime"]["output_dir"] = os.path.abspath(folder)
            config.hydra.runtime.output_dir = hydra["runtime"]["output_dir"]
            return folder, parse_settings(without_hydra(config))
        finally:
            current.cfg = before


def _title(num: int, overrides: Sequence[str]) -> str:
    return f"job {num} ({' '.join(overrides)})"


def _subdir(num: int, hydra: dict[str, Any]) -> str:
    return str(hydra["sweep"]["subdir"]).replace(BY_NUMBER, str(num))


def _set(plain: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        plain = plain.setdefault(parent, {})
    plain[name] = value


def _interpolates_more_than_time(sweep: dict[str, Any]) -> bool:
    """Whether the folder has to be worked out for each job."""
    known = re.sub(r"\$\{now:[^{}]*\}", "", str(sweep["dir"]))
    return _interpolates([known, str(sweep["subdir"]).replace(BY_NUMBER, "")])


def _interpolates(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_interpolates, value.values()))
    if isinstance(value, list):
        return any(map(_interpolates, value))
    return isinstance(value, str) and "${" in value
