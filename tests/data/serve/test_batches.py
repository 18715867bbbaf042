"""Batches: every row once an epoch, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normlab.data.serve.batches import Batches, EpochOrder, batch_bounds
from normlab.seeding import Stream, epoch_seed

sizes = st.one_of(st.none(), st.integers(1, 60))


def numbered(n_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and labels that tell their place."""
    labels = torch.arange(n_rows, dtype=torch.float32)
    return torch.stack([labels, -labels], 1), labels


@given(st.integers(1, 200), sizes)
def test_bounds_cut_the_rows_without_gap_or_overlap(n_rows: int, batch_size: int | None) -> None:
    bounds = batch_bounds(n_rows, batch_size)
    assert [i for start, stop in bounds for i in range(start, stop)] == list(range(n_rows))
    lengths = [stop - start for start, stop in bounds]
    size = batch_size or n_rows
    assert all(length == size for length in lengths[:-1])
    assert lengths[-1] <= size + 1
    if size > 1 and n_rows > 1:
        assert min(lengths) > 1  # BatchNorm trains on no less


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "bounds"),
    [
        (10, 4, [(0, 4), (4, 8), (8, 10)]),
        (9, 4, [(0, 4), (4, 9)]),  # the ninth row joins
        (8, 4, [(0, 4), (4, 8)]),
        (5, 4, [(0, 5)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),  # as asked for
        (1, 4, [(0, 1)]),
        (10, None, [(0, 10)]),
        (10, 99, [(0, 10)]),
    ],
)
def test_bounds(n_rows: int, batch_size: int | None, bounds: list[tuple[int, int]]) -> None:
    assert batch_bounds(n_rows, batch_size) == bounds


def test_the_order_is_torchs_permutation_from_seed_and_epoch() -> None:
    order = EpochOrder(50, seed=3)
    for epoch in (0, 1, 17):
        order.set_epoch(epoch)
        generator = torch.Generator().manual_seed(epoch_seed(3, epoch, Stream.SHUFFLE))
        torch.rand(5)  # the global generator has no say
        assert torch.equal(order.permutation(), torch.randperm(50, generator=generator))
    assert not torch.equal(EpochOrder(50, 3).permutation(), EpochOrder(50, 4).permutation())


def test_batches_hold_every_row_once_beside_its_label() -> None:
    rows, labels = numbered(50)
    batches = Batches(rows, labels, 8, EpochOrder(50, seed=1))
    first = list(batches)
    assert [len(part) for part, _ in first] == [8, 8, 8, 8, 8, 8, 2]
    assert len(batches) == 7
    for part, names in first:
        assert torch.equal(part[:, 0], names)
        assert torch.equal(part[:, 1], -names)
    served = torch.cat([names for _, names in first])
    assert torch.equal(served.sort().values, labels)
    assert torch.equal(served, labels[EpochOrder(50, seed=1).permutation()])

    again = torch.cat([names for _, names in batches])
    assert torch.equal(served, again)  # an epoch repeats until it is told the next
    assert batches.sampler is not None
    batches.sampler.set_epoch(1)
    assert not torch.equal(served, torch.cat([names for _, names in batches]))


def test_one_batch_of_all_rows_is_not_shuffled() -> None:
    rows, labels = numbered(20)
    ((all_rows, all_labels),) = Batches(rows, labels, None, EpochOrder(20, 0))
    assert all_rows.data_ptr() == rows.data_ptr()  # nor copied
    assert torch.equal(all_labels, labels)


def test_without_a_sampler_the_rows_keep_their_order() -> None:
    rows, labels = numbered(20)
    batches = list(Batches(rows, labels, 6))
    assert torch.equal(torch.cat([part for part, _ in batches]), rows)
    assert torch.equal(torch.cat([part for _, part in batches]), labels)
