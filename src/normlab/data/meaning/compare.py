"""How a file that a model is applied to differs from the one that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.file.faults import shown
from normlab.data.schema import Column, Schema


@dataclass
class _Seen:
    """Of one column: its values, those that training has not seen with an example, its range."""

    n: int = 0
    n_unseen: int = 0
    example: str = ""
    low: float = float("inf")
    high: float = float("-inf")


@dataclass
class Comparison:
    """Takes note of batches.

    Attributes:
        notices: of the file as a whole.
    """

    schema: Schema
    source: str
    notices: list[str] = field(default_factory=list)
    _seen: dict[int, _Seen] = field(default_factory=dict)

    def see(self, rows: NDArray[np.float32], frame: pl.DataFrame) -> None:
        """Takes note of a batch.

        Args:
            rows: (n, features), as the model takes them.
            frame: all rows that were read: `input i` encoded, and `cell i`, of categories.
        """
        for i, column in enumerate(self.schema.columns):
            seen = self._seen.setdefault(i, _Seen())
            if column.type == "categorical":
                code = frame[f"input {i}"]
                unseen = code == len(column.categories)
                seen.n += len(code) - code.null_count()
                if unseen.any():
                    seen.n_unseen += int(unseen.sum())
                    cells = frame[f"cell {i}"].filter(unseen)
                    seen.example = seen.example or _as_text(cells[0])
            elif column.type == "numeric" and column.low is not None and len(rows):
                values = rows[:, i]
                seen.low = min(seen.low, float(np.fmin.reduce(values)))
                seen.high = max(seen.high, float(np.fmax.reduce(values)))

    def messages(self) -> list[str]:
        """What a user should know of."""
        pairs = ((self.schema.columns[i], seen) for i, seen in self._seen.items())
        found = (self._unseen(c, s) or self._outside(c, s) for c, s in pairs)
        return [*self.notices, *(message for message in found if message is not None)]

    def _unseen(self, column: Column, seen: _Seen) -> str | None:
        if not seen.n_unseen:
            return None
        return (
            f"{self.source}, column {column.name!r}: {seen.n_unseen:,} of {seen.n:,} values "
            f"({seen.n_unseen / seen.n:.1%}) were not in the training file, such as "
            f"{shown(seen.example)}. All of them count as one rare category."
        )

    def _outside(self, column: Column, seen: _Seen) -> str | None:
        if column.low is None or column.high is None or seen.low > seen.high:
            return None
        low, high = np.float32(column.low), np.float32(column.high)
        if seen.high >= low and seen.low <= high:
            return None
        return (
            f"{self.source}, column {column.name!r}: all values, {seen.low:.5g} to "
            f"{seen.high:.5g}, lie outside of those of the training file, {low:.5g} to {high:.5g}. "
            f"Check its unit, and its decimal and thousands signs."
        )


def _as_text(cell: object) -> str:
    return f"{cell:g}" if isinstance(cell, float) else str(cell)
