"""2.040 may be two or two thousand: where nothing in a file tells, it is asked, not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from normlab.data.file.cells import RAW, Unreadable, text_cells
from normlab.data.file.columns import Columns
from normlab.data.file.numbers import WHITESPACE, Signs, grouped, plain
from normlab.data.file.signs import MARKS, OPEN, OTHER, SIGN
from normlab.data.file.source import Source, holds
from normlab.errors import UserError

_WHOLE = r"^[+-]?[1-9][0-9]{3,}$"  # thousands without a sign
_AT_ONCE = 200  # columns


def has_thousandths(rows: Iterable[Sequence[str]], decimal: str) -> bool:
    """Whether some cell could be read either way."""
    return any(OPEN[decimal].fullmatch(MARKS.sub("", cell).strip()) for row in rows for cell in row)


def refuse_doubt(source: Source, columns: Columns, sample: Sequence[Sequence[str]]) -> None:
    """Refuses numbers whose sign may mark the thousands, if nothing in the file tells.

    It tells where some number can only have a fraction behind the sign, since it has other than
    three digits there, or a zero or more than three digits before it, or the other sign between its
    thousands; or where the thousands of the same column are written without a sign elsewhere.

    Args:
        columns: the outline; what is categorical in `types` is text, and shows nothing.
        sample: the cells of the first rows, which most often tell already.

    Raises:
        UserError: naming a column and such a number.
    """
    decimal = columns.dialect.decimal
    sign = SIGN[decimal]
    positions = [p for p in range(len(columns.names)) if columns.types.get(p) != "categorical"]
    if not holds(source.path, sign.encode())[0]:
        return
    first = pl.DataFrame(
        {f"{RAW}{p}": [row[p] if p < len(row) else None for row in sample] for p in positions},
        schema={f"{RAW}{p}": pl.String for p in positions},
    )
    example: dict[int, str] = {}
    for lazy in (first.lazy(), text_cells(source, columns, (), (), positions)):
        try:
            seen = _seen(lazy, columns, positions)
        except Unreadable:
            return  # no table at all: that is told, with its line, by who reads it next
        if seen is None:
            return
        example = seen
    for position in columns.inputs:
        if position in example:
            cell = example[position]
            raise UserError(
                f"{source.name}, column {columns.names[position]!r}: {cell!r} is "
                f"{cell.replace(sign, '')} if the {decimal} marks the thousands and "
                f"{float(cell.replace(sign, '.'))} if it starts the fraction, and no number of the "
                f"file tells which. Set data.thousands={decimal} for the former, or "
                f"data.decimal={decimal} for the latter."
            )


def _seen(lazy: pl.LazyFrame, columns: Columns, positions: Sequence[int]) -> dict[int, str] | None:
    """The first number of each column that could be read either way; None where one tells."""
    decimal = columns.dialect.decimal
    other = OTHER[decimal]
    both = f"^(?:{plain(decimal).pattern}|{grouped(Signs(decimal, other)).pattern})$"
    is_open = f"^(?:{OPEN[decimal].pattern})$"
    found: dict[int, str] = {}
    for start in range(0, len(positions), _AT_ONCE):
        part = positions[start : start + _AT_ONCE]
        asked = []
        for p in part:
            cell = pl.col(f"{RAW}{p}").str.replace_all(MARKS.pattern, "")
            cell = cell.str.strip_chars(WHITESPACE)
            has_sign = cell.str.contains(SIGN[decimal], literal=True)
            twice = cell.str.count_matches(SIGN[other], literal=True) > 1
            tells = (has_sign | twice) & cell.str.contains(both) & ~cell.str.contains(is_open)
            asked += [
                tells.any().alias(f"tells {p}"),
                cell.str.contains(_WHOLE).any().alias(f"whole {p}"),
                cell.filter(cell.str.contains(is_open)).first().alias(f"open {p}"),
            ]
        row = lazy.select(asked).collect(engine="streaming").row(0, named=True)
        for p in part:
            if row[f"tells {p}"] or (row[f"whole {p}"] and row[f"open {p}"] is not None):
                return None
            if row[f"open {p}"] is not None:
                found[p] = row[f"open {p}"]
    return found
