"""How a stack goes on: one checkpoint of all its runs, as long as they train as one.

A last.ckpt for each run would take longer than the epochs between two writings. Runs that have
left the stack have written their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from normlab.errors import UserError
from normlab.interruption import asked_to_end, catch_sigterm_again, end_if_asked
from normlab.model.checkpoint import FORMAT, read_checkpoint
from normlab.training.run_folder import STACK, RunFolder
from normlab.training.stacked.classifier import StackedClassifier
from normlab.training.stacked.member import Member

ENTRY = "stack"  # of the checkpoint: the runs, in the order of the rows


class StackCheckpoints(Checkpoint):
    """Writes stack.ckpt at the end of an epoch, and removes it when all runs have left.

    It lies with the first run that has a folder, and names the others' folders from there.

    Args:
        members: all runs of the stack.
        every_n_seconds: as of `normlab.training.checkpoints.Checkpoints`.
        resumed: where the stack goes on; None at its beginning.
    """

    def __init__(
        self,
        members: Sequence[Member],
        every_n_seconds: float,
        resumed: StackPoint | None = None,
    ) -> None:
        super().__init__()
        folders = [member.folder for member in members if member.folder is not None]
        self._home = folders[0]
        if resumed is not None and len(resumed.folders) == len(members):
            self._home = RunFolder(resumed.path.parent.parent)  # of a run that may have left
        self.path = self._home.path / STACK
        self.every_n_seconds = every_n_seconds
        self._resumed = resumed
        self._started_at = self._epoch_at = self._written_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        catch_sigterm_again()
        self._started_at = self._epoch_at = time.monotonic()
        if self._resumed is None:
            self._write(trainer, pl_module)
        else:
            self._started_at -= self._resumed.seconds
            self._written_at = time.monotonic()
            if self._resumed.path != self.path:  # a part of a stack that is larger than allowed
                self._write(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = time.monotonic()
        since = now - self._written_at + (now - self._epoch_at)  # one more could be too long
        self._epoch_at = now
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if not ends and (asked_to_end() or since >= self.every_n_seconds):
            self._write(trainer, pl_module)
        end_if_asked()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.path.unlink(missing_ok=True)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, StackedClassifier)
        staying = [member.folder for member in pl_module.members if member.folder is not None]
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        pl_module.write_records()
        runs = [os.path.relpath(folder.path, self.path.parent) for folder in staying]
        checkpoint["normlab"] = {"format": FORMAT}
        checkpoint[ENTRY] = {
            "runs": runs,
            "lengths": [folder.lengths() for folder in staying],
            "seconds": time.monotonic() - self._started_at,
            "state": pl_module.state(),
        }
        self._home.save_checkpoint(STACK, checkpoint)
        self._written_at = time.monotonic()


@dataclass(frozen=True)
class StackPoint:
    """Where a stack goes on, with the folders of its runs in the order of its rows."""

    path: Path
    checkpoint: dict[str, Any]
    folders: list[Path]

    @classmethod
    def read(cls, path: Path) -> StackPoint:
        """Reads a stack.ckpt.

        Raises:
            UserError: where the file is damaged, of another version or not ours.
        """
        checkpoint = read_checkpoint(path)
        try:
            entry = checkpoint[ENTRY]
            folders = [Path(os.path.normpath(path.parent / run)) for run in entry["runs"]]
            point = cls(path, checkpoint, folders)
            rows = {len(value) for value in checkpoint["state_dict"].values()}
            if rows != {len(folders)} or len(entry["lengths"]) != len(folders):
                raise ValueError("rows")
            if point.epochs < 0 or point.seconds < 0:
                raise ValueError("times")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"{path} is a damaged checkpoint of a stack") from None
        return point

    @property
    def epochs(self) -> int:
        """Number of epochs finished."""
        return int(self.checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    @property
    def seconds(self) -> float:
        return float(self.checkpoint[ENTRY]["seconds"])

    def rows(self, folders: Sequence[Path]) -> list[int]:
        """Where the runs of these folders stand in the stack."""
        places = {folder.resolve(): row for row, folder in enumerate(self.folders)}
        return [places[folder.resolve()] for folder in folders]

    def lengths(self, row: int) -> dict[str, int]:
        """Of a run's files, as `RunFolder.lengths` gave them."""
        return dict(self.checkpoint[ENTRY]["lengths"][row])

    def of_rows(self, rows: Sequence[int]) -> dict[str, Any]:
        """The checkpoint of these runs alone."""
        index = list(rows)
        (optimizer,) = self.checkpoint["optimizer_states"]
        entry = self.checkpoint[ENTRY]
        return {
            **self.checkpoint,
            "state_dict": _selected(self.checkpoint["state_dict"], index),
            "optimizer_states": [
                {**optimizer, "moments": [moment[index] for moment in optimizer["moments"]]}
            ],
            ENTRY: {**entry, "state": _selected(entry["state"], index)},
        }


def _selected(state: dict[str, Any], index: list[int]) -> dict[str, Any]:
    """Rows of every tensor in a dict, or in a list within it."""
    return {
        name: value[index] if isinstance(value, Tensor) else [one[index] for one in value]
        for name, value in state.items()
    }
