"""Parquet files: typed columns as the same float64 or text that cells of a text file become."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl
from polars.exceptions import PanicException

from normlab.config.typed import setting
from normlab.data.cells import as_text, cleaned
from normlab.data.columns import Columns
from normlab.data.faults import (
    FLOAT32_OVERFLOW,
    INFINITE,
    MISSING_FEATURE,
    MISSING_LABEL,
    TEXT,
    TOO_LARGE,
    UNKNOWN,
    Expectation,
    Role,
    bad_cell,
)
from normlab.data.numbers import PATTERNS, values_of
from normlab.data.source import Source
from normlab.errors import UserError

FAULT_CELLS = 2**21  # at once, in which a fault is looked for
READ_CELLS = 2**23  # decoded at once: 64 MB of float64
# In the order in which they are told of a column.
FAULTS = (MISSING_LABEL, MISSING_FEATURE, UNKNOWN, TEXT, INFINITE, TOO_LARGE)


def parquet_names(source: Source) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return tuple(pl.scan_parquet(source.path, glob=False).collect_schema().names())
    except (pl.exceptions.PolarsError, PanicException) as error:
        raise _damaged(source, error) from error


def parquet_cells(source: Source, columns: Columns, spellings: Collection[str]) -> pl.DataFrame:
    """All rows at once, by position; the target as text.

    Raises:
        UserError: the file is damaged, has no rows, or a column of it is no number and no text.
    """
    frames = list(parquet_batches(source, columns, spellings, n_rows=None))
    if not frames or not frames[0][1].height:
        raise UserError(f"{source.name} has no rows. It needs one for each example.")
    return frames[0][1]


def parquet_batches(
    source: Source,
    columns: Columns,
    spellings: Collection[str],
    n_rows: int | None,
    carried: Collection[int] = (),
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Batches of columns as they stand and, beside them, the cells as of `parquet_cells`.

    Columns that are neither inputs nor the target have no cells. In batches, memory holds
    `READ_CELLS` cells, and of a file that is not in the system's cache a row group as it is stored.

    Args:
        n_rows: about how many rows a batch has; None for one batch of all rows.
        carried: positions of further columns that are read as they stand.
    """
    targets = () if columns.target is None else (columns.target,)
    needed: list[int] = sorted({*columns.inputs, *targets})
    texts = {i for i in needed if columns.types.get(i) == "categorical"}.union(targets)
    try:
        lazy = pl.scan_parquet(source.path, glob=False)
        read = sorted({*needed, *carried})
        lazy = lazy.select(pl.nth(i).alias(str(i)) for i in read)
        frames = [lazy.collect()] if n_rows is None else _slices(lazy, n_rows, len(read))
        for frame in frames:
            plain = [_plain(frame[str(i)], columns.names[i], i in texts, source) for i in needed]
            yield frame, cleaned(pl.DataFrame(plain), spellings, blank_rows=True)
    except (pl.exceptions.PolarsError, PanicException) as error:
        raise _damaged(source, error) from error


def _slices(lazy: pl.LazyFrame, n_rows: int, n_columns: int) -> Iterator[pl.DataFrame]:
    """All rows in order, so many at a time.

    Not by `collect_batches`: it decodes whole row groups, the next ones in advance, and a row
    group of a million rows is common.
    """
    n_total = lazy.select(pl.len()).collect().item()
    at_once = n_rows * max(1, READ_CELLS // (n_rows * n_columns))
    for start in range(0, n_total, at_once):
        yield from lazy.slice(start, at_once).collect().iter_slices(n_rows)


def _plain(series: pl.Series, name: str, is_text: bool, source: Source) -> pl.Series:
    kind = series.dtype
    if kind.is_numeric() or kind == pl.Null:
        return as_text(series) if is_text else series.cast(pl.Float64)
    if kind in (pl.Boolean, pl.String, pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    raise UserError(
        f"{source.name}, column {name!r}: values of the type {kind} are neither numbers nor text. "
        f"Convert the column, or leave it out: {setting('data.drop', [name])}."
    )


def find_parquet_fault(
    source: Source, columns: Columns, expectation: Expectation
) -> UserError | None:
    """The first column with a fault, with the row of its first such cell, counted from 1."""
    found: dict[tuple[int, str], tuple[int, object, int]] = {}  # row, value, number of such cells
    start = 0
    n_rows = max(1, FAULT_CELLS // len(columns.names))
    for _, frame in parquet_batches(source, columns, expectation.missing_values, n_rows):
        for position, role in expectation.roles.items():
            series = frame[str(position)]
            for fault, cells in _faults(series, position, role, expectation):
                if cells.any():
                    place = cells.fill_null(False).arg_max() or 0
                    row, value, count = found.get(
                        (position, fault), (start + place + 1, series[place], 0)
                    )
                    found[position, fault] = row, value, count + int(cells.sum())
        start += frame.height
    if not found:
        return None
    order = list(expectation.roles)
    first = min(found, key=lambda key: (order.index(key[0]), FAULTS.index(key[1])))
    position, fault = first
    row, value, count = found[first]
    place, name = f"{source.name}, row {row}", columns.names[position]
    cell = "" if value is None else str(value)
    return bad_cell(place, name, position, cell, fault, count, expectation)


def _faults(
    series: pl.Series, position: int, role: Role, expectation: Expectation
) -> Iterator[tuple[str, pl.Series]]:
    """What may be wrong with a column, and which cells have it."""
    allowed = expectation.missing_label if role == "label" else expectation.missing
    if not allowed:
        yield (MISSING_LABEL if role == "label" else MISSING_FEATURE), series.is_null()
    if position in expectation.values:
        known = {str(value) for value in expectation.values[position]}
        values = set(values_of(list(known)))
        spellings = series.cast(pl.String).unique().drop_nulls()
        strange = [
            text
            for text in spellings
            if not {text, text.lower()} & known and not set(values_of([text])) & values
        ]
        yield UNKNOWN, series.cast(pl.String).is_in(strange)
    elif series.dtype == pl.String and role == "number":
        yield TEXT, ~series.str.contains(PATTERNS["point"]).fill_null(True)
    elif series.dtype != pl.String:
        yield INFINITE, ~series.is_finite()
        yield TOO_LARGE, series.abs() >= FLOAT32_OVERFLOW


def _damaged(source: Source, error: BaseException) -> UserError:
    reason = str(error).partition("\n")[0]
    return UserError(f"{source.name} is a damaged Parquet file ({reason}). Write it again.")
