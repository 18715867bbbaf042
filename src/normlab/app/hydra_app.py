"""The program as a Hydra application: here Hydra ends, behind it are settings and real objects.

`train.py` and `normlab train` start it. Hydra composes `conf/`, and calls `Preflight` before it
makes a folder, `run_job` for a run and `SweepReport` after a sweep.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
)

from normlab.app.door import fail, front_door
from normlab.app.folders import own_folder, refuse_file, refuse_occupied
from normlab.app.resume import check_continuation, spelled_out
from normlab.config import Settings
from normlab.config.check import as_given, check_settings, settings_help, unknown_setting
from normlab.config.compose import CONF, compose, parsed, unknown_choice
from normlab.config.processes import by_torchrun, is_first
from normlab.config.typed import hydra_literal, hydra_quoted, shell_quoted
from normlab.errors import UserError
from normlab.training.job import Job
from normlab.training.locks import hold_run, hold_sweep


def main(conf: Path = CONF, arguments: Sequence[str] | None = None) -> None:
    """Composes the settings, checks them, and runs; ends the process where that fails.

    Args:
        conf: the folder of configs.
        arguments: of the command line, without the program's name; None for the process's own.
    """
    OmegaConf.register_new_resolver("settings_help", help_text, replace=True)
    # Hydra's own handling of exceptions would hide those that are translated here.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with front_door():
        sys.argv[1:] = spelled_out(sys.argv[1:] if arguments is None else arguments)
        try:
            hydra.main(version_base="1.3", config_path=str(conf), config_name="train")(run_job)()
        except HydraException as error:
            fail(UserError(explain(error)))
        except ValueError as error:
            if not str(error).startswith("Config group override"):  # Hydra's own of data=4
                raise
            for group, choice in _groups(sys.argv[1:]):
                if not isinstance(choice, str):
                    fail(UserError(unknown_choice(group, choice)))


def run_job(config: DictConfig) -> float | None:
    """Trains one run, alone or as a job of a sweep; gives what a search minimizes."""
    # Imported here: torch and Lightning take seconds, a refused setting should not.
    from normlab.app.run import run_alone, run_of_sweep

    current = HydraConfig.get()
    folder = Path(current.runtime.output_dir)
    settings = parse_settings(config)
    if current.mode != RunMode.MULTIRUN:
        return run_alone(settings, folder, current.job.name)
    job = Job(settings, folder, current.job.num, list(current.overrides.task))
    return run_of_sweep(job, current.job.name)


def parse_settings(config: DictConfig) -> Settings:
    """Checks a composed config (without Hydra's own node).

    Raises:
        UserError: one line for each setting that is wrong.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:  # ${...} that leads nowhere
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    return check_settings(plain)


def without_hydra(config: DictConfig) -> DictConfig:
    """The program's own part of a config that Hydra composed."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


class Preflight(Callback):
    """Refuses bad settings and an occupied folder while nothing has been written yet.

    Hydra turns an exception of a callback into a warning and runs all the same, so a refusal
    ends the program here.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra for a single run."""
        with _refusing():
            settings = parse_settings(without_hydra(config))
            refuse_file("hydra.run.dir", Path(config.hydra.run.dir))
            if not is_first(settings.trainer):
                _withhold_folder(config)
                return
            if not _names_folder(config, "hydra.run.dir"):
                _take_folder(config, "run")
            folder = Path(config.hydra.run.dir)
            hold_run(folder)
            if settings.ckpt_path is None:
                refuse_occupied(folder)
            else:
                check_continuation(folder, settings)
                with read_write(config):  # the record of how the run was begun stays
                    config.hydra.output_subdir = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra for a sweep."""
        with _refusing():
            if by_torchrun():
                raise UserError(
                    "torchrun starts the whole sweep in every process: start it by python, with "
                    "trainer.strategy=ddp_fork"
                )
            refuse_file("hydra.sweep.dir", Path(config.hydra.sweep.dir))
            if not _names_folder(config, "hydra.sweep.dir"):
                _take_folder(config, "sweep")
            hold_sweep(Path(config.hydra.sweep.dir))


@contextmanager
def _refusing() -> Iterator[None]:
    """Ends the program, with the message alone, where it raises one for the user."""
    try:
        yield
    except UserError as error:
        fail(error)
    except OmegaConfBaseException as error:  # hydra.run.dir=${...} that leads nowhere
        fail(UserError(f"{error.full_key}: {str(error).splitlines()[0]}"))


def _names_folder(config: DictConfig, key: str) -> bool:
    """Whether the command line chose the folder, by its name or by a group of Hydra's settings."""
    given: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    return any(one.lstrip("+").startswith(f"{key}=") for one in given)


def _take_folder(config: DictConfig, kind: str) -> None:
    """Makes the folder that the time names, or the next one that is free.

    Args:
        kind: "run" or "sweep", of Hydra's part of the config.
    """
    named = Path(config.hydra[kind].dir)
    folder = own_folder(named)
    if folder != named:
        with read_write(config), open_dict(config):
            config.hydra[kind].dir = str(folder)
            # Hydra composes the jobs of a sweep from these once more.
            config.hydra.overrides.hydra.append(f"hydra.{kind}.dir={hydra_literal(str(folder))}")


def _withhold_folder(config: DictConfig) -> None:
    """Lets Hydra make no folder and no file for a process that only lends a hand.

    A folder named by the time would be another one in each process.
    """
    with read_write(config), open_dict(config):
        config.hydra.run.dir = "."
        config.hydra.output_subdir = None
        config.hydra.job_logging = {"root": None}  # nothing to set up


class SweepReport(Callback):
    """Compares the runs of a multirun when it has ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the last job."""
        from normlab.app.run import report_sweep

        try:
            report_sweep(Path(config.hydra.sweep.dir))
        except UserError as error:
            fail(error)
        except Exception:  # Hydra would make a warning of it
            traceback.print_exc()
            sys.exit(1)


def help_text(*, _root_: DictConfig) -> str:
    """A line for each setting, `key=default  what it is`; called by OmegaConf as a resolver.

    Args:
        _root_: the composed config, given by OmegaConf.
    """
    config = without_hydra(_root_)
    chosen, others = [], []
    for key, text in settings_help().items():
        value = OmegaConf.select(config, key, throw_on_missing=False, default=...)
        if value is ...:
            others.append(f"  {key:34} {text}")
        else:
            chosen.append(f"  {f'{key}={as_given(value)}':34} {text}")
    return "\n".join([*chosen, "", "Settings of the other choices:", *others])


def explain(error: HydraException) -> str:
    """What Hydra refused, said with the way out."""
    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals:
            return f"'{error.override}' is no setting: write KEY=VALUE (see --help)"
        quoted = shell_quoted(f"{key}={hydra_quoted(value)}")
        return (
            f"{error.override}: Hydra's grammar needs quotes around this value; write\n  {quoted}"
        )
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        return unknown_choice(group, choice)
    cause = error.__cause__
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return unknown_setting(str(cause.full_key), compose(_groups(sys.argv[1:])))
    return "\n".join(line for line in str(error).splitlines() if line.strip()).replace("\t", "  ")


def _groups(arguments: Sequence[str]) -> list[tuple[str, Any]]:
    """What a command line chooses of the groups of `conf/`."""
    plain = (one for one in arguments if "=" in one and "," not in one)
    return [parsed(one) for one in plain if (CONF / one.lstrip("+").partition("=")[0]).is_dir()]


if __name__ == "__main__":  # where `normlab train` is started anew, in each process of ddp
    main()
