"""Splits of tables and what is served of them: who may see which rows, in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from normlab.data.serve import module as serving
from normlab.data.serve.batches import Batches, EpochOrder, Piece
from normlab.data.serve.disk import DiskBatches
from normlab.data.serve.module import SplitTable, TableDataModule
from normlab.data.serve.split import split_rows
from normlab.data.table import Table
from normlab.model.network import Network
from normlab.model.scalers import SCALERS, make_scaler

Tables = Callable[..., Table]


# What statistics may see


def fitted(normalization: str, data: SplitTable, seed: int = 0) -> Network:
    network = Network(make_scaler(normalization, 3), batchnorm=True, seed=seed)
    return network.fit(data.training_rows)


@pytest.mark.parametrize("normalization", SCALERS)
@pytest.mark.parametrize("split", ["random", "chronological"])
def test_statistics_come_from_the_training_rows_alone(
    blobs: Tables, normalization: str, split: Any
) -> None:
    """Whatever the held-out rows hold, the fitted network is the same to the bit."""
    table = blobs(120)
    states = []
    for factor in (1, 1e6):
        data = SplitTable(table, split, 0.2, 0.2, seed=5)
        rows = table.rows.copy()
        held_out = np.concatenate([data.split.val, data.split.test])
        assert len(held_out) == 48
        rows[held_out] = rows[held_out] * factor - (factor - 1)
        data = SplitTable(replace(table, rows=rows), split, 0.2, 0.2, seed=5)
        states.append(dict(fitted(normalization, data).state_dict()))
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


def test_statistics_follow_the_training_rows(blobs: Tables) -> None:
    """The test above would pass for statistics of nothing at all."""
    table = blobs(120)
    data = SplitTable(table, "random", 0.2, 0.2, seed=5)
    normalizer = fitted("standardize", data).normalizer
    train = table.rows[data.split.train].astype(np.float64)
    np.testing.assert_allclose(normalizer.get_buffer("shift")[0], train.mean(0), rtol=1e-6)
    np.testing.assert_allclose(normalizer.get_buffer("scale")[0], train.std(0), rtol=1e-6)


def test_a_seed_gives_one_split_and_one_start_under_every_normalization(blobs: Tables) -> None:
    data = SplitTable(blobs(120), "random", 0.2, 0.2, seed=11)
    weights = [dict(fitted(name, data, seed=11).mlp.state_dict()) for name in SCALERS]
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], rtol=0, atol=0)
    different = fitted("none", data, seed=12).mlp.state_dict()
    assert not torch.equal(weights[0]["0.weight"], different["0.weight"])


# Parts


@pytest.mark.parametrize("on_disk", [False, True])
def test_parts_are_the_splits_rows(
    blobs: Tables, stored: Callable[[Table], Table], on_disk: bool
) -> None:
    table = blobs(100)
    data = SplitTable(stored(table) if on_disk else table, "random", 0.2, 0.1, seed=3)
    split = split_rows(table.labels, "random", 0.2, 0.1, 3)
    served = TableDataModule([data])
    for name in ("train", "val", "test"):
        index = getattr(split, name)
        np.testing.assert_array_equal(getattr(data.split, name), index)
        np.testing.assert_array_equal(data.labels(name), table.labels[index])
        assert served.n_rows(name) == len(index)
        rows, labels = served.take(name, slice(None))
        np.testing.assert_array_equal(rows, table.rows[index][None])
        np.testing.assert_array_equal(labels, table.labels[index][None])
    np.testing.assert_array_equal(torch.cat(list(data.training_rows)), table.rows[split.train])
    np.testing.assert_array_equal(data.train_labels, table.labels[split.train])


def test_a_sample_of_the_training_rows_is_evenly_spaced_on_disk(
    blobs: Tables, stored: Callable[[Table], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SAMPLE", 90)  # 30 rows of three columns
    table = blobs(100)
    whole, some = (SplitTable(one, "none").sampled_rows() for one in (table, stored(table)))
    np.testing.assert_array_equal(whole, table.rows)
    np.testing.assert_array_equal(some, table.rows[::4])


def test_without_a_split_all_rows_train(blobs: Tables) -> None:
    table = blobs(50)
    data = TableDataModule([SplitTable(table, "none")])
    assert [data.n_rows(part) for part in ("train", "val", "test")] == [50, 0, 0]
    assert list(data.evaluation("val")) == []


@pytest.mark.parametrize("on_disk", [False, True])
def test_evaluation_passes_every_row_once_in_order(
    blobs: Tables,
    stored: Callable[[Table], Table],
    monkeypatch: pytest.MonkeyPatch,
    on_disk: bool,
) -> None:
    table = blobs(5_000)
    data = SplitTable(stored(table) if on_disk else table, "random", 0.5, 0.1, seed=3)
    served = TableDataModule([data])
    whole = served.take("val", slice(None))
    for numbers in (300, 2**24):
        monkeypatch.setattr(serving, "EVALUATION_NUMBERS", {"memory": numbers, "disk": numbers})
        parts = list(served.evaluation("val"))
        assert (len(parts) > 1) == (numbers == 300)
        for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
            assert torch.equal(torch.cat(found, 1), expected)


# Runs of many tables


@pytest.fixture
def several(blobs: Tables) -> list[SplitTable]:
    """Three splits of two tables."""
    one, other = blobs(80), blobs(80, seed=1)
    return [
        SplitTable(one, "random", 0.2, 0.1, batch_size=16, seed=4),
        SplitTable(other, "chronological", 0.2, 0.1, batch_size=16, seed=5),
        SplitTable(one, "random", 0.2, 0.1, batch_size=16, seed=6),
    ]


def test_every_run_is_served_its_own_rows(several: list[SplitTable]) -> None:
    data = TableDataModule(several)
    for part in ("train", "val", "test"):
        rows, labels = data.take(part, slice(2, 7))
        some, _ = data.take(part, torch.tensor([3, 0]), torch.tensor([2, 1]))
        for place, run in enumerate(several):
            index = getattr(run.split, part)
            np.testing.assert_array_equal(rows[place], run.table.rows[index[2:7]])
            np.testing.assert_array_equal(labels[place], run.table.labels[index[2:7]])
        for place, run in enumerate((several[2], several[1])):
            np.testing.assert_array_equal(
                some[place], run.table.rows[getattr(run.split, part)[[3, 0]]]
            )
    parts = [rows for rows, _ in data.evaluation("val", torch.tensor([1]))]
    np.testing.assert_array_equal(parts[0][0], several[1].table.rows[several[1].split.val])
    batches = data.train_dataloader()
    assert isinstance(batches, Batches)
    order = EpochOrder(56, [4, 5, 6]).permutations()
    found = torch.cat([piece.rows for piece in batches.pieces()], 1)
    for place, run in enumerate(several):
        np.testing.assert_array_equal(found[place], run.table.rows[run.split.train][order[place]])


class Kept(LightningModule):
    """Keeps the first column of every training row, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.epochs: list[list[Tensor]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_start(self) -> None:
        self.epochs.append([])

    def training_step(self, pieces: Iterator[Piece], batch_idx: int) -> Tensor:
        self.epochs[-1] += [piece.rows[..., 0].clone() for piece in pieces]
        return self.layer(torch.ones(1)).sum()


@pytest.mark.parametrize("at_once", [True, False])
def test_lightning_tells_the_epoch(
    several: list[SplitTable], make_trainer: Callable[..., Trainer], at_once: bool
) -> None:
    """It calls `sampler.set_epoch` by itself; if it ceased to, each epoch would be the first."""
    kept = Kept()
    trainer = make_trainer(max_epochs=3)
    trainer.fit(kept, datamodule=TableDataModule(several, at_once))
    assert trainer.global_step == (3 if at_once else 12)
    order = EpochOrder(56, [4, 5, 6])
    for number, parts in enumerate(kept.epochs):
        order.set_epoch(number)
        for run, own, places in zip(
            several, torch.cat(parts, 1), order.permutations(), strict=True
        ):
            np.testing.assert_array_equal(own, run.table.rows[run.split.train][places, 0])


def test_a_table_on_disk_is_served_step_by_step(
    blobs: Tables, stored: Callable[[Table], Table], make_trainer: Callable[..., Trainer]
) -> None:
    table = blobs(80)
    data = TableDataModule([SplitTable(stored(table), "none", batch_size=16)])
    assert isinstance(data.train_dataloader(), DiskBatches)
    kept = Kept()
    trainer = make_trainer(max_epochs=2)
    trainer.fit(kept, datamodule=data)
    assert trainer.global_step == 10
    epochs = [torch.cat(parts, 1)[0] for parts in kept.epochs]
    assert not torch.equal(*epochs)
    for values in epochs:
        np.testing.assert_array_equal(values.sort().values, np.sort(table.rows[:, 0]))
