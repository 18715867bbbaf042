"""Which epochs are drawn."""

from __future__ import annotations

import time

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from normlab.data.serve.module import SplitTable
from normlab.insight.pictures.dashboard import draw_epoch
from normlab.insight.pictures.sample import Sample, sample_of
from normlab.training.folder import RunFolder
from normlab.training.module import TrainingModule

# Of the time since training began, which pictures may take. Both are this thread's own seconds of
# computing: on a busy machine the clock runs on for either, and not at the same rate.
SHARE = 0.05
FIRST_COST = 0.5  # seconds of an epoch's pictures, before any has been timed


class Pictures(Callback):
    """Draws epochs of a run by itself into its folder's events, in the first of several processes.

    The last epoch is `dashboard.conclude`'s, which has the best weights.

    Args:
        folder: where to.
        data: of the run.
        every_n_epochs: epochs between two drawings. None: at each doubling of the epoch, since a
            net changes most at first and TensorBoard keeps ten pictures of a tag; but no epoch
            before the time for it, and for the last one, is within `SHARE` of the training's.
    """

    def __init__(
        self, folder: RunFolder, data: SplitTable, every_n_epochs: int | None = None
    ) -> None:
        self.folder = folder
        self.data = data
        self.every_n_epochs = every_n_epochs
        self._sample: Sample | None = None
        self._started = 0.0
        self._spent, self._cost = 0.0, FIRST_COST
        self._next_epoch = 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.thread_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        last = trainer.should_stop or epoch == trainer.max_epochs
        if last or not trainer.is_global_zero or not self._is_due(epoch):
            return
        assert isinstance(pl_module, TrainingModule)
        before = time.thread_time()
        self._sample = self._sample or sample_of(self.data)
        draw_epoch(self.folder, pl_module.network, self.data, self._sample, epoch)
        self._cost = time.thread_time() - before
        self._spent += self._cost
        self._next_epoch = 2 * epoch

    def _is_due(self, epoch: int) -> bool:
        if self.every_n_epochs is not None:
            return epoch % self.every_n_epochs == 0
        budget = SHARE * (time.thread_time() - self._started)
        return epoch >= self._next_epoch and self._spent + 2 * self._cost <= budget
