"""When checkpoints are written, and what the epochs leave in the run folders meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from normlab.layout import BEST, LAST
from normlab.model.checkpoint import FORMAT, weights_checkpoint
from normlab.training.folder import RunFolder, save_durably
from normlab.training.module import TrainingModule
from normlab.training.resume import ENTRY, ResumePoint
from normlab.training.signals import asked_to_end, catch_sigterm_again, end_if_asked

# Between two writings of epochs: a curve can be watched as it grows. Hundreds of files take longer.
WRITE_SECONDS = {"alone": 1.0, "together": 10.0}


class Checkpoints(Checkpoint):
    """Writes the epochs into the run folders, and last.ckpt at the end of an epoch.

    There is one last.ckpt for all runs that train together, in the folder of the first one. A run
    by itself also gets its best.ckpt as it goes; many get theirs when they have ended, and until
    then last.ckpt holds all best weights. (Lightning's ModelCheckpoint writes a file at every
    better epoch, which for a small net takes longer than the epoch.)

    Args:
        folders: of all runs.
        descriptions: of their networks, as `model.checkpoint.describe` gives them.
        keep: whether checkpoints are written at all.
        every_n_seconds: time between two writings at most, where epochs are shorter; 0 writes at
            every epoch's end. The first epoch and the last one are always written, and last.ckpt
            before the first, so that a run that has begun can always go on.
        resumed: where the runs go on; None at their beginning.

    Attributes:
        written_epoch: number of epochs finished in the last.ckpt that was written.
    """

    def __init__(
        self,
        folders: Sequence[RunFolder],
        descriptions: Sequence[dict[str, Any]],
        keep: bool = True,
        every_n_seconds: float = 0.0,
        resumed: ResumePoint | None = None,
    ) -> None:
        super().__init__()
        self.folders = list(folders)
        self.descriptions = list(descriptions)
        self.keep = keep
        self.every_n_seconds = every_n_seconds
        self.path = folders[0].path / LAST
        self._resumed = resumed
        self._write_seconds = WRITE_SECONDS["alone" if len(folders) == 1 else "together"]
        self._started_at = self._epoch_at = self._saved_at = self._wrote_at = time.monotonic()
        self.written_epoch = 0 if resumed is None else resumed.epochs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        catch_sigterm_again()
        self._started_at = self._epoch_at = time.monotonic()
        if self._resumed is not None:
            self._started_at -= self._resumed.seconds
        elif self.keep:
            self._save_last(trainer, pl_module)
        self._saved_at = self._wrote_at = time.monotonic()
        self.written_epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = time.monotonic()
        # An epoch more could make it too long.
        since = now - self._saved_at + (now - self._epoch_at)
        self._epoch_at = now
        alone, epoch = len(self.folders) == 1, trainer.current_epoch + 1
        ends = trainer.should_stop or epoch == trainer.max_epochs
        due = ends or asked_to_end() or since >= self.every_n_seconds or (alone and epoch == 1)
        # Writing begins and ends together, and no two processes' clocks agree.
        if self.keep and trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer, pl_module, epoch)
        elif ends or now - self._wrote_at >= self._write_seconds:
            self._write_epochs(trainer, pl_module)
        end_if_asked()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training may also end by `max_steps` or `max_time`, which no epoch's end foretells."""
        if self.written_epoch != trainer.current_epoch:
            if self.keep:
                self._save(trainer, pl_module, trainer.current_epoch)
            else:
                self._write_epochs(trainer, pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if not isinstance(exception, OSError):
            self._write_epochs(trainer, pl_module)

    def _save(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        assert isinstance(pl_module, TrainingModule)
        # Before last.ckpt: a run that has ended between the two goes on, and writes both.
        if len(self.folders) == 1 and trainer.is_global_zero:
            self.save_best(pl_module, 0)
        # A run that has diverged by itself does not go on from there.
        if not _lost(pl_module):
            self._save_last(trainer, pl_module)
        else:
            self._write_epochs(trainer, pl_module)
        self._saved_at = time.monotonic()
        self.written_epoch = epoch

    def save_best(self, module: TrainingModule, run: int) -> None:
        """Writes best.ckpt of one run, unless none of its epochs was good."""
        outcomes = module.outcomes
        if not outcomes.never_good(run):
            weights = {name: value[run : run + 1].clone() for name, value in outcomes.best.items()}
            epoch = int(outcomes.best_epoch[run])
            checkpoint = weights_checkpoint(self.descriptions[run], weights, epoch)
            self.folders[run].save_checkpoint(BEST, checkpoint)

    def _save_last(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_epochs(trainer, pl_module, sync=True)
        trainer.save_checkpoint(self.path)  # by `CheckpointFile`; `on_save_checkpoint` adds to it
        trainer.strategy.barrier("last.ckpt")

    def _write_epochs(
        self, trainer: Trainer, pl_module: LightningModule, sync: bool = False
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        if trainer.is_global_zero:
            taken = pl_module.records.take(len(self.folders))
            for folder, epochs in zip(self.folders, taken, strict=True):
                folder.write(epochs)
                if sync and epochs is not None:
                    folder.sync()
        self._wrote_at = time.monotonic()

    def state(self) -> dict[str, Any]:
        """The entry of last.ckpt: whose checkpoint it is, and how long their files are."""
        home = self.path.parent
        return {
            "folders": [os.path.relpath(folder.path, home) for folder in self.folders],
            "lengths": [folder.lengths() for folder in self.folders],
            "seconds": time.monotonic() - self._started_at,
        }

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        several = {"format": FORMAT, "networks": self.descriptions}
        alone = len(self.folders) == 1  # then it predicts, too
        checkpoint["normlab"] = self.descriptions[0] if alone else several
        checkpoint[ENTRY] = self.state()


def _lost(module: TrainingModule) -> bool:
    """Whether the last run has diverged: its weights are nothing to go on from."""
    active = module.outcomes.active.tolist()
    return all(module.outcomes.diverged[run] is not None for run in active)


class CheckpointFile(TorchCheckpointIO):
    """Writes whole files, and hands Lightning the checkpoint that was read and checked.

    Lightning's own reader also takes a path with `::` in it for several addresses. It is left the
    weights that forked processes bring back, in a file of Lightning's own.
    """

    def __init__(self, resumed: ResumePoint | None = None) -> None:
        super().__init__()
        self._resumed = resumed

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        save_durably(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self._resumed is not None and Path(path) == self._resumed.path:
            return self._resumed.checkpoint
        return super().load_checkpoint(path, *args, **kwargs)
