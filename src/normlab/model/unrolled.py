"""Whole epochs in one of Lightning's steps: its own work in a step outlasts a small net's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    ProgressBar,
    Timer,
)
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from normlab.data.batches import Batch, SharedBatch, WholeEpochs
from normlab.errors import UserError
from normlab.model.classifier import Classifier

# Arguments of Trainer that act within an epoch, at the values that do nothing there.
WITHOUT_EFFECT = {
    "accumulate_grad_batches": 1,
    "gradient_clip_val": None,
    "limit_train_batches": 1.0,
    "limit_val_batches": 1.0,
    "overfit_batches": 0.0,
    "max_steps": -1,
    "min_steps": None,
    "val_check_interval": 1.0,
    "check_val_every_n_epoch": 1,
}
PRECISIONS = ("32-true", "64-true", "16-true", "bf16-true")  # mixed ones wrap each step
# Hooks that an epoch's inner steps do not call.
HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_validation_start",
    "on_validation_end",
    "on_validation_epoch_start",
    "on_validation_epoch_end",
    "on_validation_batch_start",
    "on_validation_batch_end",
)


class UnrolledClassifier(Classifier):
    """Trains as `Classifier` does, to the same losses, with Lightning's loop paid once an epoch.

    It needs a `TableDataModule` that serves whole epochs. All mini-batches but the last are
    stepped here; the last one goes Lightning's way, so that the state of the loops and of the
    schedule, and with them checkpoints and what resumes from them, are those of any epoch.

    The rows of an epoch are normalized at once, which for a table of some million numbers takes
    two more copies of it.

    Raises:
        UserError: when the training begins, where the Trainer has what acts within an epoch.
    """

    _validation: Iterable[Batch]

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        refuse_steps_apart(self.trainer)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self._validation = data.val_dataloader()
        # Lightning's own loop over them takes as long as two steps.
        self.trainer.limit_val_batches = 0

    def teardown(self, stage: str) -> None:
        if stage == "fit":
            self.trainer.limit_val_batches = 1.0

    def training_step(self, batch: Batch | SharedBatch, batch_idx: int) -> Tensor:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        *others, last = self._mini_batches(batch)
        for inputs, labels in others:
            optimizer.zero_grad()
            self._loss_of(inputs, labels).backward()
            optimizer.step()
        count_steps(self.trainer, len(others))
        return self._loss_of(*last)

    def _mini_batches(self, epoch: Batch | SharedBatch) -> list[Batch]:
        """Inputs and labels of each step; without BatchNorm no row's inputs depend on others."""
        rows, labels, *_ = epoch
        inputs = rows if self._has_batchnorm else self.network.inputs(rows)
        sizes = [stop - start for start, stop in self._served.bounds]
        return list(zip(inputs.split(sizes), labels.split(sizes), strict=True))

    def _loss_of(self, inputs: Tensor, labels: Tensor) -> Tensor:
        network = self.network
        logits = network(inputs) if self._has_batchnorm else network.logits(inputs)
        self._train.append(logits.detach(), labels)
        return self.loss(logits, labels)

    def on_train_epoch_end(self) -> None:
        self._validate()
        super().on_train_epoch_end()

    @torch.no_grad()
    def _validate(self) -> None:
        convert = self.trainer.precision_plugin.convert_input
        self.network.eval()
        for batch_idx, batch in enumerate(self._validation):
            self.validation_step(convert(batch), batch_idx)
        self.network.train()

    @property
    def _has_batchnorm(self) -> bool:
        return not isinstance(self.network.batchnorm, nn.Identity)

    @property
    def _served(self) -> WholeEpochs:
        loader = self.trainer.train_dataloader
        assert isinstance(loader, WholeEpochs)
        return loader

    def _train_batches(self) -> Iterator[Batch]:
        return self._served.mini_batches()


def count_steps(trainer: Trainer, n: int) -> None:
    """Makes `global_step` the number of steps that the weights have taken.

    Args:
        n: steps that were taken beside Lightning's loop.
    """
    loop = trainer.fit_loop.epoch_loop.automatic_optimization
    progress = loop.optim_progress.optimizer.step
    for count in (progress.total, progress.current):
        count.ready += n
        count.completed += n


def refuse_steps_apart(trainer: Trainer) -> None:
    """Refuses what needs the steps of an epoch one by one.

    Raises:
        UserError: naming each argument of Trainer, and each callback.
    """
    faults = [
        f"{name}={getattr(trainer, name)}: acts within an epoch"
        for name, without in WITHOUT_EFFECT.items()
        if getattr(trainer, name) != without
    ]
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        strategy = type(trainer.strategy).__name__
        faults.append(f"devices={trainer.world_size} ({strategy}): share each step")
    if trainer.precision not in PRECISIONS:
        faults.append(f"precision={trainer.precision}: scales or casts each step")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer):
            faults.append("max_time: acts within an epoch")
        elif _acts_within_epochs(callback):
            faults.append(f"callbacks: {type(callback).__name__} acts within an epoch")
    if faults:
        raise UserError(
            "trainer.unroll_epochs=true takes all steps of an epoch as one of Lightning's: leave "
            "it out, or change\n" + "\n".join(f"  trainer.{fault}" for fault in faults)
        )


def _acts_within_epochs(callback: Callback) -> bool:
    match callback:
        case ProgressBar() | EarlyStopping():
            return False
        case ModelCheckpoint():
            return callback._every_n_train_steps > 0
        case GradientAccumulationScheduler():
            return True
        case _:
            return any(is_overridden(hook, callback) for hook in HOOKS)
