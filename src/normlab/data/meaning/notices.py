"""What to say of the way in which a column's cells are written, as its first rows show it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from normlab.config.typed import setting
from normlab.data.file.columns import Selection
from normlab.data.file.faults import shown
from normlab.data.file.numbers import is_coded, is_missing, number
from normlab.data.file.outline import Outline
from normlab.data.schema import Column

MOST = 0.9  # share of a column's cells that have to be alike
ENOUGH = 5  # cells
FORMS = {
    "percent": "percent signs are left out: {cell} is read as {value:g}.",
    "currency": "currency signs are left out: {cell} is read as {value:g}.",
    "date": "dates are read as days since 1970: {cell} is {value:g}.",
}
# Numbers in dresses that are not read: what they are, and what to do.
DRESSES = (
    (r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}(?:[ T].*)?", "dates", "Write them as 2026-11-25"),
    (r"[+-]?0[xX][0-9a-fA-F]+", "hexadecimal numbers", "Write them in decimal"),
    (r"[+-]?[0-9.]+[dD][+-]?[0-9]+", "numbers with a Fortran exponent", "Write 1e3 for 1D3"),
    (r"(?:[^0-9+-]{1,9}[+-]?[0-9.,]*[0-9]|[+-]?[0-9][0-9.,]*[^0-9]{1,9})", "", ""),
)


def notices(
    outline: Outline, columns: Mapping[int, Column], selection: Selection, source: str
) -> list[str]:
    """One message for each input column whose way of writing a user should know of.

    Args:
        columns: the inputs by position.
    """
    messages = []
    for position, column in columns.items():
        cells = outline.cells_of(position, selection.missing_values)
        given = position in outline.columns.types
        found = [_form(column, cells, outline)]
        if not given:
            found += [_coded(column, cells), _dress(column, cells)]
        if column.type == "categorical":
            found.append(_word(column, position, outline, selection))
        place = f"{source}, column {column.name!r}: "
        messages += [place + message for message in found if message]
    return messages


def dressed_names(
    outline: Outline, columns: Mapping[int, Column], selection: Selection
) -> set[str]:
    """Names of the columns whose texts are mostly numbers, so that they are no ids."""
    return {
        column.name
        for position, column in columns.items()
        if _dress(column, outline.cells_of(position, selection.missing_values))
    }


def _form(column: Column, cells: Sequence[str], outline: Outline) -> str | None:
    signs = outline.columns.dialect.signs
    value = number(cells[0], signs, column.form) if cells else None
    if column.form == "plain" or value is None:
        return None
    return FORMS[column.form].format(cell=cells[0], value=value)


def _coded(column: Column, cells: Sequence[str]) -> str | None:
    if column.type == "categorical" or not any(map(is_coded, cells)):
        return None
    example = next(filter(is_coded, cells))
    return (
        f"numbers such as {example} begin with 0, as codes do. "
        f"{setting('data.categorical', [column.name])} keeps them as they stand; "
        f"{setting('data.numeric', [column.name])} reads them as numbers without this caution."
    )


def _dress(column: Column, cells: Sequence[str]) -> str | None:
    """Texts of which most are a number with a common mark."""
    if column.type != "categorical" or len(cells) < ENOUGH:
        return None
    for pattern, what, remedy in DRESSES:
        alike = [cell for cell in cells if re.fullmatch(pattern, cell)]
        if len(alike) < MOST * len(cells):
            continue
        if not what:
            marks = {re.sub(r"^[+-]?[0-9][0-9.,]*|[+-]?[0-9][0-9.,]*$", "", cell) for cell in alike}
            if len(marks) > 1 or len(set(alike)) < ENOUGH:  # A11, A12: codes
                continue
            mark = marks.pop().strip()
            if re.fullmatch(r"[A-Za-z_]+", mark) and alike[0].startswith(mark):
                continue
            what, remedy = f"numbers with {mark!r}", f"Write the numbers without {mark!r}"
        return (
            f"most values are {what}, such as {shown(alike[0])}, and are read as categories. "
            f"{remedy}, to have numbers."
        )
    return None


def _word(column: Column, position: int, outline: Outline, selection: Selection) -> str | None:
    """A spelling of a missing value that looks like one of the column's values."""
    words = list(_spelled(position, outline, selection))
    values = [value for value in column.categories if isinstance(value, str)]
    if not words or not values or any(len(value) != len(words[0]) for value in values):
        return None
    others = [s for s in selection.missing_values if s.lower() != words[0].lower()]
    return (
        f"{words[0]!r} counts as a missing value. If it is a value of its own, as "
        f"{values[0]!r} is, set {setting('data.missing_values', others)}."
    )


def _spelled(position: int, outline: Outline, selection: Selection) -> Iterator[str]:
    for row in outline.first.sample:
        cell = row[position] if position < len(row) else ""
        if cell.isalpha() and is_missing(cell, selection.missing_values):
            yield cell
