"""Batches: every row of every run once an epoch, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from normlab.data.serve import batches as serving
from normlab.data.serve.batches import (
    Batches,
    EpochOrder,
    Piece,
    Share,
    batch_bounds,
    groups_of_batches,
)
from normlab.seeding import Stream, epoch_seed

sizes = st.one_of(st.none(), st.integers(1, 60))


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


@given(st.integers(1, 200), sizes, st.integers(0, 100))
def test_groups_are_neighbours_and_as_many_as_fit(
    n_rows: int, batch_size: int | None, at_most: int
) -> None:
    bounds = batch_bounds(n_rows, batch_size)
    groups = groups_of_batches(bounds, at_most)
    assert [batch for group in groups for batch in group] == bounds
    for group, after in zip(groups, [*groups[1:], None], strict=True):
        assert len(group) == 1 or group[-1][1] - group[0][0] <= at_most
        assert after is None or after[0][1] - group[0][0] > at_most


def test_orders_are_torchs_permutations_from_seed_and_epoch() -> None:
    order = EpochOrder(50, [3, 8, 3])
    for epoch in (0, 1, 17):
        order.set_epoch(epoch)
        torch.rand(5)  # the global generator has no say
        for seed, found in zip((3, 8, 3), order.permutations(), strict=True):
            generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, Stream.SHUFFLE))
            assert torch.equal(found, torch.randperm(50, generator=generator))


# Three runs of 50 rows each, of 120 rows that tell their place

INDEX = torch.stack([torch.arange(0, 100, 2), torch.arange(50), torch.arange(70, 120)])
SEEDS = (1, 2, 1)


def served(
    batch_size: int | None, at_once: bool = True, share: Share | None = None
) -> tuple[Batches, Tensor]:
    places = torch.arange(120.0)
    rows = torch.stack([places, -places], 1)
    return Batches(rows, places, INDEX, batch_size, SEEDS, at_once, share), places


def steps(pieces: Sequence[Piece]) -> list[Tensor]:
    """The labels (runs, b) of each step; their rows belong to them."""
    found = []
    for piece in pieces:
        assert torch.equal(piece.rows[:, :, 0], piece.labels)
        assert torch.equal(piece.rows[:, :, 1], -piece.labels)
        found += [piece.labels[:, start:stop] for start, stop, _ in piece.steps]
    return found


def epoch(batches: Batches) -> list[Tensor]:
    return steps([piece for item in batches for piece in item])


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("numbers", [1, 100, 2**22])
def test_every_row_once_beside_its_label_in_its_runs_order(
    at_once: bool, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all steps come at once or one by one, and in pieces of any size."""
    monkeypatch.setattr(serving, "PIECE_NUMBERS", numbers)
    batches, _ = served(8, at_once)
    assert len(batches) == (1 if at_once else 7) == len(list(batches))
    epochs = []
    for number in (0, 1):
        batches.sampler.set_epoch(number)
        found = epoch(batches)
        assert [part.shape for part in found] == [(3, n) for n in (8, 8, 8, 8, 8, 8, 2)]
        order = EpochOrder(50, SEEDS)
        order.set_epoch(number)
        epochs.append(torch.cat(found, 1))
        assert torch.equal(epochs[-1], INDEX.gather(1, order.permutations()).float())
        assert torch.equal(torch.cat(epoch(batches), 1), epochs[-1])  # until the next is told
    assert not torch.equal(*epochs)


def test_one_batch_of_all_rows_is_not_shuffled_and_gathered_once() -> None:
    batches, _ = served(None)
    (first,), (again,) = (list(batches.pieces()) for _ in range(2))
    assert first is again
    assert torch.equal(first.labels, INDEX.float())


@pytest.mark.parametrize("batch_size", [8, None])
def test_runs_leave(batch_size: int | None) -> None:
    batches, _ = served(batch_size)
    batches.sampler.set_epoch(3)
    before = torch.cat(epoch(batches), 1)
    batches.keep(torch.tensor([2, 1]))
    assert torch.equal(torch.cat(epoch(batches), 1), before[[2, 1]])


@pytest.mark.parametrize("batch_size", [8, 2, None])
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_processes_share_every_batch_and_their_losses_sum_to_its_mean(
    batch_size: int | None, n_ranks: int
) -> None:
    """DDP averages the processes' gradients. A batch of two rows leaves one of three without."""
    whole = epoch(served(batch_size)[0])
    shares: list[list[tuple[Any, Tensor]]] = []
    for rank in range(n_ranks):
        pieces = list(served(batch_size, share=Share(rank, n_ranks))[0].pieces())
        factors = [step.factor for piece in pieces for step in piece.steps]
        shares.append(list(zip(factors, steps(pieces), strict=True)))
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert torch.equal(torch.cat([labels for _, labels in parts], 1), batch)
        counts = [labels.shape[1] for _, labels in parts]
        assert max(counts) - min(counts) <= 1
        losses = [(labels.square() * factor).sum(1) for factor, labels in parts]
        mean = torch.stack(losses).mean(0)
        torch.testing.assert_close(mean, batch.square().mean(1))


@given(st.integers(0, 50), st.integers(0, 20), st.integers(1, 5))
def test_shares_cut_a_batch_without_gap_or_overlap(start: int, n: int, n_ranks: int) -> None:
    parts = [Share(rank, n_ranks).of(start, start + n) for rank in range(n_ranks)]
    assert [i for part in parts for i in range(part.start, part.stop)] == [*range(start, start + n)]
