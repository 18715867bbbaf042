"""A text file batch by batch: its cells as they stand beside the values that they mean.

Cells that are numbers all the way down a batch are cast at once; only what else stands among them
takes the slow way of a training table (cells.py), to the same values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl
from polars.exceptions import PanicException

from normlab.data.cells import Unreadable, cleaned, holds_nul, scan
from normlab.data.columns import Columns
from normlab.data.faults import Expectation, find_fault, malformed
from normlab.data.numbers import is_missing, number
from normlab.data.records import WHITESPACE, ragged
from normlab.data.source import Source
from normlab.errors import UserError


def text_batches(
    source: Source,
    columns: Columns,
    numeric: Collection[int],
    spellings: Collection[str],
    n_rows: int,
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Batches of all columns as text and, row by row beside them, the inputs and the target.

    Memory does not grow with the file. Rows of blank cells alone are left out of both.

    Args:
        numeric: positions of the columns that are to hold numbers: float64 where all cells of the
            batch are, else text. The others are text. Both are null where a value is missing.
        spellings: of a missing value.
        n_rows: about how many rows a batch has.

    Raises:
        UserError: the file is not well formed; perhaps after some batches.
    """
    needed = sorted({*columns.inputs, *([] if columns.target is None else [columns.target])})
    fast = set(numeric) if columns.dialect.decimal == "point" else set()
    checked = False
    try:
        lazy = scan(source, columns, (), ())
        for raw in lazy.collect_batches(chunk_size=n_rows, maintain_order=True):
            if raw.to_series(raw.width - 1).null_count() and not checked:
                checked = True  # a row of too few cells ends in nulls
                if ragged(source, columns.dialect, len(columns.names)):
                    raise _fault(source, columns)
            numbers = {p: _plain_numbers(raw[str(p)], spellings) for p in fast.intersection(needed)}
            known = {p: series for p, series in numbers.items() if series is not None}
            if holds_nul(raw.drop(map(str, known))):
                raise _fault(source, columns)
            if all(series.null_count() for series in known.values()):
                filled = ~raw.select(pl.all_horizontal(_is_blank())).to_series()
                if not filled.all():
                    raw = raw.filter(filled)
                    known = {p: series.filter(filled) for p, series in known.items()}
            texts = raw.select([str(p) for p in needed if p not in known])
            values = cleaned(texts, spellings, blank_rows=True)
            values = values.with_columns([s.alias(str(p)) for p, s in known.items()])
            yield raw, values.select(map(str, needed))
    except (pl.exceptions.PolarsError, PanicException) as error:
        reason = str(Unreadable(str(error).partition("\n")[0]))
        raise malformed(source, columns, reason) from error


def _plain_numbers(column: pl.Series, spellings: Collection[str]) -> pl.Series | None:
    """float64, null where missing; None where a cell is neither a number nor a missing value.

    Of what polars casts to a finite number, all is one by the rule of numbers.py.
    """
    numbers = column.cast(pl.Float64, strict=False)
    finite = numbers.is_finite().fill_null(False)
    odd = column.filter(~finite & column.is_not_null()).unique()
    if not all(is_missing(text.strip(WHITESPACE), spellings) for text in odd):
        return None
    if len(odd):
        numbers = numbers.set(~finite, None)
    for spelling in spellings:
        value = number(spelling)
        if value is not None:
            numbers = numbers.set(numbers == value, None)
    return numbers


def _is_blank() -> pl.Expr:
    return pl.all().str.strip_chars(WHITESPACE).fill_null("") == ""


def _fault(source: Source, columns: Columns) -> UserError:
    return find_fault(source, columns, Expectation({})) or UserError(
        f"{source.name} holds a row that cannot be read. Mend or remove it."
    )
