"""One progress bar for a whole training, however short its epochs are."""

from __future__ import annotations

import sys
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from normlab.training.module import TrainingModule

SHOWN = ("train/loss", "val/loss")


def bar(total: int | None, unit: str, disable: bool = False) -> tqdm:
    """A bar on standard error; where that is no terminal it speaks every ten seconds."""
    return tqdm(
        total=total,
        unit=unit,
        disable=disable,
        file=sys.stderr,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        dynamic_ncols=True,
    )


class Progress(ProgressBar):
    """Epochs done of all epochs, the last losses and the time left.

    Lightning's own bar starts anew in every epoch, which for epochs of a few steps is a flicker
    that costs more than the steps, and thousands of lines where the output is piped.

    Args:
        shared: the bar of a whole sweep, in epochs of a run, which lives longer than a Trainer;
            None makes one.
    """

    def __init__(self, shared: tqdm | None = None) -> None:
        super().__init__()
        self._shared = shared is not None
        self._bar = shared

    def disable(self) -> None:
        """Lightning calls it on all processes but the first."""
        if not self._shared:
            self._bar = tqdm(disable=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is None:
            self._bar = bar(trainer.max_epochs, " epochs")
            self._bar.update(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """A long epoch moves the bar too."""
        n_batches = trainer.num_training_batches
        if not self._shared and self._bar is not None and 1 < n_batches < float("inf"):
            self._bar.update(1 / n_batches)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._bar is not None
        assert isinstance(pl_module, TrainingModule)
        if self._shared:
            self._bar.update(len(pl_module.outcomes.active))
            return
        metrics = pl_module.records.last()
        losses = {name: f"{metrics[name]:.4f}" for name in SHOWN if name in metrics}
        self._bar.set_postfix(losses, refresh=False)
        self._bar.update(trainer.current_epoch + 1 - self._bar.n)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None and not self._shared:
            self._bar.close()
