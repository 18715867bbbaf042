"""Where a run goes on: what its last checkpoint must hold, and the folder as it was then."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from normlab.errors import UserError
from normlab.model.checkpoint import describe, read_checkpoint
from normlab.model.classifier import Classifier
from normlab.training.run_folder import RunFolder

ENTRY = "run"  # of last.ckpt: what goes on beside the training's own state
HOLDS = (ENTRY, "best", "loops", "state_dict", "optimizer_states", "lr_schedulers", "callbacks")


def run_entry(folder: RunFolder, seconds: float, stopped: bool) -> dict[str, Any]:
    """The entry of a checkpoint that is about to be written, of a folder that was flushed.

    Args:
        seconds: that the run has trained for.
        stopped: whether it has come to its end before `max_epochs`.
    """
    return {"seconds": seconds, "stopped": stopped, "lengths": folder.lengths()}


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint to go on from: read, and of a run of this program."""

    path: Path
    checkpoint: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> ResumePoint:
        """Reads a last.ckpt.

        Raises:
            UserError: where the file is damaged, of another version, not ours, or of weights alone.
        """
        point = cls(path, read_checkpoint(path))
        missing = [name for name in HOLDS if name not in point.checkpoint]
        if missing:
            raise UserError(
                f"{path} holds no state of a training to go on from (no {', '.join(missing)}): "
                "a run goes on from its last.ckpt"
            )
        try:
            lengths = point.lengths
            if point.epochs < 0 or point.seconds < 0 or not all(n >= 0 for n in lengths.values()):
                raise ValueError("a number below 0")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"{path} is a damaged checkpoint") from None
        return point

    @property
    def epochs(self) -> int:
        """Number of epochs finished."""
        return int(self.checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    @property
    def seconds(self) -> float:
        return float(self.checkpoint[ENTRY]["seconds"])

    @property
    def stopped(self) -> bool:
        """Whether the run has stopped early."""
        return bool(self.checkpoint[ENTRY]["stopped"])

    @property
    def lengths(self) -> dict[str, int]:
        return dict(self.checkpoint[ENTRY]["lengths"])

    def check_epochs(self, max_epochs: int, finished: bool) -> None:
        """Refuses where nothing is left to train.

        Args:
            finished: whether the run has left its result.

        Raises:
            UserError: saying how the run has ended.
        """
        if self.epochs > max_epochs:
            raise UserError(
                f"{self.path} has trained {self.epochs} epochs: trainer.max_epochs={max_epochs} "
                "cannot take them back"
            )
        run = self.path.parent.parent
        if finished and self.stopped:
            raise UserError(f"{run} has finished: it stopped early, after epoch {self.epochs}")
        if finished and self.epochs == max_epochs:
            raise UserError(
                f"{run} has finished: all of its {max_epochs} epochs are trained. To train more, "
                "raise trainer.max_epochs"
            )

    def complete(self, max_epochs: int) -> bool:
        """Whether all epochs are trained: only the result is left to be written."""
        return self.stopped or self.epochs >= max_epochs

    def check_model(self, model: Classifier) -> None:
        """Refuses a checkpoint of other columns, another network or other data.

        Args:
            model: as the settings and the data make it.

        Raises:
            UserError: saying what differs.
        """
        # How the file was written is no matter of the model's; checkpoints did not always say it.
        schema = replace(model.schema, written=None)
        here, there = describe(model.network, schema), copy.deepcopy(self.checkpoint["normlab"])
        if isinstance(there.get("schema"), dict):
            there["schema"].pop("written", None)
        if here != there:
            other = "other columns" if here["schema"] != there.get("schema") else "another network"
            raise UserError(f"{self.path} is a checkpoint of {other} than the run's")
        state = self.checkpoint["state_dict"]
        expected = {name: value.shape for name, value in model.state_dict().items()}
        if not isinstance(state, dict) or expected != {
            name: value.shape if isinstance(value, Tensor) else None
            for name, value in state.items()
        }:
            raise UserError(f"{self.path} is a damaged checkpoint: it holds other weights")
