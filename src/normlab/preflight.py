"""What is checked after the settings are composed and before Hydra makes the run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from normlab.continuing import check_continuation
from normlab.errors import UserError
from normlab.folder_lock import hold_run, hold_sweep
from normlab.messages import fail
from normlab.processes import by_torchrun, is_first
from normlab.quoting import hydra_literal, shell_quoted
from normlab.validation import parse_settings, without_hydra


class Preflight(Callback):
    """Refuses bad settings and an occupied folder while nothing has been written yet.

    Hydra turns an exception of a callback into a warning and runs all the same, so a refusal
    ends the program here.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra for a single run."""
        with refusing():
            settings = parse_settings(without_hydra(config))
            refuse_file("hydra.run.dir", Path(config.hydra.run.dir))
            if not is_first(settings.trainer):
                withhold_folder(config)
                return
            if not names_folder(config, "hydra.run.dir"):
                own_folder(config, "run")
            folder = Path(config.hydra.run.dir)
            hold_run(folder)
            if settings.ckpt_path is not None:
                check_continuation(folder, settings)
                keep_record(config)
            else:
                refuse_occupied(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra for a sweep."""
        if by_torchrun():
            fail(
                UserError(
                    "torchrun starts the whole sweep in every process: start it by python, with "
                    "trainer.strategy=ddp_fork"
                )
            )
        with refusing():
            refuse_file("hydra.sweep.dir", Path(config.hydra.sweep.dir))
            if not names_folder(config, "hydra.sweep.dir"):
                own_folder(config, "sweep")
            hold_sweep(Path(config.hydra.sweep.dir))


@contextmanager
def refusing() -> Iterator[None]:
    """Ends the program, with the message alone, where it raises one for the user."""
    try:
        yield
    except UserError as error:
        fail(error)
    except OmegaConfBaseException as error:  # hydra.run.dir=${...} that leads nowhere
        fail(UserError(f"{error.full_key}: {str(error).splitlines()[0]}"))


def names_folder(config: DictConfig, key: str) -> bool:
    """Whether the command line chose the folder, by its name or by a group of Hydra's settings."""
    given: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    return any(one.lstrip("+").startswith(f"{key}=") for one in given)


def own_folder(config: DictConfig, kind: str) -> None:
    """Makes the folder that the time names, with a number behind it where another has it.

    Making it is what decides between programs that start in the same second.

    Args:
        kind: "run" or "sweep", of Hydra's part of the config.

    Raises:
        UserError: where no folder can be made.
    """
    named = Path(config.hydra[kind].dir)
    folder, number = named, 1
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            break
        except FileExistsError:
            number += 1
            folder = named.with_name(f"{named.name}_{number}")
        except OSError as error:
            raise UserError(f"Cannot make {folder}: {error.strerror}") from error
    if folder != named:
        with read_write(config), open_dict(config):
            config.hydra[kind].dir = str(folder)
            # Hydra composes the jobs of a sweep from these once more.
            config.hydra.overrides.hydra.append(f"hydra.{kind}.dir={hydra_literal(str(folder))}")


def withhold_folder(config: DictConfig) -> None:
    """Lets Hydra make no folder and no file for a process that only lends a hand.

    A folder named by the time would be another one in each process.
    """
    with read_write(config), open_dict(config):
        config.hydra.run.dir = "."
        config.hydra.output_subdir = None
        config.hydra.job_logging = {"root": None}  # nothing to set up


def keep_record(config: DictConfig) -> None:
    """Lets Hydra leave `.hydra/` as it is: the record of how the run was begun."""
    with read_write(config):
        config.hydra.output_subdir = None


def refuse_file(key: str, folder: Path) -> None:
    """A folder cannot be made where a file is: at its place, or above it.

    Raises:
        UserError: naming the file.
    """
    for path in (folder, *folder.parents):
        if os.path.lexists(path) and not path.is_dir():
            raise UserError(f"{key}={folder}: {path} is no folder; give another name")


def refuse_occupied(folder: Path) -> None:
    """A run never writes over another one.

    Raises:
        UserError: where the folder already holds a run.
    """
    if (folder / "config.yaml").exists():
        raise UserError(
            f"{folder} already holds a run: give another folder as hydra.run.dir, or go on with "
            f"it: {shell_quoted(f'resume={folder}')}"
        )
