"""What a column is likely to be, from its first rows: how its cells are asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from normlab.data.file.columns import Selection
from normlab.data.file.numbers import CURRENCIES, Signs, number
from normlab.data.file.outline import Outline
from normlab.data.schema import ColumnType, Form

_CURRENCY = re.compile(f"[{CURRENCIES}]")


@dataclass(frozen=True)
class Guess:
    """Of one column.

    Attributes:
        is_text: whether its values are texts; else numbers.
        form: how the numbers are written.
        given: the type that the user names.
        most_integers: so many different whole numbers at most are categories.
    """

    is_text: bool
    form: Form = "plain"
    given: ColumnType | None = None
    most_integers: int = 0


def guess(outline: Outline, selection: Selection) -> dict[int, Guess]:
    """A guess for each input and for the target, by position."""
    columns = outline.columns
    guesses = {}
    for position in columns.needed:
        cells = outline.cells_of(position, selection.missing_values)
        given = columns.types.get(position)
        if position == columns.target or given == "categorical":
            guesses[position] = Guess(True, given="categorical")
            continue
        form = form_of(cells, columns.dialect.signs)
        is_text = form is None and given != "numeric"
        most = selection.integer_categories if given is None else 0
        guesses[position] = Guess(is_text, form or "plain", given, most)
    return guesses


def form_of(cells: Sequence[str], signs: Signs) -> Form | None:
    """The form in which all cells are numbers; None where there is none."""
    forms: list[Form] = ["plain"]
    if all("%" in cell for cell in cells):  # 48 % and 0.48 together are not of one kind
        forms.append("percent")
    if any(_CURRENCY.search(cell) for cell in cells):
        forms.append("currency")
    if any(cell.count("-") > 1 for cell in cells):
        forms.append("date")
    for form in forms:
        if cells and all(number(cell, signs, form) is not None for cell in cells):
            return form
    return None
