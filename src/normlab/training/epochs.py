"""What epochs were recorded with, as columns: a sweep records tens of thousands of epochs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


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


class _EpochOfRuns(NamedTuple):
    number: int
    wall_time: float
    names: list[str]
    values: NDArray[np.float64]  # (k, names)
    runs: NDArray[np.int64]  # (k,), their positions


class Records:
    """The epochs of all runs that train together, until they are written."""

    def __init__(self) -> None:
        self._epochs: list[_EpochOfRuns] = []

    def __len__(self) -> int:
        """Number of epochs."""
        return len(self._epochs)

    def add(self, number: int, names: list[str], values: Tensor, runs: Tensor) -> None:
        """An epoch's metrics.

        Args:
            number: counts from 1.
            values: float64 (k, names) on the CPU.
            runs: positions of the runs that still train (k,).
        """
        now = time.time()
        self._epochs.append(_EpochOfRuns(number, now, names, values.numpy(), runs.numpy()))

    def last(self) -> dict[str, float]:
        """The last epoch's metrics of the first run that trained in it, by name."""
        if not self._epochs:
            return {}
        epoch = self._epochs[-1]
        return dict(zip(epoch.names, epoch.values[0].tolist(), strict=True))

    def take(self, n_runs: int) -> list[Epochs | None]:
        """The epochs of each run, which are forgotten here; None where it trained in none."""
        taken, self._epochs = self._epochs, []
        if not taken:
            return [None] * n_runs
        names = list(dict.fromkeys(name for epoch in taken for name in epoch.names))
        values = np.full((n_runs, len(taken), len(names)), np.nan)
        present = np.zeros((len(taken), len(names)), bool)
        counts = np.zeros(n_runs, int)  # who has left does not come back: the first ones
        for i, epoch in enumerate(taken):
            columns = [names.index(name) for name in epoch.names]
            values[epoch.runs[:, None], i, columns] = epoch.values
            present[i, columns] = True
            counts[epoch.runs] += 1
        numbers = np.array([epoch.number for epoch in taken])
        wall_times = np.array([epoch.wall_time for epoch in taken])
        return [
            Epochs(numbers[:n], wall_times[:n], names, own[:n], present[:n]) if n else None
            for n, own in zip(counts.tolist(), values, strict=True)
        ]
