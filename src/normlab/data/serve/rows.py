"""Training rows as statistics take them: whole in memory, or chunk by chunk from disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK = 2**18  # numbers of a chunk: 2 MB in float64, which the processor's cache holds
COLUMN = 2**24  # values of a column on disk that are held at once, 64 MB in float32

Function = Callable[[Tensor], Tensor]


class Rows(ABC):
    """Rows (n, columns) that can be passed over several times.

    Attributes:
        shape: (n, columns).
        device: of the chunks.
    """

    shape: tuple[int, int]
    device: torch.device

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __iter__(self) -> Iterator[Tensor]:
        """All rows in order, some (k, columns) at a time."""

    @abstractmethod
    def columns(self, positions: Sequence[int]) -> Iterator[Tensor]:
        """The columns of these positions, one by one.

        From disk at most `COLUMN` values of each: of a longer one evenly spaced ones.
        """

    @abstractmethod
    def map(self, function: Function) -> Rows:
        """What a function makes of the rows, each for itself."""


@final
class RowsInMemory(Rows):
    """One chunk of all rows."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.shape = (rows.shape[0], rows.shape[1])
        self.device = rows.device

    def __iter__(self) -> Iterator[Tensor]:
        yield self.rows

    def columns(self, positions: Sequence[int]) -> Iterator[Tensor]:
        for position in positions:
            yield self.rows[:, position]

    def map(self, function: Function) -> Rows:
        return RowsInMemory(function(self.rows))


@final
class RowsOnDisk(Rows):
    """Some rows of a memory map; of a chunk at a time are they in memory.

    Args:
        rows: float32 (all, columns), a memory map.
        index: the rows that are meant (n,), ascending, so that the disk is read in sequence.
        function: what is made of them.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        index: NDArray[np.integer],
        function: Function = lambda rows: rows,
    ) -> None:
        self._rows = rows
        self._index = index
        self._function = function
        n_columns = function(torch.zeros(1, rows.shape[1])).shape[1]
        self.shape = (len(index), n_columns)
        self.device = torch.device("cpu")

    def __iter__(self) -> Iterator[Tensor]:
        n_rows = max(1, CHUNK // self._rows.shape[1])
        for start in range(0, len(self), n_rows):
            chunk = self._rows.take(self._index[start : start + n_rows], axis=0)
            yield self._function(torch.from_numpy(np.asarray(chunk)))

    def columns(self, positions: Sequence[int]) -> Iterator[Tensor]:
        index = self._index[:: -(-len(self) // COLUMN)]
        at_once = max(1, COLUMN // len(index))
        for first in range(0, len(positions), at_once):
            chosen = list(positions[first : first + at_once])
            held = torch.empty(len(chosen), len(index))
            stop = 0
            for chunk in RowsOnDisk(self._rows, index, self._function):
                start, stop = stop, stop + len(chunk)
                held[:, start:stop] = chunk[:, chosen].T
            yield from held

    def map(self, function: Function) -> Rows:
        before = self._function
        return RowsOnDisk(self._rows, self._index, lambda rows: function(before(rows)))


def as_rows(rows: Tensor | Rows) -> Rows:
    """A tensor as rows in memory."""
    return rows if isinstance(rows, Rows) else RowsInMemory(rows)
