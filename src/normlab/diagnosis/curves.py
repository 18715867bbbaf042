"""A run's losses by epoch, as its verdict needs them: kept in memory, or read from metrics.csv."""

from __future__ import annotations

import csv
import math
from array import array
from pathlib import Path
from typing import Any

from normlab.diagnosis.tags import GRADIENT_NORM, UNITS


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

    def add(self, epoch: int, record: dict[str, Any]) -> None:
        """An epoch's record, blank where a value is "" or None; `epoch` counts from 1."""
        if self.first_epoch is None:
            self.first_epoch = epoch
        for values, name in (
            (self.train, "train/loss"),
            (self.val, "val/loss"),
            (self.rates, "lr"),
        ):
            if name in record:
                values.append(math.nan if record[name] in ("", None) else float(record[name]))
        for name, value in record.items():
            if name.startswith((UNITS, GRADIENT_NORM)) and value not in ("", None):
                self.watched[name] = float(value)

    def whole(self, metrics: Path) -> Curves:
        """These, or those of the file where another process or an earlier one wrote of more.

        Args:
            metrics: the run's metrics.csv, written to its end.
        """
        if self.first_epoch == 1 or not metrics.exists():
            return self
        read = Curves()
        with metrics.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                read.add(int(row["epoch"]), row)
        return read
