"""What a file's header and first lines tell: which columns it has and which are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from normlab.data.file.cells import Unreadable
from normlab.data.file.columns import (
    Columns,
    Header,
    Selection,
    choose_columns,
    read_header,
)
from normlab.data.file.dialect import SAMPLE_RECORDS, Format, detect, in_words
from normlab.data.file.numbers import Signs, is_missing
from normlab.data.file.records import Dialect
from normlab.data.file.source import Source
from normlab.data.file.thousands import refuse_doubt
from normlab.errors import UserError


@dataclass(frozen=True)
class First:
    """The header and the first rows of a file.

    Attributes:
        sample: the cells of the first rows.
        read_as: how the file is written, in words.
        notices: what was decided that a user should know of.
    """

    header: Header
    has_header: bool
    dialect: Dialect
    sample: Sequence[Sequence[str]]
    read_as: str
    notices: tuple[str, ...] = ()

    @property
    def spaced(self) -> bool:
        """Whether the first row holds spaces, which may be meant as separators."""
        return any(len(cell.split()) > 1 for row in self.sample[:1] for cell in row)


@dataclass(frozen=True)
class Outline:
    """Which columns a file has, and which of them are asked for."""

    first: First
    columns: Columns

    def cells_of(self, position: int, spellings: Sequence[str]) -> list[str]:
        """The values of a column in the first rows."""
        cells = (row[position] for row in self.first.sample if position < len(row))
        return [cell for cell in cells if not is_missing(cell, spellings)]


def first_rows(
    source: Source, format: Format, names: Sequence[str | int], known: Signs | None = None
) -> First:
    """What stands first in a file; arguments and refusals as of `detect`."""
    if source.parquet:
        lazy = pl.scan_parquet(source.path, glob=False)
        try:
            header = Header(tuple(lazy.collect_schema().names()))
            rows = lazy.head(SAMPLE_RECORDS).collect().rows()
        except (*Unreadable, pl.exceptions.PolarsError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"{source.name} is a damaged Parquet file ({reason}). Write it again."
            ) from error
        if not rows:
            raise UserError(f"{source.name} has no rows. It needs one for each example.")
        sample = [["" if cell is None else str(cell) for cell in row] for row in rows]
        return First(header, True, Dialect(), sample, source.saved_as)
    found = detect(source, format, names, known)
    header = read_header(source, found)
    sample = found.sample[found.header :]
    words = in_words(found, source)
    return First(header, found.header, found.dialect, sample, words, found.notices)


def outline(
    source: Source, target: str | int | None, format: Format, selection: Selection
) -> Outline:
    """Which columns a file has and which of them are asked for.

    Raises:
        UserError: it has no rows, or lacks a column that is asked for, or its numbers have a sign
            that may mark the thousands.
    """
    wanted = [*([] if target is None else [target]), *selection.names()]
    first = first_rows(source, format, wanted)
    names, has_header = first.header.names, first.has_header
    at, inputs, types = choose_columns(
        names, target, selection, has_header, source.name, first.spaced
    )
    lines = first.header.lines_before_rows
    columns = Columns(names, at, inputs, types, first.dialect, has_header, lines)
    if not source.parquet and format.asks_for_signs:
        refuse_doubt(source, columns, first.sample)
    return Outline(first, columns)
