"""The cells of a file as one polars query: float64 or text, null where a value is missing.

Columns go by their position ("0", "1", ...), since polars reads some names as patterns. In memory
the query is collected once; else every step runs it over the file, and memory stays bounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import product

import polars as pl
from polars.exceptions import PanicException  # seen for a file that ends in a single quote

from normlab.config.typed import setting
from normlab.data.file.columns import Columns
from normlab.data.file.numbers import (
    PLAIN_SIGNS,
    WHITESPACE,
    Signs,
    as_number,
    days,
    missing_numbers,
    number,
)
from normlab.data.file.source import Source
from normlab.errors import UserError

MOST_CASES = 256
READ_CELLS = 2**23  # of a Parquet file decoded at once: 64 MB of float64
ROW = "row"  # name of the column with a text row's place in the file, blank rows counted
LAST = "last"  # name of the column that says whether the row's last cell is absent or blank
RAW = "raw "  # what stands before the name of a column that is carried along as it stands

# What polars reads of a text file at once, in bytes: 16 MB by default, times some for each core,
# and as much again for what becomes of them. Smaller pieces are as fast.
os.environ.setdefault("POLARS_CSV_CHUNK_SIZE", str(2**20))

# What polars raises for a file that it cannot read; SchemaError where the first row is too short
# or too long.
Unreadable = (
    pl.exceptions.ComputeError,
    pl.exceptions.NoDataError,
    pl.exceptions.SchemaError,
    PanicException,
    OSError,
)

Then = Callable[[pl.LazyFrame], pl.LazyFrame]


def guess_typed(sample: Iterable[Sequence[str]], columns: Columns) -> frozenset[int]:
    """Positions of the inputs that the sample shows as plain numbers, in every cell that is filled.

    These are parsed while the file is read, which costs less than by way of text. With a decimal
    comma there are none: polars would take the thousands of 1.500 for a fraction.
    """
    if columns.dialect.decimal == "comma":
        return frozenset()
    given = {p for p, kind in columns.types.items() if kind == "categorical"}
    typed, seen = set(columns.inputs) - given, set[int]()
    for row in sample:
        for position, cell in enumerate(row[: len(columns.names)]):
            if cell:
                (seen.add if number(cell) is not None else typed.discard)(position)
    return frozenset(typed & seen)


def as_they_stand(source: Source, columns: Columns, typed: Collection[int] = ()) -> pl.LazyFrame:
    """All cells of a text file, blank rows too, with `ROW`; arguments as of `text_cells`."""
    names = [str(position) for position in range(len(columns.names))]
    types = {n: pl.Float64() if int(n) in typed else pl.String() for n in names}
    return pl.scan_csv(
        source.path,
        has_header=False,
        separator=columns.dialect.separator_character,
        quote_char=columns.dialect.quote_character,
        skip_lines=columns.lines_before_rows,
        schema=types,
        row_index_name=ROW,
        glob=False,
    )


def text_cells(
    source: Source,
    columns: Columns,
    spellings: Collection[str],
    typed: Collection[int],
    kept: Collection[int] = (),
) -> pl.LazyFrame:
    """The cells of a text file's inputs and target; with `ROW` and `LAST`. Blank rows are not.

    Args:
        spellings: of a missing value.
        typed: positions of the columns to read as float64: a text in one of them ends the query.
        kept: positions of the columns to carry along.
    """
    names = [str(position) for position in range(len(columns.names))]
    lazy = as_they_stand(source, columns, typed)
    texts = [n for n in names if int(n) not in typed]
    raw = [pl.col(str(p)).alias(f"{RAW}{p}") for p in kept]
    lazy = lazy.with_columns(*raw, pl.col(names[-1]).is_null().alias(LAST))
    lazy = lazy.with_columns(_stripped(n) for n in texts)
    # Of a typed column null is blank: no spelling of a missing value is one to polars.
    blank = [pl.col(n).fill_null("") == "" if n in texts else pl.col(n).is_null() for n in names]
    signs = columns.dialect.signs
    cells = (
        known_number(str(p), spellings)
        if p in typed
        else known_text(pl.col(str(p)), spellings, signs).alias(str(p))
        for p in columns.needed
    )
    raw_names = [f"{RAW}{p}" for p in kept]
    return lazy.filter(~pl.all_horizontal(blank)).select(ROW, *raw_names, *cells, LAST)


def typed_cells(
    lazy: pl.LazyFrame,
    columns: Columns,
    spellings: Collection[str],
    as_text: Collection[int],
    source: str,
    kept: Collection[int] = (),
) -> pl.LazyFrame:
    """The cells of a table whose columns have types: of Parquet, or in memory.

    Numbers, dates and times (as days since 1970) are float64, all else is text.

    Args:
        lazy: the columns that are needed and kept, named by their position.
        as_text: positions of the columns that are text whatever their type is.

    Raises:
        UserError: a column is of neither kind.
    """
    types = {int(name): kind for name, kind in lazy.collect_schema().items()}
    plain = {p: _plain(str(p), types[p], p in as_text) for p in columns.needed}
    for position, cells in plain.items():
        if cells is None:
            name = columns.names[position]
            raise UserError(
                f"{source}, column {name!r}: values of the type {types[position]} are neither "
                f"numbers nor text. Convert the column, or leave it out: "
                f"{setting('data.drop', [name])}."
            )
    raw = [pl.col(str(p)).alias(f"{RAW}{p}") for p in kept]
    lazy = lazy.select(*raw, *(cells for cells in plain.values() if cells is not None))
    numbers = {p for p in columns.needed if p not in as_text and _is_number(types[p])}
    done: set[int] = set()
    if not missing_numbers(spellings):  # then the text of a whole number never means a missing one
        done = {p for p in columns.needed if p in as_text and types[p].is_integer()}
    return lazy.with_columns(
        known_number(str(p), spellings)
        if p in numbers
        else known_text(_stripped(str(p)), spellings).alias(str(p))
        for p in columns.needed
        if p not in done
    )


def known_number(name: str, spellings: Collection[str]) -> pl.Expr:
    """float64, null where missing; infinite where nan stands for no missing value."""
    is_missing = "nan" in {spelling.lower() for spelling in spellings}
    value = pl.col(name).fill_nan(None if is_missing else float("inf"))
    missing = missing_numbers(spellings)
    return pl.when(~value.is_in(missing)).then(value).alias(name) if missing else value


def known_text(text: pl.Expr, spellings: Collection[str], signs: Signs = PLAIN_SIGNS) -> pl.Expr:
    """Text that is stripped of the spaces around it, null where a value is missing."""
    cases = _in_any_case(spellings)
    if cases is None:
        missing = text.str.to_lowercase().is_in(["", *(s.lower() for s in spellings)])
    else:
        missing = text.is_in(["", *cases])
    numbers = missing_numbers(spellings, signs)
    if numbers:
        missing |= as_number(text, signs).is_in(numbers).fill_null(False)
    return pl.when(~missing).then(text)


def _in_any_case(spellings: Collection[str]) -> list[str] | None:
    """The spellings in any case of their letters; None where these would be too many.

    To look a text up among these takes half of the time that its lower case takes.
    """
    n_cases = sum(2 ** sum(map(str.isalpha, spelling)) for spelling in spellings)
    if n_cases > MOST_CASES or not all(map(str.isascii, spellings)):
        return None
    return sorted(
        {
            "".join(letters)
            for spelling in spellings
            for letters in product(*({c.lower(), c.upper()} for c in spelling))
        }
    )


def _stripped(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars(WHITESPACE)


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind == pl.Null or kind in (pl.Date, pl.Datetime)


def _plain(name: str, kind: pl.DataType, as_text: bool) -> pl.Expr | None:
    """A column as float64 or text; None where it is neither."""
    cells = pl.col(name)
    if kind in (pl.Boolean, pl.String, pl.Categorical, pl.Enum) or (
        as_text and (kind.is_integer() or kind.is_decimal() or kind in (pl.Date, pl.Datetime))
    ):
        return cells.cast(pl.String)
    if kind in (pl.Date, pl.Datetime):
        return days(cells)
    if not _is_number(kind):
        return None
    if not as_text:
        return cells.cast(pl.Float64)
    # As a text file has it: 2, not 2.0.
    whole = cells.cast(pl.Int64, strict=False)
    is_whole = (cells == whole) & (cells.abs() < 2**53)
    return pl.when(is_whole).then(whole.cast(pl.String)).otherwise(cells.cast(pl.String))


def parquet_batches(raw: pl.LazyFrame, n_rows: int, then: Then) -> Iterator[pl.DataFrame]:
    """What `then` makes of the columns of a Parquet file, in order, so many rows at a time.

    Not by `collect_batches`: it decodes whole row groups, the next ones in advance, and a row
    group of a million rows is common.
    """
    n_total = raw.select(pl.len()).collect().item()
    at_once = n_rows * max(1, READ_CELLS // (n_rows * len(raw.collect_schema())))
    for start in range(0, n_total, at_once):
        for part in raw.slice(start, at_once).collect().iter_slices(n_rows):
            yield then(part.lazy()).collect()
