"""Batches as slices of whole tensors: a DataLoader's collate costs ten microseconds a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from normlab.seeding import Stream, epoch_seed

Batch = tuple[Tensor, Tensor]
SharedBatch = tuple[Tensor, Tensor, float]


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


class EpochOrder:
    """The order of the rows in an epoch, from (seed, epoch) alone.

    Lightning calls `set_epoch` on the attribute `sampler` of whatever serves the batches.
    """

    def __init__(self, n_rows: int, seed: int) -> None:
        self.n_rows = n_rows
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def permutation(self) -> Tensor:
        """int64 (n_rows,), on the CPU so that every device sees the same order."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch, Stream.SHUFFLE))
        return torch.randperm(self.n_rows, generator=generator)


class Batches:
    """Serves (rows, labels) slice by slice; shuffled where `sampler` is given.

    Args:
        rows: float32 (n, features) on the device of the training.
        labels: float32 (n,) on the same device.
        batch_size: rows in a batch; None for one batch of all rows. One batch is never shuffled:
            the order within it does not matter.
        sampler: gives the order of an epoch; None keeps the rows' order.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        rows: Tensor,
        labels: Tensor,
        batch_size: int | None = None,
        sampler: EpochOrder | None = None,
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.bounds = batch_bounds(len(rows), batch_size)
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[Batch]:
        rows, labels = self.in_order()
        for start, stop in self.bounds:
            yield rows[start:stop], labels[start:stop]

    def in_order(self) -> Batch:
        """All rows and labels, in the epoch's order."""
        if self.sampler is None or len(self.bounds) == 1:
            return self.rows, self.labels
        order = self.sampler.permutation().to(self.rows.device)
        return self.rows[order], self.labels[order]


class WholeEpochs(Batches):
    """Serves the mini-batches of an epoch as one: all rows and labels, in the epoch's order."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield self.in_order()

    def mini_batches(self) -> Iterator[Batch]:
        """What `Batches` would serve."""
        return super().__iter__()


@dataclass(frozen=True)
class Share:
    """One process's part of every batch: consecutive rows, as many as the others' or one more.

    Attributes:
        rank: of the process, from 0.
        n_ranks: processes that share the batches.
    """

    rank: int
    n_ranks: int

    def of(self, start: int, stop: int) -> slice:
        """This process's rows of a batch; none where there are fewer rows than processes."""
        n_rows = stop - start
        first, last = (n_rows * rank // self.n_ranks for rank in (self.rank, self.rank + 1))
        return slice(start + first, start + last)


class SharedBatches:
    """One process's share of what `Batches` serves: (rows, labels, weight).

    DDP averages the gradients of the processes. For that average to be the gradient of the mean
    loss over the whole batch, each process sums the losses of its rows, however few they are, and
    multiplies by the weight: processes / rows of the whole batch.

    Args:
        rows, labels, batch_size, sampler: as of `Batches`, the same in every process.
        share: this process's.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        rows: Tensor,
        labels: Tensor,
        batch_size: int | None,
        sampler: EpochOrder | None,
        share: Share,
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.bounds = batch_bounds(len(rows), batch_size)
        self.sampler = sampler
        self.share = share

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[SharedBatch]:
        order = None
        if self.sampler is not None and len(self.bounds) > 1:
            order = self.sampler.permutation().to(self.rows.device)
        for start, stop in self.bounds:
            mine = self.share.of(start, stop)
            index = mine if order is None else order[mine]
            yield self.rows[index], self.labels[index], self.share.n_ranks / (stop - start)
