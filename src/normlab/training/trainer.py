"""Lightning's Trainer from the settings."""

from __future__ import annotations

import os
from typing import Any

from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import DDPStrategy

from normlab.config import Settings
from normlab.config.processes import by_torchrun
from normlab.errors import UserError


def make_trainer(settings: Settings, **own: Any) -> Trainer:
    """`lightning.Trainer` with the arguments of the settings, and over them the program's own.

    It has no logger and no checkpoints of Lightning's: `training.checkpoints` writes the files.

    Raises:
        UserError: where Lightning refuses an argument, such as a device that is not there, or
            several devices are to share the work in a way that they cannot.
    """
    arguments: dict[str, Any] = {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **settings.trainer.model_dump(),
        "enable_checkpointing": False,
        "logger": False,
    }
    try:
        trainer = Trainer(**{**arguments, **own})
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        raise UserError(f"trainer: {error}") from error
    n_devices = trainer.num_devices * trainer.num_nodes
    if by_torchrun() and int(os.environ["WORLD_SIZE"]) != n_devices:
        raise UserError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, and trainer.devices="
            f"{settings.trainer.devices} on {trainer.num_nodes} node(s) asks for {n_devices}: "
            "set trainer.devices to torchrun's --nproc-per-node"
        )
    if n_devices > 1 and not isinstance(trainer.strategy, DDPStrategy):
        raise UserError(
            f"trainer.strategy={settings.trainer.strategy}: several devices share the work by "
            "ddp, ddp_fork or ddp_spawn"
        )
    return trainer
