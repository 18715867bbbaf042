"""When the checkpoints of a run are written."""

from __future__ import annotations

import time

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from normlab.model.checkpoint import weights_checkpoint
from normlab.model.classifier import Classifier
from normlab.training.run_folder import BEST, LAST, RunFolder


class Checkpoints(Checkpoint):
    """Writes last.ckpt and best.ckpt at the end of an epoch, every so many seconds.

    Lightning's ModelCheckpoint writes a file at every better epoch, which for a small net takes
    longer than the epoch. Here the best weights wait in memory for the next writing.

    Args:
        folder: where to.
        every_n_seconds: time between two writings; 0 writes at every epoch's end. The first
            epoch and the last one are always written.
    """

    def __init__(self, folder: RunFolder, every_n_seconds: float = 0.0) -> None:
        super().__init__()
        self.folder = folder
        self.every_n_seconds = every_n_seconds
        self._written_at: float | None = None
        self._written_epoch = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        since = None if self._written_at is None else time.monotonic() - self._written_at
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = ends or since is None or since >= self.every_n_seconds
        # Writing begins and ends together, and no two processes' clocks agree.
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self._write(trainer, pl_module, trainer.current_epoch + 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training may also end by `max_steps` or `max_time`, which no epoch's end foretells."""
        if self._written_epoch != trainer.current_epoch:
            self._write(trainer, pl_module, trainer.current_epoch)

    def _write(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        assert isinstance(pl_module, Classifier)
        if trainer.is_global_zero:
            self.folder.flush()
        trainer.save_checkpoint(self.folder.path / LAST)
        if trainer.is_global_zero:
            best = pl_module.best
            self.folder.save_checkpoint(
                BEST,
                weights_checkpoint(pl_module.network, pl_module.schema, best.weights, best.epoch),
            )
        self._written_at = time.monotonic()
        self._written_epoch = epoch
