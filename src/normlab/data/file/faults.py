"""What is wrong with a file, and where: the slow second look at one that is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from normlab.config.typed import setting
from normlab.data.file.columns import Columns
from normlab.data.file.numbers import is_missing, listed, missing_numbers, number
from normlab.data.file.records import Record, is_blank, records
from normlab.data.file.source import Source, readable
from normlab.data.schema import MISSING_VALUES, Form, Value
from normlab.errors import UserError

# From here on a number rounds to infinity in float32: its largest value and half a step.
FLOAT32_OVERFLOW = 2.0**128 - 2.0**103
SHOWN_CHARACTERS = 40

Role = Literal["number", "text", "label"]


@dataclass(frozen=True)
class Expectation:
    """What each column may hold.

    Attributes:
        roles: by position; "number" and "label" are checked, "text" for missing values alone.
        missing: whether inputs may be missing.
        missing_label: whether labels may be.
        left_out: whether a row with a missing value is left out, whatever else stands in it.
        missing_values: spellings of a missing value.
        values: the only values that some columns may hold, by position; text in lower case.
        forms: of columns of numbers that are not plain, by position.
        counts: missing values of each column by its name, for the message.
        at_prediction: whether a model is applied; else one is trained, and the remedies differ.
    """

    roles: Mapping[int, Role]
    missing: bool = False
    missing_label: bool = False
    left_out: bool = False
    missing_values: Collection[str] = MISSING_VALUES
    values: Mapping[int, Collection[Value]] = field(default_factory=dict)
    forms: Mapping[int, Form] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    at_prediction: bool = False


# What is wrong with a cell, as a sentence's end.
MISSING_FEATURE = "is a missing value"
MISSING_LABEL = "is a missing label"
TEXT = "is text, where the column holds numbers"
UNKNOWN = "is none of the values that the column may hold"
INFINITE = "is infinite"
TOO_LARGE = "is too large for float32, which ends at 3.4e38"

Remedy = Callable[[str], str]
TRAINING_REMEDIES: dict[str, Remedy] = {
    MISSING_FEATURE: lambda name: (
        "Set data.missing=drop to leave such rows out, or data.missing=impute to fill such cells "
        "from the training rows."
    ),
    MISSING_LABEL: lambda name: "Fill such cells, remove their rows, or set data.missing=drop.",
    TEXT: lambda name: (
        f"Mend the cell; or set {setting('data.categorical', [name])} if the column is no "
        f"quantity, data.missing_values if the text means a missing value, or "
        f"{setting('data.drop', [name])}."
    ),
    UNKNOWN: lambda name: "Mend the cell.",
    INFINITE: lambda name: "Replace such cells by finite numbers or remove their rows.",
    TOO_LARGE: lambda name: "Rescale the column, for example by its logarithm.",
}
PREDICTION_REMEDIES: dict[str, Remedy] = {
    **TRAINING_REMEDIES,
    MISSING_FEATURE: lambda name: (
        "The model was trained without missing values and cannot fill such cells: fill them, "
        "remove their rows, or train with data.missing=impute."
    ),
    MISSING_LABEL: lambda name: "Fill such cells or remove their rows.",
    TEXT: lambda name: "The column was numbers in training: mend the cell.",
}


@dataclass(frozen=True)
class _Row:
    """A row of text or of Parquet: where it stands, and its cells as text."""

    place: str
    cells: list[str]
    is_first: bool = False


def find_fault(source: Source, columns: Columns, expectation: Expectation) -> UserError | None:
    """The first fault of the file, or None where this reading finds none.

    A fault of form (encoding, quotes, number of cells) goes before a fault within a cell, for it
    may be the cause. Cells with the first one's fault are counted down its column.

    Raises:
        UserError: a fault of encoding or of quotes.
    """
    rows = _parquet_rows(source, columns) if source.parquet else _text_rows(source, columns)
    judge = _Judge(columns, expectation)
    found: tuple[_Row, int, str] | None = None
    count = 0
    for row in rows:
        if isinstance(row, UserError):
            return row
        if found is None:
            found = judge.first(row)
            count = int(found is not None)
        else:
            _, position, fault = found
            count += not judge.leaves_out(row) and judge(row.cells[position], position) == fault
    return _bad_cell(source, columns, expectation, *found, count) if found else None


def fault(source: Source, columns: Columns, expectation: Expectation) -> UserError:
    """The message for a file that is refused."""
    return find_fault(source, columns, expectation) or UserError(
        f"{source.name} holds a value that is missing or not finite. Mend or remove its row."
    )


def malformed(source: Source, columns: Columns, reason: str) -> UserError:
    """The message for a file that polars cannot read.

    Python's reader takes a quotation mark within a cell that does not start with one for an
    ordinary character, polars does not: where nothing else is wrong, that is.
    """
    if source.parquet:
        return UserError(f"{source.name} is a damaged Parquet file ({reason}). Write it again.")
    found = find_fault(source, columns, Expectation({}))
    if found is not None:
        return found
    quote = (columns.dialect.quote_character or '"').encode()
    with readable(source.path), source.path.open("rb") as file:
        for line, content in enumerate(file, start=1):
            if content.count(quote) % 2:
                return UserError(
                    f"{source.name}, line {line}: a quotation mark within a cell. Enclose the cell "
                    f"in quotation marks and double those within, or set data.quote=none to read "
                    f"them as ordinary characters."
                )
    return UserError(f"{source.name} is no valid CSV: {reason}. Mend its quotation marks.")


def _text_rows(source: Source, columns: Columns) -> Iterator[_Row | UserError]:
    """The rows, or the first one that has another number of cells than the columns."""
    skip = columns.lines_before_rows
    for record in records(source, columns.dialect, skip):
        if len(record.cells) != len(columns.names):
            too_wide = len(record.cells) > len(columns.names)
            if too_wide or not is_blank(record):  # polars refuses separators beyond the columns
                yield _ragged(source.name, record, columns)
        elif not is_blank(record):
            yield _Row(f"line {record.line}", record.cells, record.line == skip + 1)


def _parquet_rows(source: Source, columns: Columns) -> Iterator[_Row]:
    frame = pl.scan_parquet(source.path, glob=False)
    row = 0
    for batch in frame.collect_batches(chunk_size=4_096, maintain_order=True):
        for cells in batch.iter_rows():
            row += 1
            yield _Row(f"row {row}", ["" if cell is None else _as_text(cell) for cell in cells])


def _as_text(cell: object) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


class _Judge:
    """Says what is wrong with a cell."""

    def __init__(self, columns: Columns, expectation: Expectation) -> None:
        self.signs = columns.dialect.signs
        self.expectation = expectation
        self.missing = {spelling.lower() for spelling in expectation.missing_values}
        self.missing_numbers = set(missing_numbers(self.missing, self.signs))

    def first(self, row: _Row) -> tuple[_Row, int, str] | None:
        """The first faulty cell of a row, with its position and fault."""
        if self.leaves_out(row):
            return None
        for position in sorted(self.expectation.roles):
            fault = self(row.cells[position], position)
            if fault is not None:
                return row, position, fault
        return None

    def leaves_out(self, row: _Row) -> bool:
        """Whether the row is left out, so that nothing in it matters."""
        return self.expectation.left_out and any(
            self.is_missing(row.cells[position]) for position in self.expectation.roles
        )

    def is_missing(self, cell: str) -> bool:
        if is_missing(cell, self.missing):
            return True
        return bool(self.missing_numbers) and number(cell, self.signs) in self.missing_numbers

    def __call__(self, cell: str, position: int) -> str | None:
        expectation, role = self.expectation, self.expectation.roles[position]
        if self.is_missing(cell):
            if role == "label":
                return None if expectation.missing_label else MISSING_LABEL
            return None if expectation.missing else MISSING_FEATURE
        if position in expectation.values:
            known = expectation.values[position]
            text = cell if role == "label" else cell.lower()
            return None if text in known or number(cell, self.signs) in known else UNKNOWN
        if role != "number":
            return None
        value = number(cell, self.signs, expectation.forms.get(position, "plain"))
        if value is not None:
            return TOO_LARGE if abs(value) >= FLOAT32_OVERFLOW else None
        return INFINITE if cell.lower().lstrip("+-") in {"inf", "infinity"} else TEXT


def _ragged(source: str, row: Record, columns: Columns) -> UserError:
    expected = len(columns.names)
    than = "the header" if columns.header else "the first row"
    degree = "few" if len(row.cells) < expected else "many"
    separator = columns.dialect.separator
    remedy = f"a {separator} within a cell needs quotation marks around the cell."
    if is_blank(row):
        remedy = "or remove it: it holds separators alone."
    return UserError(
        f"{source}, line {row.line}: too {degree} cells, {len(row.cells)} where {than} has "
        f"{expected}. Mend the line; {remedy}"
    )


def _bad_cell(
    source: Source,
    columns: Columns,
    expectation: Expectation,
    row: _Row,
    position: int,
    fault: str,
    count: int,
) -> UserError:
    """The message for a cell, the first of so many with this fault in its column."""
    cell, name, role = row.cells[position], columns.names[position], expectation.roles[position]
    remedies = PREDICTION_REMEDIES if expectation.at_prediction else TRAINING_REMEDIES
    remedy = remedies[fault](name)
    if fault == TEXT and number(cell, columns.dialect.signs._replace(decimal="comma")) is not None:
        remedy = f"If the comma starts the fraction, set data.decimal=comma. {remedy}"
    elif fault == TEXT and row.is_first and not columns.header:
        remedy = f"If this line is a header, set data.header=true. {remedy}"
    elif fault == MISSING_FEATURE and cell and role == "text" and not expectation.at_prediction:
        others = [s for s in expectation.missing_values if s.lower() != cell.lower()]
        remedy += f" If it is a value of its own, set {setting('data.missing_values', others)}."
    if fault == UNKNOWN:
        fault += f" ({listed(list(expectation.values[position]))})"
    if fault == MISSING_FEATURE and len(expectation.counts) > 1:
        counts = ", ".join(f"{name!r} {count:,}" for name, count in expectation.counts.items())
        remedy = f"Missing values by column: {counts}. {remedy}"
    return UserError(
        f"{source.name}, {row.place}, column {name!r}: {shown(cell)} {fault} "
        f"({count} such {'cell' if count == 1 else 'cells'} in this column). {remedy}"
    )


def shown(cell: str) -> str:
    """A cell for a message."""
    if not cell:
        return "an empty cell"
    return repr(cell if len(cell) <= SHOWN_CHARACTERS else cell[:SHOWN_CHARACTERS] + "...")
