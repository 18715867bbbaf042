"""A table on disk trains as one in memory does: the same parts, statistics and rows, each once."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning import Trainer

from normlab.data import disk_batches, rows
from normlab.data.serve.batches import Share
from normlab.data.serve.disk import BlockOrder, DiskBatches, Part
from normlab.data.serve.module import TableDataModule
from normlab.data.serve.rows import RowsOnDisk
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.model.affine import mean_and_std
from normlab.model.classifier import Classifier
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.normalization import NORMALIZERS, make_normalizer
from normlab.training.single import train

CPU = torch.device("cpu")


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Table], Table]:
    """The table, on disk."""

    def store(table: Table) -> Table:
        np.save(tmp_path / "rows.npy", table.rows)
        np.save(tmp_path / "labels.npy", table.labels)
        mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("rows", "labels"))
        return replace(table, **dict(zip(("rows", "labels"), mapped, strict=True)))

    return store


def numbered(n_rows: int, stored: Callable[[Table], Table]) -> Table:
    """Rows and labels that tell their place."""
    labels = np.arange(n_rows, dtype=np.float32)
    table = np.stack([labels, -labels], 1)
    return stored(Table(table, labels, Schema(("a", "b"), "y", (0, 1)), "numbered"))


def small_blocks(monkeypatch: pytest.MonkeyPatch, rows_in_a_group: int = 4) -> None:
    monkeypatch.setattr(disk_batches, "GROUP_BLOCKS", rows_in_a_group)


@given(
    n_rows=st.integers(1, 200),
    block=st.integers(1, 40),
    cuts=st.lists(st.integers(1, 199), max_size=6),
    epoch=st.integers(0, 3),
)
def test_groups_hold_every_row_once(n_rows: int, block: int, cuts: list[int], epoch: int) -> None:
    order = BlockOrder(n_rows, 5, block)
    order.set_epoch(epoch)
    edges = sorted({0, n_rows, *(cut for cut in cuts if cut < n_rows)})
    bounds = list(itertools.pairwise(edges))
    groups = list(order.groups(bounds))
    for (start, stop), group in zip(bounds, groups, strict=True):
        places = group.places()
        assert (np.diff(places) > 0).all()  # the disk is read in sequence
        assert sorted(group.order.tolist()) == list(range(stop - start)) == list(range(len(places)))
        # Whole blocks but for three: the first and the last cut, and the table's own last.
        assert len(group.runs) <= max(0, stop - start - 3) / block + 3
    everything = np.concatenate([group.places() for group in groups])
    assert sorted(everything.tolist()) == list(range(n_rows))


def served(batches: DiskBatches) -> list[list[float]]:
    lists = []
    for part, names, *_ in batches:
        assert torch.equal(part[:, 0], names)
        assert torch.equal(part[:, 1], -names)
        lists.append(names.tolist())
    return lists


def test_every_row_is_served_once_in_an_order_of_seed_and_epoch(
    stored: Callable[[Table], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    table = numbered(500, stored)
    index = np.flatnonzero(np.arange(500) % 3).astype(np.int32)  # of the rows some are others'
    batches = DiskBatches(Part(table, index), 16, CPU, BlockOrder(len(index), 3, 10))
    first = served(batches)
    assert [len(batch) for batch in first] == [16] * 20 + [13]
    assert len(batches) == 21
    everything = [name for batch in first for name in batch]
    assert sorted(everything) == index.tolist()
    assert served(batches) == first  # until the next epoch is told
    assert batches.sampler is not None
    batches.sampler.set_epoch(1)
    second = served(batches)
    assert second != first
    assert sorted(name for batch in second for name in batch) == index.tolist()
    # A group of four blocks mixes rows from far apart.
    assert np.mean([np.ptp(batch) for batch in first]) > 150
    other = DiskBatches(Part(table, index), 16, CPU, BlockOrder(len(index), 4, 10))
    assert served(other) != first


def test_memory_holds_a_group_at_a_time_read_in_sequence(
    stored: Callable[[Table], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    taken: list[Any] = []
    take = Part.take

    def spied(self: Part, places: Any, out: Any = None) -> Any:
        taken.append(places)
        return take(self, places, out)

    monkeypatch.setattr(Part, "take", spied)
    index = np.arange(400)
    list(DiskBatches(Part(numbered(400, stored), index), 16, CPU, BlockOrder(400, 0, 10)))
    assert max(map(len, taken)) <= 4 * 10
    assert all((np.diff(places) > 0).all() for places in taken)


@pytest.mark.parametrize("shuffled", [True, False])
def test_processes_share_every_batch(
    stored: Callable[[Table], Table], monkeypatch: pytest.MonkeyPatch, shuffled: bool
) -> None:
    small_blocks(monkeypatch)
    part = Part(numbered(101, stored), np.arange(101))

    def batches(share: Share | None) -> DiskBatches:
        order = BlockOrder(101, 1, 7) if shuffled else None
        return DiskBatches(part, 16, CPU, order, share)

    shares = [list(batches(Share(rank, 3))) for rank in range(3)]
    whole = list(batches(None))
    for (together, _), *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([p[0] for p in parts]), together)
        for own, labels, weight in parts:  # type: ignore[misc]
            assert torch.equal(own[:, 0], labels)
            assert weight == pytest.approx(3 / len(together))


def test_one_batch_of_all_rows_and_unshuffled_ones_keep_the_rows_order(
    stored: Callable[[Table], Table],
) -> None:
    part = Part(numbered(50, stored), np.arange(0, 50, 2))
    for batches in (DiskBatches(part, None, CPU, BlockOrder(25, 0, 3)), DiskBatches(part, 7, CPU)):
        assert [name for batch in served(batches) for name in batch] == list(range(0, 50, 2))


@pytest.mark.parametrize("split", ["random", "chronological", "none"])
def test_parts_are_those_of_the_table_in_memory(
    stored: Callable[[Table], Table], blobs: Callable[..., Table], split: Any
) -> None:
    table = blobs(3_000)
    memory = TableDataModule(table, split, 0.2, 0.1, 64, seed=4)
    disk = TableDataModule(stored(table), split, 0.2, 0.1, 64, seed=4)
    for name in ("train", "val", "test"):
        index = getattr(disk.split, name)
        assert index.dtype == np.int32
        np.testing.assert_array_equal(index, getattr(memory.split, name))
        for own, expected in zip(disk.chunks(name), memory.chunks(name), strict=True):
            assert torch.equal(own[0], expected[0])
            assert torch.equal(own[1], expected[1])


@pytest.mark.parametrize("name", NORMALIZERS)
def test_statistics_in_chunks_are_those_of_all_rows_at_once(
    stored: Callable[[Table], Table],
    blobs: Callable[..., Table],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 60)
    table = blobs(1_000)
    table.rows[:, 1] = 7.3  # constant
    index = np.flatnonzero(np.arange(1_000) % 4)
    whole = Network(make_normalizer(name, 3), batchnorm=True).fit(torch.tensor(table.rows[index]))
    parts = Network(make_normalizer(name, 3), batchnorm=True)
    parts.fit(RowsOnDisk(stored(table).rows, index))
    chunked = parts.state_dict()
    for key, value in whole.state_dict().items():
        if "mlp" not in key:
            torch.testing.assert_close(chunked[key], value, rtol=1e-6, atol=1e-6)
    assert (
        parts.normalizer(torch.tensor([[1.0, 7.3, 1.0]]))[0, 1]
        == whole.normalizer(torch.tensor([[1.0, 7.3, 1.0]]))[0, 1]
    )


@given(
    scale=st.sampled_from([1e-20, 1.0, 1e6]),
    shift=st.sampled_from([0.0, 1.0, -1e4]),
    n_rows=st.integers(1, 300),
)
@settings(max_examples=50, deadline=None)
def test_mean_and_std_in_chunks_agree_with_numpy(
    tmp_path_factory: pytest.TempPathFactory, scale: float, shift: float, n_rows: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    random = np.random.default_rng(n_rows)
    values = (random.standard_normal((n_rows, 2)) * scale + shift * scale).astype(np.float32)
    np.save(path, values)
    on_disk = RowsOnDisk(np.load(path, mmap_mode="r"), np.arange(n_rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK", 14)
        mean, std = mean_and_std(on_disk.map(torch.Tensor.double))
    exact = values.astype(np.float64)
    spread = exact.std(0).max()
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-12, atol=1e-12 * spread)
    np.testing.assert_allclose(std, exact.std(0), rtol=1e-12)


def test_long_columns_give_evenly_spaced_values(
    stored: Callable[[Table], Table], blobs: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "COLUMN", 300)
    table = blobs(1_000)
    on_disk = RowsOnDisk(stored(table).rows, np.arange(1_000))
    for i, column in enumerate(on_disk.columns(range(3))):
        np.testing.assert_array_equal(column, table.rows[::4, i])
    robust = make_normalizer("robust", 3).fit(on_disk)
    expected = make_normalizer("robust", 3).fit(torch.tensor(table.rows[::4]))
    torch.testing.assert_close(robust.get_buffer("shift"), expected.get_buffer("shift"))


def test_an_encoder_learns_the_same_from_disk(
    stored: Callable[[Table], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 60)
    random = np.random.default_rng(0)
    mixed = random.integers(0, 9, (400, 4)).astype(np.float32)
    mixed[:, 1] = mixed[:, 1] > 4
    mixed[random.random((400, 4)) < 0.2] = np.nan
    mixed[:, 3] = random.standard_normal(400)
    table = Table(mixed, mixed[:, 3], Schema(tuple("abcd"), "y", (0, 1)), "mixed")

    def encoder() -> Encoder:
        kinds = ["numeric", "boolean", "categorical", "numeric"]
        return Encoder(kinds, [0, 2, 10, 0], 4, [0, 2], impute=True)

    def network() -> Network:
        torch.manual_seed(0)
        return Network(make_normalizer("standardize", 2), encoder=encoder())

    whole = network().fit(torch.tensor(mixed)).state_dict()
    parts = network().fit(RowsOnDisk(stored(table).rows, np.arange(400))).state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-6, atol=0)


def test_a_table_on_disk_is_not_sent_to_another_process(
    stored: Callable[[Table], Table], blobs: Callable[..., Table]
) -> None:
    table = stored(blobs(5_000))
    sent = pickle.dumps(table)
    assert len(sent) < 2_000
    received = pickle.loads(sent)
    assert received.on_disk
    np.testing.assert_array_equal(received.rows, table.rows)
    np.testing.assert_array_equal(received.labels, table.labels)


@pytest.mark.parametrize("batch_size", [None, 50])
def test_training_comes_to_the_same(
    stored: Callable[[Table], Table],
    blobs: Callable[..., Table],
    make_trainer: Callable[..., Trainer],
    batch_size: int | None,
) -> None:
    """To the digits in full batches; in small ones, whose order differs, to the same quality."""
    table = blobs(600)
    results = []
    for one in (table, stored(table)):
        torch.manual_seed(0)
        network = Network(make_normalizer("standardize", 3), [8])
        data = TableDataModule(one, batch_size=batch_size, seed=2)
        data.fit(network)
        trainer = make_trainer(max_epochs=8)
        results.append(train(data, Classifier(network, one.schema, lr=0.05), trainer))
    memory, disk = results
    tolerance = 1e-5 if batch_size is None else 0.05
    for part in ("train", "val", "test"):
        assert getattr(disk, part) == pytest.approx(getattr(memory, part), abs=tolerance)
    assert disk.label_entropy == memory.label_entropy
