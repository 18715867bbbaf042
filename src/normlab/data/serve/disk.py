"""Batches of a table on disk, shuffled in blocks so that the disk is read in sequence.

An epoch draws the order of blocks of neighbouring rows, reads a group of blocks at a time in the
order of the file, and shuffles the group's rows in memory. A batch so mixes rows of some thirty
places of the table.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normlab.data.serve.batches import Piece, Share, batch_bounds, groups_of_batches
from normlab.data.table import Table
from normlab.seeding import Stream, epoch_seed

BLOCK_BYTES = 2**20  # read in sequence
GROUP_BLOCKS = 32  # in memory at once


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a table on disk.

    Attributes:
        index: the rows' places in the table (n,), ascending.
    """

    table: Table
    index: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.index)

    def take(
        self, places: slice | NDArray[np.integer], out: NDArray[np.float32] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rows (k, features) and labels (k,), read in the order of their places in the part.

        Args:
            places: of the rows.
            out: float32 (at least k, features), where the rows go; None for memory of their own.
        """
        index = self.index[places]
        rows, labels = (np.asarray(a) for a in (self.table.rows, self.table.labels))
        out = None if out is None else out[: len(index)]
        # "clip" lets NumPy write into `out` at once; there is nothing to clip.
        taken = rows.take(index, 0, out, "clip")
        return torch.from_numpy(taken), torch.from_numpy(labels.take(index))

    def announce(self, start: int, stop: int) -> None:
        """Lets the system read some rows in advance, where it can."""
        rows = self.table.rows
        memory = getattr(rows, "_mmap", None)
        if not isinstance(memory, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
            return
        row, header = rows.strides[0], len(memory) - rows.nbytes
        first = header + int(self.index[start]) * row
        last = header + (int(self.index[stop - 1]) + 1) * row
        first -= first % mmap.PAGESIZE
        memory.madvise(mmap.MADV_WILLNEED, first, last - first)


class BlockOrder:
    """The order of a part's rows in an epoch, from (seed, epoch) alone, group by group.

    Lightning calls `set_epoch` on the attribute `sampler` of whatever serves the batches.

    Args:
        n_rows: of the part.
        seed: of the run.
        block_rows: neighbouring rows that stay in one group, but for those at its ends.
    """

    def __init__(self, n_rows: int, seed: int, block_rows: int) -> None:
        self.n_rows = n_rows
        self.seed = seed
        self.block_rows = block_rows
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def groups(self, bounds: Sequence[tuple[int, int]]) -> Iterator[Group]:
        """For each (start, stop), which cut the epoch: the rows that are served there."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch, Stream.SHUFFLE))
        n_blocks = -(-self.n_rows // self.block_rows)
        blocks = torch.randperm(n_blocks, generator=generator).numpy()
        starts = blocks * self.block_rows
        sizes = np.minimum(starts + self.block_rows, self.n_rows) - starts
        ends = sizes.cumsum()
        for start, stop in bounds:
            first, last = np.searchsorted(ends, [start, stop - 1], side="right")
            runs = []
            for block in range(first, last + 1):
                before = ends[block] - sizes[block]
                low, high = max(start, before), min(stop, ends[block])
                runs.append((starts[block] + low - before, starts[block] + high - before))
            order = torch.randperm(stop - start, generator=generator).numpy()
            yield Group(sorted((int(low), int(high)) for low, high in runs), order)


@dataclass(frozen=True, eq=False)
class Group:
    """Rows that are in memory together.

    Attributes:
        runs: (start, stop) of neighbouring rows, ascending.
        order: in which the rows of all runs are served.
    """

    runs: list[tuple[int, int]]
    order: NDArray[np.int64]

    def places(self) -> NDArray[np.int64]:
        """Of all rows, ascending."""
        return np.concatenate([np.arange(start, stop) for start, stop in self.runs])


class DiskBatches:
    """Serves the steps of an epoch of one run, or one process's share of them, one by one.

    Args:
        part: the rows.
        batch_size: rows in a step; None for all of them.
        device: of the training.
        sampler: gives the order of an epoch.
        share: this process's.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        part: Part,
        batch_size: int | None,
        device: torch.device,
        sampler: BlockOrder,
        share: Share | None = None,
    ) -> None:
        self.part = part
        self.bounds = batch_bounds(len(part), batch_size)
        self.device = device
        self.sampler = sampler
        self.share = share or Share()

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[Iterator[Piece]]:
        yield from (iter([piece]) for piece in self.pieces())

    def pieces(self) -> Iterator[Piece]:
        """A piece for each step, in the order that `sampler` has been set to."""
        if len(self.bounds) == 1:
            yield self._served(*self.part.take(self.share.of(*self.bounds[0])), self.bounds[0])
            return
        cuts = groups_of_batches(self.bounds, GROUP_BLOCKS * self.sampler.block_rows)
        groups = self.sampler.groups([(cut[0][0], cut[-1][1]) for cut in cuts])
        pairs = pairwise(chain(groups, [Group([], np.empty(0, np.int64))]))
        # One piece of memory for all groups: pieces that come and go leave gaps in the heap.
        largest = max(cut[-1][1] - cut[0][0] for cut in cuts)
        memory = np.empty((largest, self.part.table.rows.shape[1]), np.float32)
        for cut, (group, following) in zip(cuts, pairs, strict=True):
            yield from self._of_group(cut, group, following, memory)

    def _of_group(
        self,
        bounds: Sequence[tuple[int, int]],
        group: Group,
        following: Group,
        memory: NDArray[np.float32],
    ) -> Iterator[Piece]:
        first = bounds[0][0]
        slices = [self.share.of(start - first, stop - first) for start, stop in bounds]
        places, order = group.places(), group.order
        if self.share.n_ranks > 1:  # the group's rows of this process alone are read
            mine = np.concatenate([order[part] for part in slices])
            read = np.sort(mine)
            places, order = places[read], np.searchsorted(read, mine)
        rows, labels = self.part.take(places, memory)
        for run in following.runs:
            self.part.announce(*run)
        served = torch.from_numpy(order)
        stops = np.cumsum([part.stop - part.start for part in slices]).tolist()
        for batch, begin, end in zip(bounds, [0, *stops], stops, strict=False):
            chosen = served[begin:end]
            yield self._served(rows[chosen], labels[chosen], batch)

    def _served(self, rows: Tensor, labels: Tensor, batch: tuple[int, int]) -> Piece:
        rows, labels = rows.to(self.device), labels.to(self.device)
        return Piece(rows[None], labels[None], self.share.steps([batch]))


def block_order(table: Table, n_rows: int, seed: int) -> BlockOrder:
    """Blocks of `BLOCK_BYTES` of a part of a table."""
    return BlockOrder(n_rows, seed, max(1, BLOCK_BYTES // (4 * table.rows.shape[1])))
