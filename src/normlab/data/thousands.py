"""2.040 may be two or two thousand: where nothing in a file tells, it is asked, not guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import polars as pl
from polars.exceptions import PanicException

from normlab.data.cells import scan
from normlab.data.columns import Columns
from normlab.data.numbers import PATTERNS, SIGNS
from normlab.data.records import WHITESPACE
from normlab.data.source import Source, holds
from normlab.errors import UserError

# A number whose sign may start a fraction or mark the thousands. A leading zero starts none of
# these: nobody writes 0,123 for 123.
GROUPED = {name: rf"^[+-]?[1-9][0-9]{{0,2}}\{sign}[0-9]{{3}}$" for name, sign in SIGNS.items()}
WHOLE = r"^[+-]?[1-9][0-9]{3,}$"  # thousands without a sign
ROWS = 2**16  # at once


def holds_thousandths(rows: Iterable[Sequence[str]], decimal: str) -> bool:
    """Whether some cell could be read either way."""
    grouped = re.compile(GROUPED[decimal])
    return any(grouped.match(cell) for row in rows for cell in row)


def refuse_doubt(source: Source, columns: Columns, sample: Sequence[Sequence[str]]) -> None:
    """Refuses numbers whose sign may mark the thousands, if nothing in the file tells.

    It tells where some number that has the sign can only be a fraction's, since it has other than
    three digits behind it or a zero or more than three digits before it; or where the thousands of
    the same column are written without a sign elsewhere.

    Args:
        columns: the outline; what is categorical in `types` is text, and shows nothing.
        sample: the cells of the first rows, which most often tell already.

    Raises:
        UserError: naming a column and such a number.
    """
    sign, seen = SIGNS[columns.dialect.decimal], _Seen(columns)
    if not holds(source, sign.encode()) or seen.proof(seen.of_rows(sample)):
        return
    try:
        frames = scan(source, columns, (), ()).collect_batches(chunk_size=ROWS, maintain_order=True)
        for frame in frames:
            if seen.proof(frame[str(position)] for position in seen.positions):
                return
    except (pl.exceptions.PolarsError, PanicException):
        return  # no table at all: that is told, with its line, by who reads it next
    for position in columns.inputs:
        if position in seen.grouped:
            cell, decimal = seen.grouped[position], columns.dialect.decimal
            raise UserError(
                f"{source.name}, column {columns.names[position]!r}: {cell!r} is "
                f"{float(cell.replace(sign, '.'))} if the {decimal} starts the fraction and "
                f"{cell.replace(sign, '')} if it marks the thousands, and no number of the file "
                f"tells which. Set data.decimal={decimal} for the former; for the latter "
                f"remove the {decimal} from the numbers."
            )


class _Seen:
    """What the numbers of a file have shown of their sign.

    Attributes:
        positions: of the columns that are looked at.
        grouped: the first number of each column that could be read either way.
    """

    def __init__(self, columns: Columns) -> None:
        self.decimal = columns.dialect.decimal
        self.positions = [
            p for p in range(len(columns.names)) if columns.types.get(p) != "categorical"
        ]
        self.grouped: dict[int, str] = {}
        self._whole: set[int] = set()

    def of_rows(self, rows: Sequence[Sequence[str]]) -> Iterable[pl.Series]:
        """The cells of the columns; those of short rows are refused elsewhere."""
        for p in self.positions:
            yield pl.Series([row[p] for row in rows if p < len(row)], dtype=pl.String)

    def proof(self, series: Iterable[pl.Series]) -> bool:
        """Takes note of further cells of each column; whether the sign is known to be decimal."""
        for position, column in zip(self.positions, series, strict=True):
            cells = column.str.strip_chars(WHITESPACE)
            signed = cells.filter(cells.str.contains(SIGNS[self.decimal], literal=True))
            numbers = signed.filter(signed.str.contains(PATTERNS[self.decimal]))
            if not numbers.str.contains(GROUPED[self.decimal]).all():
                return True
            if len(numbers):
                self.grouped.setdefault(position, numbers[0])
            if position not in self._whole and cells.str.contains(WHOLE).any():
                self._whole.add(position)
            if position in self._whole and position in self.grouped:
                return True
        return False
