"""A run's losses by epoch, as its verdict needs them: kept in memory, or read from metrics.csv."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Sequence
from pathlib import Path

from normlab.diagnosis.tags import GRADIENT_NORM, SKILL, UNITS


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

    def extend(self, first_epoch: int, records: Sequence[dict[str, float]]) -> None:
        """Appends the records of epochs in a row, the first of which counts from 1.

        Of many epochs at once, since a stack has hundreds of runs.
        """
        if self.first_epoch is None:
            self.first_epoch = first_epoch
        for values, name in (
            (self.train, "train/loss"),
            (self.val, "val/loss"),
            (self.rates, "lr"),
        ):
            if name in records[0]:
                values.extend(record.get(name, math.nan) for record in records)
        for record in records:
            if SKILL in record:
                self.watched = {
                    name: value
                    for name, value in record.items()
                    if name.startswith((UNITS, GRADIENT_NORM))
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
            read.extend(1, rows)
        return read
