"""A run's losses by epoch, as its verdict needs them: kept in memory, or read from metrics.csv."""

from __future__ import annotations

import csv
from array import array
from pathlib import Path

from normlab.diagnosis.tags import GRADIENT_NORM, SKILL, UNITS
from normlab.training.epochs import Epoch, Epochs


class Curves:
    """Losses of the epochs, and the last value of what is watched now and then.

    Attributes:
        train, val: losses of each epoch; `val` is empty where nothing is held out.
        rates: learning rates.
        watched: by its tag, the last value.
    """

    def __init__(self) -> None:
        self.train, self.val, self.rates = array("d"), array("d"), array("d")
        self.watched: dict[str, float] = {}
        self.first_epoch: int | None = None

    def extend(self, epochs: Epochs) -> None:
        """Appends epochs that follow those that are here."""
        if self.first_epoch is None:
            self.first_epoch = int(epochs.numbers[0])
        for values, name in (
            (self.train, "train/loss"),
            (self.val, "val/loss"),
            (self.rates, "lr"),
        ):
            if name in epochs.names:
                values.extend(epochs.column(name).tolist())
        if SKILL in epochs.names:
            looks = epochs.present[:, epochs.names.index(SKILL)].nonzero()[0]
            last = zip(epochs.names, epochs.values[looks[-1]].tolist(), strict=True)
            self.watched = {
                name: value for name, value in last if name.startswith((UNITS, GRADIENT_NORM))
            }

    def whole(self, metrics: Path) -> Curves:
        """These, or those of the file where another process or an earlier one wrote of more.

        Args:
            metrics: the run's metrics.csv, written to its end.
        """
        if self.first_epoch == 1 or not metrics.exists():
            return self
        read = Curves()
        with metrics.open(newline="", encoding="utf-8") as file:
            rows = [
                {name: float(cell) for name, cell in row.items() if cell}
                for row in csv.DictReader(file)
            ]
        if rows:
            read.extend(Epochs.of([Epoch(i, 0.0, row) for i, row in enumerate(rows, start=1)]))
        return read
