"""Says what is wrong with a CSV file, and on which line: the slow second look at a refused file."""

from __future__ import annotations

from pathlib import Path

from normlab.data.columns import Columns
from normlab.data.label import MISSING, number
from normlab.data.records import Record, records
from normlab.errors import UserError

# From here on a number rounds to infinity in float32: its largest value and half a step.
FLOAT32_OVERFLOW = 2.0**128 - 2.0**103
SHOWN_CHARACTERS = 40

# What is wrong with a cell, as a sentence's end, and what to do about it.
MISSING_FEATURE = (
    "is a missing value",
    "Fill such cells, or remove their rows or the column.",
)
MISSING_LABEL = (
    "is a missing label",
    "Fill such cells or remove their rows.",
)
TEXT = (
    "is text, where every feature must be a number",
    "Encode the column as numbers or remove it.",
)
INFINITE = (
    "is infinite",
    "Replace such cells by finite numbers or remove their rows.",
)
TOO_LARGE = (
    "is too large for float32, which ends at 3.4e38",
    "Rescale the column, for example by its logarithm.",
)


def find_fault(path: Path, columns: Columns) -> UserError | None:
    """The first fault of the file, or None where this reading finds none.

    A fault of form (encoding, quotes, number of cells) goes before a fault within a cell, for it
    may be the cause. Cells with the first one's fault are counted down its column.

    Raises:
        UserError: a fault of encoding or of quotes.
        OSError: the file cannot be read.
    """
    rows = records(path)
    if columns.header:
        next(rows)
    found: tuple[Record, int, tuple[str, str]] | None = None
    count = 0
    for row in rows:
        if len(row.cells) != len(columns.names):
            return _ragged(path.name, row, columns)
        if found is None:
            for position, cell in enumerate(row.cells):
                fault = _fault(cell, position == columns.target)
                if fault is not None:
                    found, count = (row, position, fault), 1
                    break
        else:
            _, position, fault = found
            count += _fault(row.cells[position], position == columns.target) == fault
    return _bad_cell(path.name, columns, *found, count) if found else None


def _fault(cell: str, is_label: bool) -> tuple[str, str] | None:
    value = None if is_label else number(cell)
    if value is not None:
        return TOO_LARGE if abs(value) >= FLOAT32_OVERFLOW else None
    if cell.lower() in MISSING:
        return MISSING_LABEL if is_label else MISSING_FEATURE
    if is_label:
        return None
    return INFINITE if cell.lower().lstrip("+-") in {"inf", "infinity"} else TEXT


def _ragged(source: str, row: Record, columns: Columns) -> UserError:
    expected = len(columns.names)
    than = "the header" if columns.header else "the first row"
    degree = "few" if len(row.cells) < expected else "many"
    return UserError(
        f"{source}, line {row.line}: too {degree} cells, {len(row.cells)} where {than} has "
        f"{expected}. Mend the line; a comma within a cell needs quotation marks around the cell."
    )


def _bad_cell(
    source: str, columns: Columns, row: Record, position: int, fault: tuple[str, str], count: int
) -> UserError:
    cell = row.cells[position]
    shown = cell if len(cell) <= SHOWN_CHARACTERS else cell[:SHOWN_CHARACTERS] + "..."
    wrong, remedy = fault
    if fault == TEXT and not columns.header and row.line == columns.lines_before_rows + 1:
        remedy += " If this line is a header, set data.header=true."
    return UserError(
        f"{source}, line {row.line}, column {columns.names[position]!r}: "
        f"{repr(shown) if shown else 'an empty cell'} {wrong} "
        f"({count} such {'cell' if count == 1 else 'cells'} in this column). {remedy}"
    )
