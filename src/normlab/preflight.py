"""What is checked after the settings are composed and before Hydra makes the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from normlab.continuing import check_continuation
from normlab.errors import UserError
from normlab.messages import fail
from normlab.processes import by_torchrun, is_first
from normlab.quoting import shell_quoted
from normlab.validation import parse_settings, without_hydra


class Preflight(Callback):
    """Refuses bad settings and an occupied folder while nothing has been written yet.

    Hydra turns an exception of a callback into a warning and runs all the same, so a refusal
    ends the program here.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra for a single run."""
        try:
            settings = parse_settings(without_hydra(config))
            if not is_first(settings.trainer):
                withhold_folder(config)
            elif settings.ckpt_path is not None:
                check_continuation(Path(config.hydra.run.dir), settings)
                keep_record(config)
            else:
                refuse_occupied(Path(config.hydra.run.dir))
        except UserError as error:
            fail(error)
        except OmegaConfBaseException as error:  # hydra.run.dir=${...} that leads nowhere
            fail(UserError(f"{error.full_key}: {str(error).splitlines()[0]}"))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra for a sweep."""
        if by_torchrun():
            fail(
                UserError(
                    "torchrun starts the whole sweep in every process: start it by python, with "
                    "trainer.strategy=ddp_fork"
                )
            )


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
