"""A text file record by record with line numbers: slow and exact.

The header is read this way, and the place of a fault is found this way; the bulk of the rows is
polars' work, which is fast but cannot say on which line it failed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from normlab.data.file.numbers import WHITESPACE, Decimal, Signs, Thousands
from normlab.data.file.source import Source, readable
from normlab.errors import UserError

Separator = Literal["comma", "semicolon", "tab", "pipe"]
Quote = Literal["double", "single", "none"]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SEPARATORS: dict[Separator, str] = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
QUOTES: dict[Quote, str | None] = {"double": '"', "single": "'", "none": None}
LONGEST_CELL = 2**31 - 1  # characters, as in polars; Python's own limit is 131,072


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are written, by the names that settings give the signs."""

    separator: Separator = "comma"
    quote: Quote = "double"
    decimal: Decimal = "point"
    thousands: Thousands = "none"

    @property
    def separator_character(self) -> str:
        return SEPARATORS[self.separator]

    @property
    def quote_character(self) -> str | None:
        return QUOTES[self.quote]

    @property
    def signs(self) -> Signs:
        return Signs(self.decimal, self.thousands)


@dataclass(frozen=True)
class Record:
    """One record of the file.

    Attributes:
        line: the line it starts on, counted from 1; a quoted cell may carry it over further lines.
        cells: its cells, without the spaces around them.
    """

    line: int
    cells: list[str]


def records(source: Source, dialect: Dialect, skip: int = 0) -> Iterator[Record]:
    """Every record but blank lines.

    Rows of empty cells, as spreadsheets leave, are among them: `is_blank`.

    Args:
        skip: lines before the table.

    Raises:
        UserError: the file cannot be read, is not UTF-8 text, or a line breaks the rules of CSV.
    """
    with readable(source.path), source.path.open("rb") as file:
        lines = _lines(file, source.name)
        for _ in range(skip):
            next(lines, None)
        reader = csv_reader(lines, dialect)
        line = skip + 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(f"{source.name}, line {line}: {_malformed(error)}") from error
            if cells:
                yield Record(line, [cell.strip(WHITESPACE) for cell in cells])
            line = skip + reader.line_num + 1


def is_blank(record: Record) -> bool:
    """Whether a record holds empty cells alone: it is no row."""
    return not any(record.cells)


def csv_reader(lines: Iterator[str], dialect: Dialect, strict: bool = True) -> Any:
    """Python's reader of this dialect."""
    csv.field_size_limit(LONGEST_CELL)
    quoting = csv.QUOTE_NONE if dialect.quote == "none" else csv.QUOTE_MINIMAL
    return csv.reader(
        lines,
        delimiter=dialect.separator_character,
        quotechar=dialect.quote_character,
        quoting=quoting,
        strict=strict,
    )


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
