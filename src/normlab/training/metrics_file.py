"""metrics.csv: a row an epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from normlab.files import append_whole
from normlab.training.epochs import Epochs


class MetricsFile:
    """Appends epochs to a file, below the header that it has or gets.

    The metrics of the first epoch of all are the columns; what a later one has not stays blank,
    and what it has besides is left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def append(self, epochs: Epochs) -> None:
        """All of the epochs, or none where the disk refuses them."""
        new = not self.path.exists() or self.path.stat().st_size == 0
        self._columns = self._columns or self._header() or epochs.names_of_first()
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if new:
            writer.writerow(["epoch", *self._columns])
        rows = zip(epochs.numbers.tolist(), epochs.in_columns(self._columns), strict=True)
        writer.writerows([number, *row] for number, row in rows)
        append_whole(self.path, text.getvalue().encode())

    def _header(self) -> list[str]:
        """Names of the metrics in a file that an earlier process began."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])[1:]
