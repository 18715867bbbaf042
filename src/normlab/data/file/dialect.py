"""How a text file is written: what the user says, and for the rest what its first lines show."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from normlab.data.file.numbers import WHITESPACE, Decimal, Signs, Thousands, is_missing, number
from normlab.data.file.preamble import preamble
from normlab.data.file.records import (
    BYTE_ORDER_MARK,
    SEPARATORS,
    Dialect,
    Quote,
    Separator,
    csv_reader,
)
from normlab.data.file.signs import signs_of
from normlab.data.file.source import Encoding, Source, readable

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
        thousands: the sign between its thousands.
        skip_lines: lines before the table.
        encoding: of the text; "auto" is UTF-8, and UTF-16 where its byte order mark stands first.
    """

    header: bool | Literal["auto"] = "auto"
    separator: Literal["auto"] | Separator = "auto"
    quote: Literal["auto"] | Quote = "auto"
    decimal: Literal["auto"] | Decimal = "auto"
    thousands: Literal["auto"] | Thousands = "auto"
    skip_lines: Literal["auto"] | int = "auto"
    encoding: Encoding = "auto"

    @property
    def asks_for_signs(self) -> bool:
        """Whether nothing is said of the signs within numbers."""
        return self.decimal == self.thousands == "auto"


@dataclass(frozen=True)
class Detected:
    """A file's dialect and header, and the first records that they were seen in.

    Attributes:
        skip: lines before the table.
        notices: what was decided that a user should know of.
    """

    dialect: Dialect
    header: bool
    sample: list[list[str]]
    line_end: str
    skip: int
    notices: tuple[str, ...]


def detect(
    source: Source, format: Format, names: Sequence[str | int], known: Signs | None = None
) -> Detected:
    """What the first lines show.

    Args:
        names: names of columns that a header would hold; positions where there is none.
        known: the signs of the training file, where a model is applied: they hold unless the file
            proves others.

    Raises:
        UserError: the first lines can be read in two ways, and only the user knows which is meant.
    """
    lines, whole = _first_lines(source)
    line_end = "CRLF" if lines and lines[0].endswith("\r\n") else "LF"
    if named := _named_separator(lines, format):
        format = replace(format, separator=named, skip_lines=1)
    separator, quote = _way(lines, format)
    cut = Dialect(separator, quote)
    skip, notices = preamble(source, lines, cut, format.skip_lines, whole)
    if skip:
        separator, quote = _way(lines[skip:], format)
        cut = Dialect(separator, quote)
    sample = parse(lines[skip:], cut, SAMPLE_RECORDS)
    signs, said = signs_of(sample, separator, format.decimal, format.thousands, known, source.name)
    header = format.header
    if header == "auto":
        header = _has_header(sample, names, signs)
    dialect = Dialect(separator, quote, signs.decimal, signs.thousands)
    return Detected(dialect, header, sample, line_end, skip, (*notices, *said))


def _first_lines(source: Source) -> tuple[list[str], bool]:
    """The lines at the start of the file, with their ends, and whether these are all."""
    with readable(source.path), source.path.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
    whole = len(start) < SAMPLE_BYTES
    text = start.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").replace("\0", "")
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    if not whole and len(lines) > 1:
        lines.pop()  # cut anywhere
    return lines, whole


def _named_separator(lines: Sequence[str], format: Format) -> Separator | None:
    """The separator that a first line `sep=;` names, as spreadsheets write and obey it."""
    found = re.fullmatch(r'"?sep=(.)"?\s*', lines[0], re.IGNORECASE) if lines else None
    if found is None or format.skip_lines != "auto" or format.separator != "auto":
        return None
    return next((name for name, sign in SEPARATORS.items() if sign == found[1]), None)


def _way(lines: Sequence[str], format: Format) -> tuple[Separator, Quote]:
    """The separator and the quotation mark under which the lines look most like a table."""
    separators: list[Separator] = list(SEPARATORS)
    if format.separator != "auto":
        separators = [format.separator]
    quotes: list[Quote] = ["double"]
    text = "".join(lines)
    if format.quote != "auto":
        quotes = [format.quote]
    elif '"' not in text and "'" in text:
        quotes.append("single")
    ways: list[tuple[Separator, Quote]] = [(s, q) for q in quotes for s in separators]
    parsed = {way: parse(lines, Dialect(*way), SAMPLE_RECORDS) for way in ways}
    return max(ways, key=lambda way: _merit(parsed[way], way[0], way[1], format))


def parse(lines: Sequence[str], dialect: Dialect, most: int) -> list[list[str]]:
    """The first records; as many as can be read, since their faults are told elsewhere."""
    rows: list[list[str]] = []
    try:
        for cells in csv_reader(iter(lines), dialect, strict=False):
            stripped = [cell.strip(WHITESPACE) for cell in cells]
            if any(stripped):
                rows.append(stripped)
            if len(rows) > most:
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
    decimals: list[Decimal] = ["point", "comma"] if format.decimal == "auto" else [format.decimal]
    if format.decimal == "auto" and separator == "comma":
        decimals = ["point"]
    cells = [cell for row in rows[1:] for cell in row]
    numbers = max(
        sum(number(cell, Signs(decimal)) is not None for cell in cells) for decimal in decimals
    )
    unquoted = quote == "single" and not any("'" in cell for row in rows for cell in row)
    return alike == 1, alike, numbers / max(1, len(cells)), unquoted, width


def _has_header(rows: Rows, names: Sequence[str | int], signs: Signs) -> bool:
    """Whether the first record names the columns; where nothing tells, it does."""
    if not rows:
        return True
    first, *rest = rows
    if any(isinstance(name, str) and name in first for name in names if number(str(name)) is None):
        return True
    if counts_columns(rows):
        return True
    positions = range(-len(first), len(first))
    if any(number(cell, signs) is not None for cell in first):
        meant = [str(name) for name in names if number(str(name)) is not None]
        by_position = all(int(name) in positions for name in meant if name.lstrip("-").isdigit())
        return bool(meant) and not by_position and any(name in first for name in meant)
    columns = [[row[i] for row in rest if i < len(row)] for i in range(len(first))]
    for cells in columns:
        filled = [cell for cell in cells if not is_missing(cell)]
        if filled and all(number(cell, signs) is not None for cell in filled):
            return True
    if len(set(first)) < len(first) or any(cell and is_missing(cell) for cell in first):
        return False
    return not any(cell in cells for cell, cells in zip(first, columns, strict=True))


def counts_columns(rows: Rows) -> bool:
    """Whether the first record is 0, 1, ..., as pandas calls columns, perhaps behind a blank cell.

    A row of data may happen to be so, but rarely, and then it comes again.
    """
    first, *rest = rows
    named = first[1:] if first[0] == "" else first
    at_least = 1 if named is not first else 2
    counted = [*map(str, range(len(named)))]
    return len(named) >= at_least and named == counted and first not in rest


def in_words(detected: Detected, source: Source) -> str:
    """The file's way of writing, for one line of the terminal."""
    dialect = detected.dialect
    parts = [f"{dialect.separator}-separated"]
    if dialect.decimal == "comma":
        parts.append("decimal comma")
    if dialect.thousands != "none":
        parts.append(f"thousands {dialect.thousands}")
    if dialect.quote != "double":
        parts.append(f"quote {dialect.quote}")
    parts.append("a header" if detected.header else "no header")
    return ", ".join([*parts, f"{source.saved_as}, {detected.line_end}"])
