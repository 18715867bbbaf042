"""metrics.csv: a row an epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from normlab.durable import append_whole


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


class MetricsFile:
    """Appends epochs to a file, below the header that it has or gets.

    The names of the first record of all are the columns; what a later one has not stays blank.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def append(self, epochs: Sequence[Epoch]) -> None:
        """All of the epochs, at least one, or none where the disk refuses them."""
        new = not self.path.exists() or self.path.stat().st_size == 0
        self._columns = self._columns or self._header() or list(epochs[0].record)
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if new:
            writer.writerow(["epoch", *self._columns])
        writer.writerows(
            [epoch.number, *map(epoch.record.get, self._columns, repeat(""))] for epoch in epochs
        )
        append_whole(self.path, text.getvalue().encode())

    def _header(self) -> list[str]:
        """Names of the metrics in a file that an earlier process began."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])[1:]
