"""One progress bar for a whole training, however short its epochs are."""

from __future__ import annotations

import sys
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from normlab.data.batches import WholeEpochs

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


class TrainingProgress(ProgressBar):
    """Steps done of all steps, the epoch, the last losses and the time left.

    Lightning's own bar starts anew in every epoch, which for epochs of a few steps is a flicker
    that costs more than the steps, and thousands of lines where the output is piped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm | None = None

    def disable(self) -> None:
        """Lightning calls it on all processes but the first."""
        self._bar = tqdm(disable=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is None:
            steps = trainer.estimated_stepping_batches
            if isinstance(trainer.train_dataloader, WholeEpochs):
                steps *= len(trainer.train_dataloader.bounds)
            self._bar = bar(int(steps) if steps < float("inf") else None, " steps")
            self._bar.update(trainer.global_step)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._bar is not None
        self._bar.set_description(f"epoch {trainer.current_epoch + 1}", refresh=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        assert self._bar is not None
        self._bar.update(trainer.global_step - self._bar.n)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._bar is not None
        metrics = trainer.callback_metrics
        losses = {name: f"{metrics[name]:.4f}" for name in SHOWN if name in metrics}
        self._bar.set_postfix(losses, refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class SweepProgress(ProgressBar):
    """One bar for all runs of a sweep, in epochs of a run; it lives longer than a Trainer.

    Args:
        shared: the sweep's bar.
        n_runs: runs in the stack of this Trainer.
    """

    def __init__(self, shared: tqdm, n_runs: int) -> None:
        super().__init__()
        self._bar = shared
        self._n_runs = n_runs

    def disable(self) -> None:
        """The shared bar stays as it is."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar.update(self._n_runs)
