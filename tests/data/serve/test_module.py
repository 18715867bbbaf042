"""The data module: what may see which rows, and what does not depend on the normalization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from normlab.assembly import make_network
from normlab.config import Settings
from normlab.data.serve.batches import Batches
from normlab.data.serve.module import TableDataModule
from normlab.data.serve.split import split_rows
from normlab.data.table import Table
from normlab.model.classifier import Classifier
from normlab.model.normalization import NORMALIZERS
from normlab.seeding import Stream, epoch_seed

Settled = Callable[..., Settings]


@pytest.mark.parametrize("normalization", NORMALIZERS)
@pytest.mark.parametrize("split", ["random", "chronological"])
def test_statistics_come_from_the_training_rows_alone(
    settings: Settled, blobs: Callable[..., Table], normalization: str, split: Any
) -> None:
    """Whatever the held-out rows hold, the fitted network is the same to the bit."""
    chosen = settings(f"normalization={normalization}", "model.batchnorm=true")
    table = blobs(120)
    states: list[dict[str, Tensor]] = []
    for factor in (1, 1e6):
        data = TableDataModule(table, split, 0.2, 0.2, seed=5)
        rows = table.rows.copy()
        held_out = np.concatenate([data.split.val, data.split.test])
        rows[held_out] = rows[held_out] * factor - (factor - 1)
        data = TableDataModule(replace(table, rows=rows), split, 0.2, 0.2, seed=5)
        assert len(held_out) == 48
        network = make_network(chosen, 3)
        data.fit(network)
        states.append(network.state_dict())
    before, after = states
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_statistics_follow_the_training_rows(
    settings: Settled, blobs: Callable[..., Table]
) -> None:
    """The test above would pass for statistics of nothing at all."""
    table = blobs(120)
    data = TableDataModule(table, "random", 0.2, 0.2, seed=5)
    network = make_network(settings("normalization=standardize"), 3)
    data.fit(network)
    train = table.rows[data.split.train].astype(np.float64)
    np.testing.assert_allclose(network.normalizer.get_buffer("shift"), train.mean(0), rtol=1e-6)
    np.testing.assert_allclose(network.normalizer.get_buffer("scale"), train.std(0), rtol=1e-6)


def test_a_seed_gives_one_split_and_one_start_under_every_normalization(
    settings: Settled, blobs: Callable[..., Table]
) -> None:
    table = blobs(120)
    starts = []
    for name in NORMALIZERS:
        chosen = settings(f"normalization={name}", "seed=11")
        data = TableDataModule(table, "random", 0.2, 0.2, seed=chosen.seed)
        network = make_network(chosen, 3)
        data.fit(network)
        starts.append((data.split, network.mlp.state_dict()))
    (split, weights), *others = starts
    for other_split, other_weights in others:
        for part in ("train", "val", "test"):
            np.testing.assert_array_equal(getattr(split, part), getattr(other_split, part))
        assert all(torch.equal(value, other_weights[name]) for name, value in weights.items())
    other = make_network(settings("seed=12"), 3).mlp.state_dict()
    assert not torch.equal(weights["0.weight"], other["0.weight"])


def test_parts_are_the_splits_rows(blobs: Callable[..., Table]) -> None:
    table = blobs(100)
    data = TableDataModule(table, "random", 0.2, 0.1, seed=3)
    split = split_rows(table.labels, "random", 0.2, 0.1, 3)
    for name in ("train", "val", "test"):
        part = data.part(name)
        assert part is not None
        index = getattr(split, name)
        np.testing.assert_array_equal(part[0], table.rows[index])
        np.testing.assert_array_equal(part[1], table.labels[index])
    np.testing.assert_array_equal(data.train_rows, table.rows[split.train])
    np.testing.assert_array_equal(data.train_labels, table.labels[split.train])
    for loader, index in ((data.val_dataloader(), split.val), (data.test_dataloader(), split.test)):
        assert isinstance(loader, Batches)
        assert loader.sampler is None
        np.testing.assert_array_equal(torch.cat([r for r, _ in loader]), table.rows[index])


def test_without_a_split_all_rows_train(blobs: Callable[..., Table]) -> None:
    table = blobs(50)
    data = TableDataModule(table, "none")
    np.testing.assert_array_equal(data.train_rows, table.rows)
    assert data.part("val") is None
    assert data.part("test") is None
    assert data.val_dataloader() == data.test_dataloader() == []


class Served(Callback):
    """Keeps the labels of each training batch, epoch by epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[Tensor]] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.epochs.append([])

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.epochs[-1].append(batch[0][:, 0].clone())


def test_lightning_tells_the_epoch(
    settings: Settled, blobs: Callable[..., Table], make_trainer: Callable[..., Trainer]
) -> None:
    """It calls `sampler.set_epoch` by itself; if it ceased to, each epoch would be the first."""
    table = blobs(40)
    data = TableDataModule(table, "none", batch_size=16, seed=9)
    network = make_network(settings(), 3)
    data.fit(network)
    served = Served()
    trainer = make_trainer(max_epochs=3, callbacks=[served])
    trainer.fit(Classifier(network, table.schema), datamodule=data)
    assert [[len(batch) for batch in epoch] for epoch in served.epochs] == [[16, 16, 8]] * 3
    for epoch, batches in enumerate(served.epochs):
        generator = torch.Generator().manual_seed(epoch_seed(9, epoch, Stream.SHUFFLE))
        order = torch.randperm(40, generator=generator)
        assert torch.equal(torch.cat(batches), torch.from_numpy(table.rows[:, 0])[order])
