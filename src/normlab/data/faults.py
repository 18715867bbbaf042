"""What is wrong with a text file, and on which line: the slow second look at a refused file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from normlab.config.typed import setting
from normlab.data.columns import Columns
from normlab.data.numbers import is_missing, listed, missing_numbers, number
from normlab.data.records import Record, records
from normlab.data.schema import MISSING_VALUES, Value
from normlab.data.source import Source
from normlab.errors import UserError

# From here on a number rounds to infinity in float32: its largest value and half a step.
FLOAT32_OVERFLOW = 2.0**128 - 2.0**103
SHOWN_CHARACTERS = 40

Role = Literal["number", "text", "label", "ignored"]


@dataclass(frozen=True)
class Expectation:
    """What each column may hold.

    Attributes:
        roles: by position; "number" and "label" are checked, "text" for missing values alone.
        missing: whether inputs may be missing.
        missing_label: whether labels may be.
        missing_values: spellings of a missing value.
        values: the only values that some columns may hold, by position; text in lower case.
        counts: missing values of each column by its name, for the message.
        at_prediction: whether a model is applied; else one is trained, and the remedies differ.
    """

    roles: Mapping[int, Role]
    missing: bool = False
    missing_label: bool = False
    missing_values: Collection[str] = MISSING_VALUES
    values: Mapping[int, Collection[Value]] = field(default_factory=dict)
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


def find_fault(source: Source, columns: Columns, expectation: Expectation) -> UserError | None:
    """The first fault of the file, or None where this reading finds none.

    A fault of form (encoding, quotes, number of cells) goes before a fault within a cell, for it
    may be the cause. Cells with the first one's fault are counted down its column.

    Raises:
        UserError: a fault of encoding or of quotes.
        OSError: the file cannot be read.
    """
    rows = records(source, columns.dialect)
    if columns.header:
        next(rows, None)
    judge = _Judge(columns, expectation)
    found: tuple[Record, int, str] | None = None
    count = 0
    for row in rows:
        if len(row.cells) != len(columns.names):
            return _ragged(source.name, row, columns)
        if found is None:
            for position, cell in enumerate(row.cells):
                fault = judge(cell, position)
                if fault is not None:
                    found, count = (row, position, fault), 1
                    break
        else:
            _, position, fault = found
            count += judge(row.cells[position], position) == fault
    return _bad_cell(source.name, columns, expectation, *found, count) if found else None


def malformed(source: Source, columns: Columns, reason: str) -> UserError:
    """The message for a file that polars cannot read.

    Python's reader takes a quotation mark within a cell that does not start with one for an
    ordinary character, polars does not: where nothing else is wrong, that is.
    """
    fault = find_fault(source, columns, Expectation({}))
    if fault is not None:
        return fault
    quote = (columns.dialect.quote_character or '"').encode()
    with source.path.open("rb") as file:
        for line, content in enumerate(file, start=1):
            if content.count(quote) % 2:
                return UserError(
                    f"{source.name}, line {line}: a quotation mark within a cell. Enclose the cell "
                    f"in quotation marks and double those within, or set data.quote=none to read "
                    f"them as ordinary characters."
                )
    return UserError(f"{source.name} is no valid CSV: {reason}. Mend its quotation marks.")


class _Judge:
    def __init__(self, columns: Columns, expectation: Expectation) -> None:
        self.decimal = columns.dialect.decimal
        self.expectation = expectation
        self.missing = {spelling.lower() for spelling in expectation.missing_values}
        self.missing_numbers = missing_numbers(self.missing, self.decimal)

    def __call__(self, cell: str, position: int) -> str | None:
        expectation = self.expectation
        role = expectation.roles.get(position, "ignored")
        if role == "ignored":
            return None
        value = number(cell, self.decimal)
        if is_missing(cell, self.missing) or value in self.missing_numbers:
            if role == "label":
                return None if expectation.missing_label else MISSING_LABEL
            return None if expectation.missing else MISSING_FEATURE
        if position in expectation.values:
            known = expectation.values[position]
            text = cell if role == "label" else cell.lower()
            found = text in known or value in known
            return None if found else UNKNOWN
        if role != "number":
            return None
        if value is not None:
            return TOO_LARGE if abs(value) >= FLOAT32_OVERFLOW else None
        return INFINITE if cell.lower().lstrip("+-") in {"inf", "infinity"} else TEXT


def _ragged(source: str, row: Record, columns: Columns) -> UserError:
    expected = len(columns.names)
    than = "the header" if columns.header else "the first row"
    degree = "few" if len(row.cells) < expected else "many"
    separator = columns.dialect.separator
    return UserError(
        f"{source}, line {row.line}: too {degree} cells, {len(row.cells)} where {than} has "
        f"{expected}. Mend the line; a {separator} within a cell needs quotation marks around the "
        f"cell."
    )


def _bad_cell(
    source: str,
    columns: Columns,
    expectation: Expectation,
    row: Record,
    position: int,
    fault: str,
    count: int,
) -> UserError:
    hint = ""
    cell = row.cells[position]
    if fault == TEXT and number(cell, "comma") is not None:
        hint = "If the comma starts the fraction, set data.decimal=comma. "
    elif fault == TEXT and not columns.header and row.line == columns.lines_before_rows + 1:
        hint = "If this line is a header, set data.header=true. "
    place = f"{source}, line {row.line}"
    return bad_cell(place, columns.names[position], position, cell, fault, count, expectation, hint)


def bad_cell(
    place: str,
    name: str,
    position: int,
    cell: str,
    fault: str,
    count: int,
    expectation: Expectation,
    hint: str = "",
) -> UserError:
    """The message for a cell.

    Args:
        place: the file and the line or row.
        name: the column's.
        count: cells with this fault in the column.
        hint: a likelier remedy than those of the fault.
    """
    remedies = PREDICTION_REMEDIES if expectation.at_prediction else TRAINING_REMEDIES
    remedy = hint + remedies[fault](name)
    if fault == UNKNOWN:
        fault += f" ({listed(list(expectation.values[position]))})"
    if fault == MISSING_FEATURE and len(expectation.counts) > 1:
        counts = ", ".join(f"{name!r} {count:,}" for name, count in expectation.counts.items())
        remedy = f"Missing values by column: {counts}. {remedy}"
    return UserError(
        f"{place}, column {name!r}: {shown(cell)} {fault} "
        f"({count} such {'cell' if count == 1 else 'cells'} in this column). {remedy}"
    )


def shown(cell: str) -> str:
    """A cell for a message."""
    if not cell:
        return "an empty cell"
    return repr(cell if len(cell) <= SHOWN_CHARACTERS else cell[:SHOWN_CHARACTERS] + "...")
