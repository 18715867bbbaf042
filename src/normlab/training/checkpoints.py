"""When the checkpoints of a run are written."""

from __future__ import annotations

import time

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from normlab.interruption import asked_to_end, catch_sigterm_again, end_if_asked
from normlab.model.checkpoint import weights_checkpoint
from normlab.model.classifier import Classifier
from normlab.training.resume import ENTRY, ResumePoint, run_entry
from normlab.training.run_folder import BEST, LAST, RunFolder


class Checkpoints(Checkpoint):
    """Writes last.ckpt and best.ckpt at the end of an epoch, every so many seconds.

    Lightning's ModelCheckpoint writes a file at every better epoch, which for a small net takes
    longer than the epoch. Here the best weights wait in memory for the next writing.

    Args:
        folder: where to.
        every_n_seconds: time between two writings at most, where epochs are shorter; 0 writes at
            every epoch's end. The first epoch and the last one are always written, and last.ckpt
            before the first, so that a run that has begun can always go on.
        resumed: where the run goes on; None at its beginning.

    Attributes:
        written_epoch: number of epochs finished in the last.ckpt that was written.
    """

    def __init__(
        self,
        folder: RunFolder,
        every_n_seconds: float = 0.0,
        resumed: ResumePoint | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.every_n_seconds = every_n_seconds
        self._resumed = resumed
        self._started_at = self._epoch_at = self._written_at = time.monotonic()
        self.written_epoch = 0 if resumed is None else resumed.epochs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        catch_sigterm_again()
        self._started_at = self._epoch_at = time.monotonic()
        if self._resumed is None:
            self._write_last(trainer, pl_module, stopped=False)
        else:
            self._started_at -= self._resumed.seconds
        self._written_at = time.monotonic()
        self.written_epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = time.monotonic()
        # An epoch more could make it too long.
        since = now - self._written_at + (now - self._epoch_at)
        self._epoch_at = now
        first = trainer.current_epoch == 0
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = first or ends or asked_to_end() or since >= self.every_n_seconds
        # Writing begins and ends together, and no two processes' clocks agree.
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self._write(trainer, pl_module, trainer.current_epoch + 1)
        end_if_asked()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training may also end by `max_steps` or `max_time`, which no epoch's end foretells."""
        if self.written_epoch != trainer.current_epoch:
            self._write(trainer, pl_module, trainer.current_epoch)

    def _write(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        assert isinstance(pl_module, Classifier)
        best = pl_module.best
        if pl_module.diverged is not None and best.epoch == epoch:
            return  # none was good: last.ckpt holds the beginning
        # Before last.ckpt: a run that has ended between the two goes on, and writes both.
        if trainer.is_global_zero:
            self.folder.save_checkpoint(
                BEST,
                weights_checkpoint(pl_module.network, pl_module.schema, best.weights, best.epoch),
            )
        if pl_module.diverged is None:
            self._write_last(trainer, pl_module, trainer.should_stop)
        self._written_at = time.monotonic()
        self.written_epoch = epoch

    def _write_last(self, trainer: Trainer, pl_module: LightningModule, stopped: bool) -> None:
        # `trainer.save_checkpoint` writes as well, but does not force the file to the disk.
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        if trainer.is_global_zero:
            self.folder.flush()
            seconds = time.monotonic() - self._started_at
            checkpoint[ENTRY] = run_entry(self.folder, seconds, stopped)
            self.folder.save_checkpoint(LAST, checkpoint)
        trainer.strategy.barrier("last.ckpt")
