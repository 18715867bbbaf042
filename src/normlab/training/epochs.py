"""Epochs of a run with what they were logged with, as columns: a sweep logs tens of thousands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Epoch(NamedTuple):
    """What an epoch is logged with.

    Attributes:
        number: counted from 1.
        wall_time: seconds since 1970.
        record: metrics by their names.
    """

    number: int
    wall_time: float
    record: dict[str, float]


@dataclass(frozen=True, eq=False)
class Epochs:
    """Epochs in their order, at least one.

    Attributes:
        numbers, wall_times: as of `Epoch`, (n,) each.
        names: of all metrics, in the order in which they appear.
        values: float64 (n, metrics); nan where an epoch was not logged with a metric.
        present: bool (n, metrics), whether it was.
    """

    numbers: NDArray[np.int64]
    wall_times: NDArray[np.float64]
    names: list[str]
    values: NDArray[np.float64]
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, epochs: Sequence[Epoch]) -> Epochs:
        """The same epochs, as columns."""
        names = list(dict.fromkeys(name for epoch in epochs for name in epoch.record))
        present = np.array([[name in epoch.record for name in names] for epoch in epochs], bool)
        values = [list(map(epoch.record.get, names, repeat(np.nan))) for epoch in epochs]
        return cls(
            np.array([epoch.number for epoch in epochs]),
            np.array([epoch.wall_time for epoch in epochs]),
            names,
            np.array(values, np.float64).reshape(present.shape),
            present,
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def names_of_first(self) -> list[str]:
        """The metrics that the first epoch has."""
        return [name for name, there in zip(self.names, self.present[0], strict=True) if there]

    def column(self, name: str) -> NDArray[np.float64]:
        """(n,), nan where it is absent."""
        if name not in self.names:
            return np.full(len(self), np.nan)
        return self.values[:, self.names.index(name)]

    def in_columns(self, names: Sequence[str]) -> list[list[float | str]]:
        """A list for each epoch, with a blank where a metric is absent."""
        cells = np.full((len(self), len(names)), "", object)
        for place, name in enumerate(names):
            if name in self.names:
                i = self.names.index(name)
                present = self.present[:, i]
                cells[present, place] = self.values[present, i]
        return cells.tolist()

    def complete(self) -> Iterator[Epochs]:
        """In parts without gaps: the metrics that all epochs have, then such as only some have.

        The epochs of each stay in their order.
        """
        in_all = np.asarray(self.present.all(0))
        if in_all.any():
            yield self._part(slice(None), in_all)
        rest = self.present & ~in_all
        rows = np.flatnonzero(rest.any(1))
        new = np.any(rest[rows[1:]] != rest[rows[:-1]], axis=1)
        for group in np.split(rows, np.flatnonzero(new) + 1):
            if len(group):
                yield self._part(group, rest[group[0]])

    def _part(self, rows: slice | NDArray[np.int64], columns: NDArray[np.bool_]) -> Epochs:
        return Epochs(
            self.numbers[rows],
            self.wall_times[rows],
            [name for name, kept in zip(self.names, columns, strict=True) if kept],
            self.values[rows][:, columns],
            self.present[rows][:, columns],
        )
