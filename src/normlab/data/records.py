"""A text file record by record with line numbers: slow and exact.

The header is read this way, and the place of a fault is found this way; the bulk of the rows is
polars' work, which is fast but cannot say on which line it failed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from normlab.data.source import Source
from normlab.errors import UserError

Separator = Literal["comma", "semicolon", "tab", "pipe"]
Quote = Literal["double", "single", "none"]
Decimal = Literal["point", "comma"]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WHITESPACE = " \t\r\n\v\f"  # around cells: what Python and polars call so differs beyond these
SEPARATORS: dict[Separator, str] = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
QUOTES: dict[Quote, str | None] = {"double": '"', "single": "'", "none": None}


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are written: separator and quote by their names, as in settings."""

    separator: Separator = "comma"
    quote: Quote = "double"
    decimal: Decimal = "point"

    @property
    def separator_character(self) -> str:
        return SEPARATORS[self.separator]

    @property
    def quote_character(self) -> str | None:
        return QUOTES[self.quote]


@dataclass(frozen=True)
class Record:
    """One record of the file.

    Attributes:
        line: the line it starts on, counted from 1; a quoted cell may carry it over further lines.
        cells: its cells, without the spaces around them.
    """

    line: int
    cells: list[str]


def records(source: Source, dialect: Dialect) -> Iterator[Record]:
    """Every record but the empty ones: blank lines, and rows of empty cells as spreadsheets leave.

    Raises:
        UserError: the file is not UTF-8 text, or a line breaks the rules of CSV.
        OSError: the file cannot be read.
    """
    with source.path.open("rb") as file:
        reader = csv_reader(_lines(file, source.name), dialect)
        line = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(f"{source.name}, line {line}: {_malformed(error)}") from error
            cells = [cell.strip(WHITESPACE) for cell in cells]
            if any(cells):
                yield Record(line, cells)
            line = reader.line_num + 1


def csv_reader(lines: Iterator[str], dialect: Dialect, strict: bool = True) -> Any:
    """Python's reader of this dialect."""
    quoting = csv.QUOTE_NONE if dialect.quote == "none" else csv.QUOTE_MINIMAL
    return csv.reader(
        lines,
        delimiter=dialect.separator_character,
        quotechar=dialect.quote_character,
        quoting=quoting,
        strict=strict,
    )


def ragged(source: Source, dialect: Dialect, n_columns: int) -> bool:
    """Whether some row has too few cells, which polars fills up silently, or is no CSV at all."""
    with source.path.open("rb") as file:
        reader = csv_reader(_lines(file, source.name), dialect)
        try:
            return any(
                0 < len(cells) < n_columns and any(cell.strip(WHITESPACE) for cell in cells)
                for cells in reader
            )
        except csv.Error:
            return True


def _lines(file: BinaryIO, source: str) -> Iterator[str]:
    """The lines decoded one at a time, so that a byte that is no text is named with its line."""
    for number, line in enumerate(file, start=1):
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if b"\0" in line:
            raise UserError(
                f"{source}, line {number}: holds a NUL byte, so this is a binary file or UTF-16 "
                f"text. Save it as plain CSV in UTF-8, or set data.encoding=utf-16."
            )
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{source}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8 text "
                f"(an older encoding such as Latin-1?). Save the file as UTF-8, or set "
                f"data.encoding=latin-1."
            ) from error


def _malformed(error: csv.Error) -> str:
    reason = str(error)
    if "new-line character" in reason:
        return "a carriage return stands within the line. End lines with LF or CRLF."
    if "unexpected end of data" in reason:
        return "a quotation mark is opened here and never closed. Close it or remove it."
    return (
        f"{reason}. Check the quotation marks; a quote within a quoted cell is doubled. "
        f"data.quote=none reads them as ordinary characters."
    )
