"""2.040 may be two or two thousand: where nothing in a file tells, it is asked, not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from normlab.data.file.cells import Unreadable, as_they_stand
from normlab.data.file.columns import Columns
from normlab.data.file.numbers import CURRENCIES, WHITESPACE, Decimal, Signs, grouped, plain
from normlab.data.file.signs import MARKS, OPEN, OTHER, SIGN
from normlab.data.file.source import Source, holds
from normlab.errors import UserError

_WHOLE = r"[+-]?[1-9][0-9]{3,}"  # thousands without a sign
_AROUND = f"[{WHITESPACE}{CURRENCIES}%]*"
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
        {str(p): [row[p] if p < len(row) else None for row in sample] for p in positions},
        schema={str(p): pl.String for p in positions},
    )
    inputs = [p for p in columns.inputs if p in positions]
    cells = as_they_stand(source, columns)
    try:
        if _tell(first.lazy(), positions, decimal):
            return
        example = _example(cells, inputs, decimal)
        if not example or _tell(cells, positions, decimal):
            return
    except Unreadable:
        return  # no table at all: that is told, with its line, by who reads it next
    position, cell = example
    plainly = MARKS.sub("", cell).strip(WHITESPACE)
    raise UserError(
        f"{source.name}, column {columns.names[position]!r}: {cell.strip(WHITESPACE)!r} is "
        f"{plainly.replace(sign, '')} if the {decimal} marks the thousands and "
        f"{float(plainly.replace(sign, '.'))} if it starts the fraction, and no number of the "
        f"file tells which. Set data.thousands={decimal} for the former, or data.decimal={decimal} "
        f"for the latter."
    )


def _example(
    cells: pl.LazyFrame, inputs: Sequence[int], decimal: Decimal
) -> tuple[int, str] | None:
    """The first column, with its first number, that could be read either way."""
    for part in _parts(inputs):
        asked = []
        for p in part:
            signed = pl.col(str(p)).filter(pl.col(str(p)).str.contains(SIGN[decimal], literal=True))
            asked.append(signed.filter(_spells(signed, OPEN[decimal].pattern)).first())
        row = cells.select(asked).collect(engine="streaming").row(0)
        for p, cell in zip(part, row, strict=True):
            if cell is not None:
                return p, cell
    return None


def _tell(cells: pl.LazyFrame, positions: Sequence[int], decimal: Decimal) -> bool:
    """Whether some number shows that the sign is no thousands sign."""
    other = OTHER[decimal]
    both = f"{plain(decimal).pattern}|{grouped(Signs(decimal, other)).pattern}"
    for part in _parts(positions):
        asked = []
        for p in part:
            cell = pl.col(str(p))
            signed = cell.str.contains(SIGN[decimal], literal=True)
            twice = cell.str.count_matches(SIGN[other], literal=True) > 1
            is_open = _spells(cell, OPEN[decimal].pattern)
            proves = ((signed | twice) & _spells(cell, both) & ~is_open).any()
            asked.append((proves | (is_open.any() & _spells(cell, _WHOLE).any())).alias(str(p)))
        if any(cells.select(asked).collect(engine="streaming").row(0)):
            return True
    return False


def _spells(cell: pl.Expr, pattern: str) -> pl.Expr:
    """Whether the cell is such a number, perhaps with the marks of money or percent."""
    return cell.str.contains(f"^{_AROUND}[+-]?{_AROUND}(?:{pattern}){_AROUND}$")


def _parts(positions: Sequence[int]) -> Iterable[Sequence[int]]:
    return (positions[i : i + _AT_ONCE] for i in range(0, len(positions), _AT_ONCE))
