"""The training rows of many runs, step by step, as slices of whole tensors.

Every run has its own split and its own order of rows, and one gather serves them all. (The collate
of a DataLoader costs ten microseconds a row.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from normlab.seeding import Stream, epoch_seed

PIECE_NUMBERS = 2**22  # of the rows that are gathered at once, 16 MB


class Step(NamedTuple):
    """One mini-batch of a piece.

    Attributes:
        start, stop: its rows in the piece.
        factor: of the sum of its rows' losses. Of a run by itself that makes their mean. Where
            several processes share a batch, DDP averages their gradients, and each takes
            processes / rows of the whole batch, however few rows are its own.
    """

    start: int
    stop: int
    factor: float


@dataclass(frozen=True, eq=False)
class Piece:
    """Some steps of an epoch.

    Attributes:
        rows: (runs, n, columns) in raw units, on the device of the training.
        labels: (runs, n).
        steps: in their order.
    """

    rows: Tensor
    labels: Tensor
    steps: list[Step]


def batch_bounds(n_rows: int, batch_size: int | None) -> list[tuple[int, int]]:
    """Where each batch starts and stops.

    A last batch of one row joins the one before it, since BatchNorm cannot train on one row;
    under every normalization alike, so that strategies can be compared in pairs.
    """
    size = min(batch_size or n_rows, n_rows)
    starts = list(range(0, n_rows, size))
    if size > 1 and n_rows - starts[-1] == 1 and len(starts) > 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


def groups_of_batches(
    bounds: Sequence[tuple[int, int]], n_rows: int
) -> list[list[tuple[int, int]]]:
    """Batches that follow each other, as many as come to `n_rows`; at least one."""
    groups: list[list[tuple[int, int]]] = []
    for start, stop in bounds:
        if not groups or stop - groups[-1][0][0] > n_rows:
            groups.append([])
        groups[-1].append((start, stop))
    return groups


@dataclass(frozen=True)
class Share:
    """One process's part of every batch: consecutive rows, as many as the others' or one more.

    Attributes:
        rank: of the process, from 0.
        n_ranks: processes that share the batches.
    """

    rank: int = 0
    n_ranks: int = 1

    def of(self, start: int, stop: int) -> slice:
        """This process's rows of a batch; none where there are fewer rows than processes."""
        n_rows = stop - start
        first, last = (n_rows * rank // self.n_ranks for rank in (self.rank, self.rank + 1))
        return slice(start + first, start + last)

    def steps(self, bounds: Sequence[tuple[int, int]]) -> list[Step]:
        """This process's steps of some batches, its own rows laid one behind another."""
        sizes = [self.of(start, stop).stop - self.of(start, stop).start for start, stop in bounds]
        stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        factors = [self.n_ranks / (stop - start) for start, stop in bounds]
        return [
            Step(*own, factor) for own, factor in zip(pairwise([0, *stops]), factors, strict=True)
        ]


class EpochOrder:
    """The order of every run's rows in an epoch, from (seed, epoch) alone.

    Lightning calls `set_epoch` on the attribute `sampler` of whatever serves the batches.
    """

    def __init__(self, n_rows: int, seeds: Sequence[int]) -> None:
        self.n_rows = n_rows
        self.seeds = list(seeds)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def permutations(self) -> Tensor:
        """int64 (runs, n_rows), made on the CPU so that every device sees the same order."""
        drawn = {}
        for seed in self.seeds:  # of a sweep many runs have one seed
            if seed not in drawn:
                mixed = epoch_seed(seed, self.epoch, Stream.SHUFFLE)
                generator = torch.Generator().manual_seed(mixed)
                drawn[seed] = torch.randperm(self.n_rows, generator=generator)
        return torch.stack([drawn[seed] for seed in self.seeds])


class Batches:
    """Serves the steps of an epoch to Lightning: all at once, or one by one.

    Lightning's own work in a step outlasts a small network's, and is paid once an epoch where the
    steps come at once.

    Args:
        rows: (all rows of all tables, columns), on the device of the training.
        labels: of these rows.
        index: int64 (runs, n), the training rows of each run.
        batch_size: rows of a run in a step; None for all of them. One batch is never shuffled: the
            order within it does not matter.
        seeds: of the runs, for their orders.
        at_once: whether an epoch is one item for Lightning.
        share: this process's.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        rows: Tensor,
        labels: Tensor,
        index: Tensor,
        batch_size: int | None,
        seeds: Sequence[int],
        at_once: bool = True,
        share: Share | None = None,
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.index = index
        self.at_once = at_once
        self.share = share or Share()
        self.bounds = batch_bounds(index.shape[1], batch_size)
        self.sampler = EpochOrder(index.shape[1], seeds)
        self._only: Piece | None = None

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these (int64 indices)."""
        self.index = self.index[runs]
        self.sampler.seeds = [self.sampler.seeds[run] for run in runs.tolist()]
        self._only = None

    def __len__(self) -> int:
        return 1 if self.at_once else len(self.bounds)

    def __iter__(self) -> Iterator[Iterator[Piece]]:
        if self.at_once:
            yield self.pieces()
        else:
            yield from (iter([piece]) for piece in self.pieces())

    def pieces(self) -> Iterator[Piece]:
        """The epoch, in the order that `sampler` has been set to."""
        if len(self.bounds) == 1:  # the same in every epoch: gathered once
            if self._only is None:
                self._only = self._piece(self.index, self.bounds)
            yield self._only
            return
        order = self.sampler.permutations().to(self.index.device)
        index = self.index.gather(1, order)
        n_rows = 0
        if self.at_once:
            n_rows = PIECE_NUMBERS // (len(index) * self.rows.shape[1])
        for bounds in groups_of_batches(self.bounds, n_rows):
            yield self._piece(index, bounds)

    def _piece(self, index: Tensor, bounds: Sequence[tuple[int, int]]) -> Piece:
        if self.share.n_ranks == 1:
            own = index[:, bounds[0][0] : bounds[-1][1]]
        else:
            own = torch.cat([index[:, self.share.of(*batch)] for batch in bounds], 1)
        return Piece(self.rows[own], self.labels[own], self.share.steps(bounds))
