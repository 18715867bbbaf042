"""What is checked after the settings are composed and before Hydra makes the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from normlab.errors import UserError
from normlab.messages import fail
from normlab.validation import parse_settings, without_hydra


class Preflight(Callback):
    """Refuses bad settings and an occupied folder while nothing has been written yet.

    Hydra turns an exception of a callback into a warning and runs all the same, so a refusal
    ends the program here.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra for a single run."""
        try:
            parse_settings(without_hydra(config))
            refuse_occupied(Path(config.hydra.run.dir))
        except UserError as error:
            fail(error)
        except OmegaConfBaseException as error:  # hydra.run.dir=${...} that leads nowhere
            fail(UserError(f"{error.full_key}: {str(error).splitlines()[0]}"))


def refuse_occupied(folder: Path) -> None:
    """A run never writes over another one.

    Raises:
        UserError: where the folder already holds a run.
    """
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder} already holds a run: give another folder as hydra.run.dir")
