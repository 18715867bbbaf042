"""How a text file is written: what the user says, and for the rest what its first lines show."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from normlab.data.numbers import SIGNS, is_missing, number
from normlab.data.records import (
    BYTE_ORDER_MARK,
    SEPARATORS,
    WHITESPACE,
    Decimal,
    Dialect,
    Quote,
    Separator,
    csv_reader,
)
from normlab.data.source import Encoding, Source

SAMPLE_BYTES = 1 << 18
SAMPLE_RECORDS = 200

Rows = Sequence[list[str]]


@dataclass(frozen=True)
class Format:
    """How a file is written, as far as the user says; "auto" is detected.

    Attributes:
        header: whether the first line names the columns.
        separator: between cells.
        quote: around cells that hold a separator.
        decimal: the sign before a number's fraction.
        encoding: of the text; "auto" is UTF-8, and UTF-16 where its byte order mark stands first.
    """

    header: bool | Literal["auto"] = "auto"
    separator: Literal["auto"] | Separator = "auto"
    quote: Literal["auto"] | Quote = "auto"
    decimal: Literal["auto"] | Decimal = "auto"
    encoding: Encoding = "auto"


@dataclass(frozen=True)
class Detected:
    """A file's dialect and header, and the first records that they were seen in."""

    dialect: Dialect
    header: bool
    sample: list[list[str]]
    line_end: str


def detect(source: Source, format: Format, names: Sequence[str | int]) -> Detected:
    """What the first lines show.

    Args:
        names: names of columns that a header would hold; positions where there is none.
    """
    with source.path.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
        whole = len(start) < SAMPLE_BYTES
    text = start.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").replace("\0", "")
    lines = text.splitlines(keepends=True)
    if not whole and len(lines) > 1:
        lines.pop()  # cut anywhere
    line_end = "CRLF" if lines and lines[0].endswith("\r\n") else "LF"
    separators: list[Separator] = list(SEPARATORS)
    if format.separator != "auto":
        separators = [format.separator]
    quotes: list[Quote] = ["double"]
    if format.quote != "auto":
        quotes = [format.quote]
    elif '"' not in text and "'" in text:
        quotes.append("single")
    ways: list[tuple[Separator, Quote]] = [(s, q) for q in quotes for s in separators]
    parsed = {way: _parse(lines, Dialect(way[0], way[1])) for way in ways}
    separator, quote = max(ways, key=lambda way: _merit(parsed[way], way[0], way[1], format))
    sample = parsed[separator, quote]
    decimal = format.decimal if format.decimal != "auto" else _decimal(sample, separator)
    dialect = Dialect(separator, quote, decimal)
    header = _has_header(sample, names, decimal) if format.header == "auto" else format.header
    return Detected(dialect, header, sample, line_end)


def _parse(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """The first records; as many as can be read, since their faults are told elsewhere."""
    rows: list[list[str]] = []
    try:
        for cells in csv_reader(iter(lines), dialect, strict=False):
            stripped = [cell.strip(WHITESPACE) for cell in cells]
            if any(stripped):
                rows.append(stripped)
            if len(rows) > SAMPLE_RECORDS:
                break
    except csv.Error:
        pass
    return rows


def _merit(
    rows: Rows, separator: Separator, quote: Quote, format: Format
) -> tuple[bool, float, float, bool, int]:
    """Every record cut alike, then most records, most numbers, quotes gone, most cells.

    Of equals the first wins: the comma. The header is no evidence: it holds no numbers.
    """
    widths = [len(row) for row in rows]
    width = max(set(widths), key=lambda w: (w > 1, widths.count(w))) if rows else 1
    if width < 2:
        return False, 0.0, 0.0, False, 0
    alike = widths.count(width) / len(widths)
    decimal = format.decimal
    if decimal == "auto":
        decimal = "point" if separator == "comma" else _decimal(rows, separator)
    cells = [cell for row in rows[1:] for cell in row]
    numbers = sum(number(cell, decimal) is not None for cell in cells) / max(1, len(cells))
    unquoted = quote == "single" and not any("'" in cell for row in rows for cell in row)
    return alike == 1, alike, numbers, unquoted, width


def _decimal(rows: Rows, separator: str) -> Decimal:
    """Comma where some numbers have it and none has a point; certain only where it cuts no cell."""
    if separator == "comma":
        return "point"
    return "comma" if signs_of(rows) == {"comma"} else "point"


def signs_of(rows: Rows) -> set[str]:
    """Which signs numbers among the cells have."""
    cells = [cell for row in rows for cell in row]
    return {
        name
        for name, sign in SIGNS.items()
        if any(sign in cell and number(cell, name) is not None for cell in cells)
    }


def counts_columns(first: Sequence[str]) -> bool:
    """Whether a record is 0, 1, 2, ...: names that programs give, perhaps after an index's blank.

    A row of data may happen to be so, but rarely: a header is likelier.
    """
    counted = list(first[1:] if first and not first[0] else first)
    return len(counted) > 1 and counted == list(map(str, range(len(counted))))


def _has_header(rows: Rows, names: Sequence[str | int], decimal: str) -> bool:
    """Whether the first record names the columns; where nothing tells, it does."""
    if not rows:
        return True
    first, *rest = rows
    if counts_columns(first):
        return True
    if any(isinstance(name, str) and name in first for name in names if number(str(name)) is None):
        return True
    positions = range(-len(first), len(first))
    if any(number(cell, decimal) is not None for cell in first):
        meant = [str(name) for name in names if number(str(name)) is not None]
        by_position = all(int(name) in positions for name in meant if name.lstrip("-").isdigit())
        return bool(meant) and not by_position and any(name in first for name in meant)
    columns = [[row[i] for row in rest if i < len(row)] for i in range(len(first))]
    for cells in columns:
        filled = [cell for cell in cells if not is_missing(cell)]
        if filled and all(number(cell, decimal) is not None for cell in filled):
            return True
    if len(set(first)) < len(first) or any(cell and is_missing(cell) for cell in first):
        return False
    return not any(cell in cells for cell, cells in zip(first, columns, strict=True))


def in_words(detected: Detected, source: Source) -> str:
    """The file's way of writing, for one line of the terminal."""
    dialect = detected.dialect
    parts = [f"{dialect.separator}-separated"]
    if dialect.decimal == "comma":
        parts.append("decimal comma")
    if dialect.quote != "double":
        parts.append(f"quote {dialect.quote}")
    parts.append("a header" if detected.header else "no header")
    return ", ".join([*parts, f"{source.saved_as}, {detected.line_end}"])
