"""The cells of a file as columns of float64 or of text, with null where a value is missing.

Columns go by their position ("0", "1", ...), since polars reads some names as patterns.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from polars.exceptions import PanicException  # seen for a file that ends in a single quote

from normlab.data.columns import Columns
from normlab.data.numbers import PATTERNS, is_missing, missing_numbers, number
from normlab.data.records import WHITESPACE
from normlab.data.source import Source

FEW_TEXTS = 100

# What polars reads of a text file at once, in bytes: 16 MB by default, times some for each core,
# and as much again for what becomes of them. Smaller pieces are as fast.
os.environ.setdefault("POLARS_CSV_CHUNK_SIZE", str(2**20))


class Unreadable(Exception):
    """polars cannot read the file: the reason in its words."""


def guess_numeric(sample: Iterable[Sequence[str]], columns: Columns) -> frozenset[int]:
    """Positions of the columns that hold numbers alone in the sample, and some.

    With a decimal comma none: polars would take the thousands of 1.500 for a fraction.
    """
    decimal = columns.dialect.decimal
    if decimal == "comma":
        return frozenset()
    numeric = set(range(len(columns.names)))
    seen: set[int] = set()
    for row in sample:
        for position, cell in enumerate(row[: len(columns.names)]):
            if not is_missing(cell):
                (seen.add if number(cell) is not None else numeric.discard)(position)
    return frozenset(numeric & seen)


def missing_in(sample: Iterable[Sequence[str]], spellings: Collection[str]) -> list[str]:
    """The spellings of a missing value that the sample holds, as they stand there."""
    cells = {cell for row in sample for cell in row if cell}
    return sorted(cell for cell in cells if is_missing(cell, spellings))


def read_cells(
    source: Source,
    columns: Columns,
    numeric: Collection[int],
    spellings: Collection[str],
    spelled: Sequence[str] = (),
) -> pl.DataFrame:
    """All rows at once.

    Args:
        numeric: positions of the columns to read as float64; where some cell of theirs is no
            number, all are read as text.
        spellings: of a missing value.
        spelled: those that polars is told of: each costs it time.

    Raises:
        Unreadable: the file is not well formed.
    """
    try:
        try:
            frame = scan(source, columns, numeric, spelled).collect()
        except pl.exceptions.ComputeError:  # perhaps text, or only spaces around the numbers
            frame, spelled = scan(source, columns, (), ()).collect(), ()
        if spelled and frame.height and _blank(frame).any():  # blank, or spelled out in every cell?
            frame = scan(source, columns, (), ()).collect()
    except (pl.exceptions.PolarsError, PanicException) as error:
        raise Unreadable(str(error).partition("\n")[0]) from error
    return cleaned(frame, spellings, columns.dialect.decimal)


def batches_of_cells(
    source: Source,
    columns: Columns,
    spellings: Collection[str],
    n_rows: int,
    numeric: Collection[int] = (),
    spelled: Sequence[str] = (),
) -> Iterator[pl.DataFrame]:
    """As text, batch by batch: memory does not grow with the file.

    Args:
        numeric, spelled: as of `read_cells`, but read as float64 or not at all.

    Raises:
        Unreadable: the file is not well formed, or not as `numeric` and `spelled` take it.
    """
    try:
        lazy = scan(source, columns, numeric, spelled)
        for frame in lazy.collect_batches(chunk_size=n_rows, maintain_order=True):
            if spelled and _blank(frame).any():
                raise Unreadable("a row is blank, or every cell of it is spelled as missing")
            yield cleaned(frame, spellings, columns.dialect.decimal)
    except (pl.exceptions.PolarsError, PanicException) as error:
        raise Unreadable(str(error).partition("\n")[0]) from error


def scan(
    source: Source, columns: Columns, numeric: Collection[int], spelled: Sequence[str]
) -> pl.LazyFrame:
    types = {
        str(i): pl.Float64() if i in numeric else pl.String() for i in range(len(columns.names))
    }
    return pl.scan_csv(
        source.path,
        has_header=False,
        separator=columns.dialect.separator_character,
        quote_char=columns.dialect.quote_character,
        skip_lines=columns.lines_before_rows,
        schema=types,
        null_values=list(spelled) or None,
        glob=False,
    )


def cleaned(
    frame: pl.DataFrame,
    spellings: Collection[str],
    decimal: str = "point",
    blank_rows: bool = False,
) -> pl.DataFrame:
    """Text without the spaces around it, null where a value is missing.

    Args:
        decimal: the sign before a number's fraction in text.
        blank_rows: whether to keep rows of blank cells alone, as blank lines are read.
    """
    # Put together from columns: `with_columns` would wait its turn where polars reads on.
    clean = {c.name for c in frame if c.dtype == pl.String and _is_clean(c, spellings, decimal)}
    frame = pl.DataFrame(
        [
            c.str.strip_chars(WHITESPACE).replace("", None)
            if c.dtype == pl.String and c.name not in clean
            else c
            for c in frame
        ]
    )
    if not blank_rows and all(column.null_count() for column in frame):
        frame = frame.filter(~_blank(frame))
    return pl.DataFrame(
        [c if c.name in clean else _without_missing(c, spellings, decimal) for c in frame]
    )


def _is_clean(column: pl.Series, spellings: Collection[str], decimal: str) -> bool:
    """Whether a column of few different texts has none to strip or to take for missing.

    Its texts are looked at in Python: polars' own functions of strings are quick on long columns,
    but each waits its turn where polars is reading the next rows of the file meanwhile.
    """
    if column.head(10 * FEW_TEXTS).n_unique() > FEW_TEXTS:
        return False
    distinct = column.unique()
    if len(distinct) > FEW_TEXTS:
        return False
    texts = [text for text in distinct.to_list() if text is not None]
    missing = missing_numbers(spellings, decimal)
    return not any(
        text != text.strip(WHITESPACE)
        or is_missing(text, spellings)
        or number(text, decimal) in missing
        for text in texts
    )


def _blank(frame: pl.DataFrame) -> pl.Series:
    return frame.select(pl.all_horizontal(pl.all().is_null())).to_series()


def _without_missing(column: pl.Series, spellings: Collection[str], decimal: str) -> pl.Series:
    if column.dtype == pl.String:
        longest = max(map(len, spellings), default=0)
        short = column.unique().drop_nulls()
        short = short.filter(short.str.len_chars() <= longest + 24)  # -999 is also -999.000
        numbers = missing_numbers(spellings, decimal)
        missing = [c for c in short if is_missing(c, spellings) or number(c, decimal) in numbers]
        return column.set(column.is_in(missing), None) if missing else column
    if "nan" in {spelling.lower() for spelling in spellings}:
        known = column.drop_nulls() if column.null_count() else column
        lowest = known.to_numpy().min(initial=0)  # nan where some number is
        column = column.fill_nan(None) if np.isnan(lowest) else column
    for value in missing_numbers(spellings):
        column = column.set(column == value, None)
    return column


def to_numbers(column: pl.Series, decimal: str) -> tuple[pl.Series, pl.Series]:
    """Text as float64, null where it is no number; and which texts are none.

    Args:
        column: text (n,), with null where missing.
    """
    is_number = column.str.contains(PATTERNS[decimal])
    numbers = column.set(~is_number, None)
    if decimal == "comma":
        numbers = numbers.str.replace(",", ".", literal=True)
    return numbers.cast(pl.Float64), ~is_number.fill_null(True)


def as_text(series: pl.Series) -> pl.Series:
    """Values as they stand in a text file: 2 for the float 2.0, and every digit of an id."""
    texts = series.cast(pl.String)
    if series.dtype.is_float():
        whole = series.cast(pl.Int64, strict=False)  # null where it is none, or nan
        texts = whole.cast(pl.String).zip_with((whole == series).fill_null(False), texts)
    return texts


def holds_nul(frame: pl.DataFrame) -> bool:
    """Whether some text holds the NUL byte, which polars lets pass."""
    texts = [column for column in frame if column.dtype == pl.String]
    return any(
        any("\0" in text for text in distinct.drop_nulls().to_list())
        if len(distinct) <= FEW_TEXTS
        else column.str.contains("\0", literal=True).any()
        for column in texts
        for distinct in [column.unique()]
    )


def null_counts(frame: pl.DataFrame, names: Mapping[int, str]) -> dict[str, int]:
    """Missing values of each column that has any, by its name."""
    counts = {name: frame[str(position)].null_count() for position, name in names.items()}
    return {name: count for name, count in counts.items() if count}
