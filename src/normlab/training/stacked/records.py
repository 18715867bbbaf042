"""What the epochs of a stack were logged with, kept for all runs at once until it is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from normlab.training.epochs import Epochs


class _Epoch(NamedTuple):
    number: int
    wall_time: float
    names: list[str]
    values: NDArray[np.float64]  # (runs, names)


class RecordsOfRuns:
    """Epochs of all runs of a stack that are yet to be written."""

    def __init__(self) -> None:
        self._epochs: list[_Epoch] = []

    def add(self, number: int, names: list[str], values: Tensor) -> None:
        """An epoch's metrics, float64 (runs, names) on the CPU; `number` counts from 1."""
        self._epochs.append(_Epoch(number, time.time(), names, values.numpy()))

    def of(self, runs: Sequence[int]) -> list[Epochs | None]:
        """The epochs of some runs; None where there are none."""
        if not self._epochs:
            return [None] * len(runs)
        names = list(dict.fromkeys(name for epoch in self._epochs for name in epoch.names))
        values = np.full((len(runs), len(self._epochs), len(names)), np.nan)
        present = np.zeros((len(self._epochs), len(names)), bool)
        for i, epoch in enumerate(self._epochs):
            columns = [names.index(name) for name in epoch.names]
            values[:, i, columns] = epoch.values[runs]
            present[i, columns] = True
        numbers = np.array([epoch.number for epoch in self._epochs])
        wall_times = np.array([epoch.wall_time for epoch in self._epochs])
        return [Epochs(numbers, wall_times, names, own, present) for own in values]

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these, int64 indices on the CPU."""
        rows = runs.numpy()
        self._epochs = [epoch._replace(values=epoch.values[rows]) for epoch in self._epochs]

    def clear(self) -> None:
        """Forgets all epochs."""
        self._epochs.clear()
