"""A CSV file as text, record by record with line numbers: slow and exact.

The header is read this way, and the place of a fault is found this way; the bulk of the rows is
polars' work, which is fast but cannot say on which line it failed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from normlab.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OTHER_FORMATS = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "a Parquet file",
}


@dataclass(frozen=True)
class Record:
    """One record of the file.

    Attributes:
        line: the line it starts on, counted from 1; a quoted cell may carry it over further lines.
        cells: its cells, without the spaces around them.
    """

    line: int
    cells: list[str]


def records(path: Path) -> Iterator[Record]:
    """Every record but the empty ones: blank lines, and rows of empty cells as spreadsheets leave.

    Raises:
        UserError: the file is not UTF-8 text, or a line breaks the rules of CSV.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        reader = csv.reader(_lines(file, path.name), strict=True)
        line = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(f"{path.name}, line {line}: {_malformed(error)}") from error
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield Record(line, cells)
            line = reader.line_num + 1


def _lines(file: BinaryIO, source: str) -> Iterator[str]:
    """The lines decoded one at a time, so that a byte that is no text is named with its line."""
    for number, line in enumerate(file, start=1):
        if number == 1:
            for prefix, what in OTHER_FORMATS.items():
                if line.startswith(prefix):
                    raise UserError(f"{source} is {what}. Save it as plain CSV in UTF-8.")
            line = line.removeprefix(BYTE_ORDER_MARK)
        if b"\0" in line:
            raise UserError(
                f"{source}, line {number}: holds a NUL byte, so this is a binary file or UTF-16 "
                f"text. Save it as plain CSV in UTF-8."
            )
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{source}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8 text "
                f"(an older encoding such as Latin-1?). Save the file as UTF-8."
            ) from error


def _malformed(error: csv.Error) -> str:
    reason = str(error)
    if "new-line character" in reason:
        return "a carriage return stands within the line. End lines with LF or CRLF."
    if "unexpected end of data" in reason:
        return "a quotation mark is opened here and never closed. Close it or remove it."
    return f"{reason}. Check the quotation marks; a quote within a quoted cell is doubled."
