"""A text file batch by batch: its cells as they stand beside the values that they mean.

Cells that are numbers all the way down a batch are cast at once; what else stands among them takes
the slow way of a training table (cells.py), to the same values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl
from polars.exceptions import PanicException

from normlab.data.cells import cleaned, holds_nul, scan
from normlab.data.columns import Columns
from normlab.data.faults import Expectation, find_fault, malformed
from normlab.data.numbers import is_missing, missing_numbers
from normlab.data.records import WHITESPACE, ragged
from normlab.data.source import Source
from normlab.errors import UserError


def text_batches(
    source: Source,
    columns: Columns,
    numeric: Collection[int],
    spellings: Collection[str],
    n_rows: int,
    as_text: Collection[int] = (),
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Batches of all columns as they stand and, beside them, the inputs and the target.

    Memory does not grow with the file. Rows of blank cells alone are left out of both.

    Args:
        numeric: positions of the inputs that are to hold numbers: float64 where all cells of the
            batch are, else text. The others are text. Both are null where a value is missing.
        spellings: of a missing value.
        n_rows: about how many rows a batch has.
        as_text: positions of the columns whose text is needed: other numbers are parsed while
            the file is read, which costs less.

    Raises:
        UserError: the file is not well formed; perhaps after some batches.
    """
    targets = () if columns.target is None else (columns.target,)
    needed: list[int] = sorted({*columns.inputs, *targets})
    numeric = set(numeric) if columns.dialect.decimal == "point" else set()
    checked = False
    for raw in _raw_batches(source, columns, numeric.difference(as_text), n_rows):
        if raw.to_series(raw.width - 1).null_count() and not checked:
            checked = True  # a row of too few cells ends in nulls
            if ragged(source, columns.dialect, len(columns.names)):
                raise _fault(source, columns)
        text = {p for p in numeric if raw[str(p)].dtype == pl.String}
        plain = _plain_numbers(raw, text, spellings)
        if holds_nul(raw[[c for c in raw.columns if not c.isdigit() or int(c) not in plain]]):
            raise _fault(source, columns)
        known = {p: raw[str(p)] for p in numeric - text} | plain
        if all(series.null_count() for series in known.values()):  # else no row is blank
            filled = ~raw.select(pl.all_horizontal(_is_blank(series) for series in raw)).to_series()
            if not filled.all():
                raw = raw.filter(filled)
                plain = {p: series.filter(filled) for p, series in plain.items()}
        rest = raw[[str(p) for p in needed if p not in plain]]
        values = cleaned(rest, spellings, columns.dialect.decimal, blank_rows=True)
        yield raw, pl.DataFrame([plain[p] if p in plain else values[str(p)] for p in needed])


def _raw_batches(
    source: Source, columns: Columns, numeric: Collection[int], n_rows: int
) -> Iterator[pl.DataFrame]:
    """With float64 in the numeric columns up to a batch with a cell that is none, then text."""
    done = 0
    for types in (numeric, ()):
        lazy = scan(source, columns, types, ()).slice(done)
        try:
            for frame in lazy.collect_batches(chunk_size=n_rows, maintain_order=True):
                yield frame
                done += frame.height
            return
        except (pl.exceptions.PolarsError, PanicException) as error:
            if not types:
                raise malformed(source, columns, str(error).partition("\n")[0]) from error


def _plain_numbers(
    raw: pl.DataFrame, positions: Collection[int], spellings: Collection[str]
) -> dict[int, pl.Series]:
    """float64, null where missing, of the columns that hold numbers and missing values alone.

    Of what polars casts to a finite number, all is one by the rule of numbers.py.
    """
    if not positions:
        return {}
    columns = [pl.col(str(position)).cast(pl.Float64, strict=False) for position in positions]
    spelled = missing_numbers(spellings)
    known = {}
    for position, numbers in zip(positions, raw.select(columns), strict=True):
        texts = raw[str(position)]
        finite = numbers.is_finite()
        if numbers.null_count() > texts.null_count() or not finite.all():
            finite = finite.fill_null(False)
            odd = texts.filter(~finite & texts.is_not_null()).unique()
            if not all(is_missing(text.strip(WHITESPACE), spellings) for text in odd):
                continue
            numbers = numbers.set(~finite, None)
        for value in spelled:
            numbers = numbers.set(numbers == value, None)
        known[position] = numbers
    return known


def _is_blank(series: pl.Series) -> pl.Expr:
    cells = pl.col(series.name)
    if series.dtype != pl.String:
        return cells.is_null()
    return cells.str.strip_chars(WHITESPACE).fill_null("") == ""


def _fault(source: Source, columns: Columns) -> UserError:
    return find_fault(source, columns, Expectation({})) or UserError(
        f"{source.name} holds a row that cannot be read. Mend or remove it."
    )
