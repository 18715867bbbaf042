"""The LightningModule: how a network learns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR

from normlab.data.batches import Batch, SharedBatch
from normlab.data.schema import Schema
from normlab.model.best import BestWeights
from normlab.model.checkpoint import describe
from normlab.model.divergence import (
    explanation,
    first_not_finite,
    rows_of_batch,
    weights_finite,
)
from normlab.model.lean_module import LeanModule
from normlab.model.metrics import METRICS, binary_metrics
from normlab.model.network import Network
from normlab.model.outputs import Outputs
from normlab.seeding import Stream, epoch_seed, seed_device


class Watch(Protocol):
    """Adds to an epoch's record what is looked at now and then; see `diagnosis.watch`."""

    def record(
        self, network: Network, loss: nn.Module, epoch: int, max_epochs: int | None, now: float
    ) -> dict[str, float]: ...


class Classifier(LeanModule):
    """Trains a network on (rows, labels) with a loss on logits.

    Once an epoch it logs loss, accuracy and AUROC of both splits and the learning rate: logging
    in the step would cost as much as the step. The training figures are those of the epoch's own
    forward passes, in training mode and unweighted.

    Where several processes train (DDP), the figures are those of the rows of all of them, and the
    same in each: early stopping, schedules and the best weights need no further agreement.

    Args:
        network: with its normalization fitted.
        schema: what the columns and labels mean; stored in the checkpoints.
        optimizer: "adam", "adamw" or "sgd".
        lr: learning rate.
        weight_decay: L2 penalty, decoupled for adamw.
        scheduler: None, or {"name": "step", "step_size", "gamma"} or {"name": "cosine",
            "eta_min"}; in epochs.
        pos_weight: weight of the positive rows in the training loss.
        seed: makes dropout.

    Attributes:
        watch: looks at gradients and units while it trains; None does not.
    """

    watch: Watch | None

    def __init__(
        self,
        network: Network,
        schema: Schema,
        *,
        optimizer: str = "adam",
        lr: float = 0.01,
        weight_decay: float = 0.0,
        scheduler: dict[str, Any] | None = None,
        pos_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network", "schema"])
        self.network = network
        self.schema = schema
        self.best = BestWeights()
        self.watch = None
        # A weight of 1 would double the loss's operators for nothing.
        weight = None if pos_weight == 1 else torch.tensor(pos_weight)
        self.loss = nn.BCEWithLogitsLoss(pos_weight=weight)
        self.diverged: str | None = None  # how, where its loss has turned nan or infinite
        self._lr = lr
        self._train = Outputs()
        self._val = Outputs()

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (n,) of raw rows (n, features)."""
        return self.network(rows)

    def on_train_epoch_start(self) -> None:
        # Noted here, since Lightning steps the scheduler before `on_train_epoch_end`.
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        rank = self.trainer.global_rank
        seed = epoch_seed(self.hparams["seed"], self.current_epoch, Stream.DROPOUT, rank)
        seed_device(seed, self.device)

    def training_step(self, batch: Batch | SharedBatch, batch_idx: int) -> Tensor:
        rows, labels, *weight = batch
        logits = self.network(rows)
        self._train.append(logits.detach(), labels)
        if not weight:
            return self.loss(logits, labels)
        # A mean would be nan for a process that got none of a short batch's rows.
        return weight[0] * F.binary_cross_entropy_with_logits(
            logits, labels, pos_weight=self.loss.pos_weight, reduction="sum"
        )

    def on_validation_epoch_start(self) -> None:
        self._val.clear()  # of Lightning's sanity check, if it was asked for

    def validation_step(self, batch: Batch | SharedBatch, batch_idx: int) -> None:
        rows, labels, *_ = batch
        self._val.append(self.network(rows), labels)

    def on_train_epoch_end(self) -> None:
        """Lightning has validated by now: one record holds the epoch."""
        record = {"lr": self._lr}
        for name, outputs in (("train", self._train), ("val", self._val)):
            if outputs:
                record |= epoch_record(name, *self._of_all_ranks(*outputs.joined()))
        if not self._finite(record):
            self.diverged = self._how_diverged(record)
            self.trainer.should_stop = True
        self._train.clear()
        self._val.clear()
        if self.watch is not None and "train/loss" in record:
            epoch, last = self.current_epoch + 1, self.trainer.max_epochs
            record |= self.watch.record(self.network, self.loss, epoch, last, record["train/loss"])
        self._publish(record)
        if self.diverged is None or not self.best.weights:
            self.best.update(self.network, record.get("val/loss"), self.current_epoch)

    def _finite(self, record: dict[str, float]) -> bool:
        """Whether the losses are numbers, and so the weights that made the last of them."""
        if not math.isfinite(record.get("train/loss", 0.0)):
            return False
        last = record.get("val/loss")
        return weights_finite(self.network) if last is None else math.isfinite(last)

    def _how_diverged(self, record: dict[str, float]) -> str:
        losses = (self.loss(logits, labels) for logits, labels in self._train.batches())
        position = first_not_finite(losses)
        losses = (record.get("train/loss", 0.0), record.get("val/loss", math.nan))
        steps = len(self._train)
        batch = steps - 1 if position is None else position
        return explanation(
            self.network,
            self.schema,
            rows_of_batch(self._train_batches(), batch),
            loss=next(loss for loss in losses if not math.isfinite(loss)),
            epoch=self.current_epoch + 1,
            step=self.global_step - steps + batch + 1,
            lr=self._lr,
        )

    def _train_batches(self) -> Iterable[Any]:
        """Of the epoch, once more."""
        return self.trainer.train_dataloader or []

    def _of_all_ranks(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        several = self.trainer.world_size > 1
        return gathered(logits, labels) if several else (logits, labels)

    def _publish(self, record: dict[str, float]) -> None:
        """To the loggers and to callbacks such as EarlyStopping, as `self.log_dict` would.

        That would round to float32 and, at a tenth of a millisecond a value, cost more than an
        epoch of one step.
        """
        self.trainer.callback_metrics.update(
            {name: torch.tensor(value, dtype=torch.float64) for name, value in record.items()}
        )
        for logger in self.trainer.loggers:
            logger.log_metrics({**record, "epoch": self.current_epoch}, self.global_step)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizer = make_optimizer(self.network, self.hparams)
        scheduler = make_scheduler(optimizer, self.hparams["scheduler"], self.trainer.max_epochs)
        return [optimizer], [] if scheduler is None else [scheduler]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["normlab"] = describe(self.network, self.schema)
        checkpoint["best"] = self.best.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning converts the module to trainer.precision after it has loaded the weights.
        weights = checkpoint["state_dict"].values()
        self.to(next(value.dtype for value in weights if value.is_floating_point()))
        self.best.load_state_dict(checkpoint["best"])


def epoch_record(name: str, logits: Tensor, labels: Tensor) -> dict[str, float]:
    """An epoch's metrics under "name/": one transfer from the device for all of them."""
    values = binary_metrics(logits, labels).tolist()
    return {f"{name}/{metric}": value for metric, value in zip(METRICS, values, strict=True)}


def gathered(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits and labels that all processes have seen."""
    dtype = torch.promote_types(logits.dtype, torch.float32)  # as the metrics have it
    seen = torch.stack([logits.to(dtype), labels.to(dtype)])
    sizes = [int(n) for n in _from_all_ranks(torch.tensor([len(logits)], device=seen.device))]
    # Tensors of one shape alone can be gathered.
    padded = _from_all_ranks(F.pad(seen, (0, max(sizes) - len(logits))))
    joined = torch.cat([rank[:, :n] for rank, n in zip(padded, sizes, strict=True)], 1)
    return joined[0], joined[1]


def _from_all_ranks(mine: Tensor) -> list[Tensor]:
    every = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, mine)
    return every


def make_optimizer(network: nn.Module, hparams: Any) -> Optimizer:
    """The optimizer by name; fused: one kernel for all parameters."""
    parameters = network.parameters()
    lr, weight_decay = hparams["lr"], hparams["weight_decay"]
    match hparams["optimizer"]:
        case "adam":
            return torch.optim.Adam(parameters, lr, weight_decay=weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=True)
        case "sgd":
            return torch.optim.SGD(parameters, lr, weight_decay=weight_decay, fused=True)
        case name:
            raise ValueError(f"unknown optimizer {name!r}")


def make_scheduler(
    optimizer: Optimizer, scheduler: dict[str, Any] | None, max_epochs: int | None
) -> LRScheduler | None:
    """The scheduler by name, stepped once an epoch; None keeps the learning rate."""
    match scheduler:
        case None | {"name": "none"}:
            return None
        case {"name": "step", "step_size": step_size, "gamma": gamma}:
            return StepLR(optimizer, step_size, gamma)
        case {"name": "cosine", "eta_min": eta_min}:
            return CosineAnnealingLR(optimizer, max_epochs or 1, eta_min)
        case _:
            raise ValueError(f"unknown scheduler {scheduler!r}")
