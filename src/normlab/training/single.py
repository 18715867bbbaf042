"""Training one network: Lightning's loop, then the figures of the best weights."""

from __future__ import annotations

import time

from lightning import Trainer

from normlab.data.module import TableDataModule
from normlab.model.classifier import Classifier
from normlab.training.checkpoints import Checkpoints
from normlab.training.ranks import fit_on_ranks
from normlab.training.result import Result, measure
from normlab.training.run_folder import BEST


def train(data: TableDataModule, model: Classifier, trainer: Trainer) -> Result:
    """Trains the model on the data and leaves it with its best weights, in evaluation mode.

    Args:
        data: the table, split.
        model: its network's normalization fitted (`data.fit(model.network)`).
        trainer: any `lightning.Trainer`; with `Checkpoints` among its callbacks it leaves files.

    Returns:
        The figures of the best weights: of the lowest validation loss, or the last ones where
        nothing is held out for validation. Where several processes train (DDP), the first one
        measures, and all return the same.
    """
    started = time.perf_counter()
    if trainer.world_size == 1:
        trainer.fit(model, datamodule=data)
        epochs = trainer.current_epoch
    else:
        epochs = fit_on_ranks(data, model, trainer)
    seconds = time.perf_counter() - started
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
            checkpoint=BEST if kept else None,
        )
    result = trainer.strategy.broadcast(result)
    assert result is not None
    return result
