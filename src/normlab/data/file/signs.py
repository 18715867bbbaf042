"""Which sign starts a number's fraction and which one marks its thousands.

2,875 is a small number to some and a large one to others. What the first lines prove is taken, and
what they leave open is a guess, which `thousands.py` holds against the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal

from normlab.data.file.numbers import (
    CURRENCIES,
    Decimal,
    Signs,
    Thousands,
    grouped,
    is_missing,
    number,
)

DecimalSetting = Literal["auto"] | Decimal
ThousandsSetting = Literal["auto"] | Thousands

SIGN: dict[Decimal, str] = {"point": ".", "comma": ","}
OTHER: dict[str, Decimal] = {"point": "comma", "comma": "point"}
_THOUSANDS: tuple[Thousands, ...] = ("point", "comma", "space", "apostrophe")
MARKS = re.compile(f"[{CURRENCIES}%]")
# One to three digits, not beginning with 0, and exactly three behind the sign: nobody writes 0,123
# for 123.
OPEN = {
    "point": re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}"),
    "comma": re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}"),
}


def signs_of(
    rows: Sequence[Sequence[str]],
    separator: str,
    decimal: DecimalSetting,
    thousands: ThousandsSetting,
    known: Signs | None,
    source: str,
) -> tuple[Signs, list[str]]:
    """The signs within numbers, and what to say of them.

    Args:
        rows: the first records.
        separator: between cells; a comma there starts no fraction, unless the user says so.
        decimal, thousands: what the user says.
        known: the signs of the training file, where a model is applied.
        source: the file's name, for messages.
    """
    columns = _columns(rows)
    if decimal == "auto":
        decimal = OTHER.get(thousands) or _decimal(columns, separator, known)
    if thousands != "auto":
        return Signs(decimal, thousands), []
    found: list[Thousands] = [t for t in _THOUSANDS if t != decimal and _marks(columns, decimal, t)]
    if not found and known is not None and known.decimal == decimal:
        return known, []  # the first lines may have no thousands
    notices = [
        f"{source}: the {sign} within numbers is read as a thousands sign (data.thousands={sign})."
        for sign in found[:1]
    ]
    return Signs(decimal, found[0] if found else "none"), notices


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells of each column that hold a value, without the marks of money and percent."""
    below = rows[1:] or rows  # the first record may be a header
    columns: list[list[str]] = [[] for _ in range(max(map(len, below), default=0))]
    for row in below:
        for column, cell in zip(columns, row, strict=False):
            if not is_missing(cell):
                column.append(MARKS.sub("", cell).strip())
    return columns


def _decimal(columns: Sequence[Sequence[str]], separator: str, known: Signs | None) -> Decimal:
    """What is proven, before that what the training file had; else what numbers have."""
    asked: list[Decimal] = ["point"] if separator == "comma" else ["point", "comma"]
    if known is not None:
        asked = [known.decimal, *(decimal for decimal in asked if decimal != known.decimal)]
    cells = {cell for column in columns for cell in column}
    for decimal in asked:
        if _proves(cells, decimal):
            return decimal
    for decimal in asked:
        is_known = known is not None and known.thousands == decimal
        if not is_known and _is_open(columns, decimal):
            return decimal
    return asked[0]


def _proves(cells: Collection[str], decimal: Decimal) -> bool:
    """Whether some number can only be read with this sign before its fraction."""
    both = Signs(decimal, OTHER[decimal])
    sign, other = SIGN[decimal], SIGN[OTHER[decimal]]
    return any(
        (sign in cell and not OPEN[decimal].fullmatch(cell) and number(cell, both) is not None)
        or (cell.count(other) > 1 and grouped(both).fullmatch(cell) is not None)
        for cell in cells
    )


def _is_open(columns: Sequence[Sequence[str]], decimal: Decimal) -> bool:
    """Whether a number of a column of numbers may have a fraction or thousands."""
    return any(
        any(OPEN[decimal].fullmatch(cell) for cell in column)
        and all(number(cell, Signs(decimal)) is not None for cell in column)
        for column in columns
    )


def _marks(columns: Sequence[Sequence[str]], decimal: Decimal, thousands: Thousands) -> bool:
    """Whether a column holds numbers alone only if this sign stands between thousands."""
    signs = Signs(decimal, thousands)
    return any(
        any(number(cell, Signs(decimal)) is None for cell in column)
        and all(number(cell, signs) is not None for cell in column)
        for column in columns
    )
