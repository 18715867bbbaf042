"""Training one network: Lightning's loop, then the figures of the best weights."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from lightning import Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from normlab.data.module import TableDataModule
from normlab.interruption import until_epoch_end
from normlab.model.classifier import Classifier
from normlab.training.checkpoints import Checkpoints
from normlab.training.ranks import fit_on_ranks
from normlab.training.result import Result, measure
from normlab.training.resume import ResumePoint
from normlab.training.run_folder import BEST


def train(
    data: TableDataModule,
    model: Classifier,
    trainer: Trainer,
    resumed: ResumePoint | None = None,
) -> Result:
    """Trains the model on the data and leaves it with its best weights, in evaluation mode.

    Args:
        data: the table, split.
        model: its network's normalization fitted (`data.fit(model.network)`).
        trainer: any `lightning.Trainer`; with `Checkpoints` among its callbacks it leaves files.
        resumed: where the run goes on, of a run of this model on this data; None at its beginning.

    Returns:
        The figures of the best weights: of the lowest validation loss, or the last ones where
        nothing is held out for validation. Where several processes train (DDP), the first one
        measures, and all return the same.
    """
    started = time.perf_counter()
    if resumed is not None and resumed.complete(trainer.max_epochs or 0):
        model.on_load_checkpoint(resumed.checkpoint)
        epochs = resumed.epochs
    else:
        epochs = _fit(data, model, trainer, resumed)
    seconds = time.perf_counter() - started + (0.0 if resumed is None else resumed.seconds)
    model.network.load_state_dict(model.best.weights)
    kept = any(isinstance(callback, Checkpoints) for callback in trainer.checkpoint_callbacks)
    model.network.eval()
    result = None
    if trainer.is_global_zero:
        result = measure(
            model.network,
            data,
            epochs=epochs,
            seconds=seconds,
            pos_weight=model.hparams["pos_weight"],
            checkpoint=BEST if kept and not never_good(model, epochs) else None,
        )
        result = replace(result, diverged=model.diverged)
    result = trainer.strategy.broadcast(result)
    assert result is not None
    return result


def _fit(
    data: TableDataModule, model: Classifier, trainer: Trainer, resumed: ResumePoint | None
) -> int:
    """Lightning's training, from a checkpoint or from the start; gives the epochs of the run."""
    path = None
    if resumed is not None:
        path = resumed.path
        trainer.strategy.checkpoint_io = AlreadyRead(resumed.checkpoint)
    if trainer.world_size > 1:
        return fit_on_ranks(data, model, trainer, path)
    with until_epoch_end(waits=bool(trainer.checkpoint_callbacks)):
        trainer.fit(model, datamodule=data, ckpt_path=path, weights_only=True)
    return trainer.current_epoch


def never_good(model: Classifier, epochs: int) -> bool:
    """Whether a run has diverged before an epoch gave weights to keep."""
    return model.diverged is not None and model.best.epoch == epochs


class AlreadyRead(TorchCheckpointIO):
    """Hands Lightning the checkpoint that was read and checked, whatever has become of the file.

    Lightning's own reader also takes a path with `::` in it for several addresses.
    """

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        self._checkpoint = checkpoint

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._checkpoint
