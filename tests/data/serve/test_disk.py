"""A table on disk trains as one in memory does: the same parts, statistics and rows, each once."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Trainer
from torch import Tensor

from learners import Learner, train_together
from normlab.config.model import NoSchedulerSettings
from normlab.data.schema import Schema
from normlab.data.serve import disk
from normlab.data.serve.batches import Share
from normlab.data.serve.disk import BlockOrder, DiskBatches, Part
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.training.module import Recipe

CPU = torch.device("cpu")


def numbered(n_rows: int, stored: Callable[[Table], Table]) -> Table:
    """Rows and labels that tell their place."""
    labels = np.arange(n_rows, dtype=np.float32)
    table = np.stack([labels, -labels], 1)
    return stored(Table(table, labels, Schema(("a", "b"), "y", (0, 1)), "numbered"))


def small_blocks(monkeypatch: pytest.MonkeyPatch, rows_in_a_group: int = 4) -> None:
    monkeypatch.setattr(disk, "GROUP_BLOCKS", rows_in_a_group)


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


def steps(batches: DiskBatches) -> list[tuple[Tensor, float]]:
    """The labels of each step, whose rows belong to them, and its factor."""
    found = []
    for (piece,) in map(list, batches):
        ((start, stop, factor),) = piece.steps
        assert (start, stop) == (0, piece.labels.shape[1])
        assert torch.equal(piece.rows[0, :, 0], piece.labels[0])
        assert torch.equal(piece.rows[0, :, 1], -piece.labels[0])
        found.append((piece.labels[0], factor))
    return found


def served(batches: DiskBatches) -> list[list[float]]:
    return [names.tolist() for names, _ in steps(batches)]


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


@pytest.mark.parametrize("batch_size", [16, 2, None])
def test_processes_share_every_batch_and_their_losses_sum_to_its_mean(
    stored: Callable[[Table], Table], monkeypatch: pytest.MonkeyPatch, batch_size: int | None
) -> None:
    small_blocks(monkeypatch)
    part = Part(numbered(101, stored), np.arange(101))

    def batches(share: Share | None) -> DiskBatches:
        return DiskBatches(part, batch_size, CPU, BlockOrder(101, 1, 7), share)

    shares = [steps(batches(Share(rank, 3))) for rank in range(3)]
    for (whole, factor), *parts in zip(steps(batches(None)), *shares, strict=True):
        assert factor == pytest.approx(1 / len(whole))
        assert torch.equal(torch.cat([own for own, _ in parts]), whole)
        mean = sum(float(own.sum()) * factor for own, factor in parts) / 3
        assert mean == pytest.approx(whole.mean().item(), rel=1e-6)


def test_one_batch_of_all_rows_keeps_their_order(stored: Callable[[Table], Table]) -> None:
    part = Part(numbered(50, stored), np.arange(0, 50, 2))
    batches = DiskBatches(part, None, CPU, BlockOrder(25, 0, 3))
    assert served(batches) == [list(range(0, 50, 2))]


@pytest.mark.parametrize("split", ["random", "chronological", "none"])
def test_parts_are_those_of_the_table_in_memory(
    stored: Callable[[Table], Table], blobs: Callable[..., Table], split: Any
) -> None:
    table = blobs(3_000)
    memory, on_disk = (
        SplitTable(one, split, 0.2, 0.1, 64, seed=4) for one in (table, stored(table))
    )
    for name in ("train", "val", "test"):
        index = getattr(on_disk.split, name)
        assert index.dtype == np.int32
        np.testing.assert_array_equal(index, getattr(memory.split, name))


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
    recipe = Recipe("adam", 0.05, NoSchedulerSettings(name="none"))
    values = []
    for one in (table, stored(table)):
        learner = Learner(SplitTable(one, batch_size=batch_size, seed=2), recipe)
        module = train_together([learner], make_trainer(max_epochs=8))
        (epochs,) = module.records.take(1)
        assert epochs is not None
        assert epochs.column("val/loss")[-1] < epochs.column("val/loss")[0]
        values.append(epochs.values)
    tolerance = 1e-5 if batch_size is None else 0.05
    np.testing.assert_allclose(values[1], values[0], atol=tolerance, rtol=0)
