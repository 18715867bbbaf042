"""A run as one would write it in Lightning: its logger, its checkpoints, its progress bar.

The batches are sliced from one tensor, so that no DataLoader is in the way.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Iterator

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers import RATE, net, rows
from benchmarks.processes import new_folder
from normlab.model.tasks import Binary

Batch = tuple[Tensor, Tensor]


class Slices:
    """Batches of rows, in a new order in each epoch."""

    def __init__(self, x: Tensor, y: Tensor, batch: int, shuffled: bool) -> None:
        self.x, self.y, self.batch, self.shuffled = x, y, batch, shuffled

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        x, y = self.x, self.y
        if self.shuffled:
            order = torch.randperm(len(x))
            x, y = x[order], y[order]
        yield from zip(x.split(self.batch), y.split(self.batch), strict=True)


class Module(LightningModule):
    """A net of 1-10-1 with metrics at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()
        self.seen: dict[str, list[Batch]] = {"train": [], "val": []}

    def step(self, part: str, batch: Batch) -> Tensor:
        x, y = batch
        logits = self.net(x).squeeze(-1)
        self.seen[part].append((logits.detach(), y))
        return F.binary_cross_entropy_with_logits(logits, y)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        return self.step("train", batch)

    def validation_step(self, batch: Batch, index: int) -> None:
        self.step("val", batch)

    def log_epoch(self, part: str) -> None:
        logits, labels = (torch.cat(each) for each in zip(*self.seen[part], strict=True))
        self.seen[part].clear()
        values = Binary().evaluate(logits, labels).tolist()
        self.log_dict({f"{part}/{name}": v for name, v in zip(Binary.metrics, values, strict=True)})

    def on_train_epoch_end(self) -> None:
        self.log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        self.log_epoch("val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), RATE)


def train(epochs: int, batch: int) -> float:
    """Seconds of `Trainer.fit`."""
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    x, y, x_val, y_val = rows()
    silence = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(silence),
        contextlib.redirect_stderr(silence),
    ):
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=TensorBoardLogger(new_folder()),
            callbacks=[ModelCheckpoint(monitor="val/loss", save_last=True)],
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        loaders = Slices(x, y, batch, True), Slices(x_val, y_val, len(x_val), False)
        started = time.perf_counter()
        trainer.fit(Module(), *loaders)
        return time.perf_counter() - started
