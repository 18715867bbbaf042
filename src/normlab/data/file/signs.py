"""Which sign starts a number's fraction and which one marks its thousands.

2,875 is a small number to some and a large one to others. What the file proves is taken; what it
leaves open is asked, for no model would show the mistake.
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
from normlab.errors import UserError

DecimalSetting = Literal["auto"] | Decimal
ThousandsSetting = Literal["auto"] | Thousands

SIGN: dict[Decimal, str] = {"point": ".", "comma": ","}
_OTHER: dict[str, Decimal] = {"point": "comma", "comma": "point"}
_THOUSANDS: tuple[Thousands, ...] = ("point", "comma", "space", "apostrophe")
_DECIMALS: tuple[Decimal, ...] = ("point", "comma")
_MARKS = re.compile(f"[{CURRENCIES}%]")
# One to three digits, not beginning with 0, and exactly three behind the sign.
_OPEN = {
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

    Raises:
        UserError: the file leaves open which sign is which.
    """
    columns = _columns(rows)
    notices: list[str] = []
    if decimal == "auto":
        decimal = _OTHER.get(thousands) or _decimal(columns, separator, thousands, known, source)
        if separator == "comma" and thousands == "auto" and known is None:
            notices = _notice_of_points(columns, source)
    if thousands == "auto":
        found: list[Thousands] = [
            t for t in _THOUSANDS if t != decimal and _marks(columns, decimal, t)
        ]
        notices += [
            f"{source}: the {sign} within numbers is read as a thousands sign "
            f"(data.thousands={sign})."
            for sign in found[:1]
        ]
        return Signs(decimal, found[0] if found else "none"), notices
    return Signs(decimal, thousands), notices


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells of each column that hold a value, without the marks of money and percent."""
    below = rows[1:] or rows  # the first record may be a header
    columns: list[list[str]] = [[] for _ in range(max(map(len, below), default=0))]
    for row in below:
        for column, cell in zip(columns, row, strict=False):
            if not is_missing(cell):
                column.append(_MARKS.sub("", cell).strip())
    return columns


def _decimal(
    columns: Sequence[Sequence[str]],
    separator: str,
    thousands: ThousandsSetting,
    known: Signs | None,
    source: str,
) -> Decimal:
    if separator == "comma":
        return "point"
    cells = {cell for column in columns for cell in column}
    proven: list[Decimal] = [decimal for decimal in _DECIMALS if _proves(cells, decimal)]
    if known is not None and (known.decimal in proven or not proven):
        return known.decimal
    if proven:
        return proven[0]
    for decimal in _DECIMALS:
        example = _open(columns, decimal)
        if example is not None:
            if thousands == "auto":
                raise _ask(example, decimal, source)
            return decimal
    return "point"


def _proves(cells: Collection[str], decimal: Decimal) -> bool:
    """Whether some number can only be read with this sign before its fraction."""
    both = Signs(decimal, _OTHER[decimal])
    sign, other = SIGN[decimal], SIGN[_OTHER[decimal]]
    return any(
        (sign in cell and not _OPEN[decimal].fullmatch(cell) and number(cell, both) is not None)
        or (cell.count(other) > 1 and grouped(both).fullmatch(cell) is not None)
        for cell in cells
    )


def _open(columns: Sequence[Sequence[str]], decimal: Decimal) -> str | None:
    """A number of a column of numbers that may have a fraction or thousands."""
    for column in columns:
        if all(number(cell, Signs(decimal)) is not None for cell in column):
            for cell in column:
                if _OPEN[decimal].fullmatch(cell):
                    return cell
    return None


def _marks(columns: Sequence[Sequence[str]], decimal: Decimal, thousands: Thousands) -> bool:
    """Whether a column holds numbers alone only if this sign stands between thousands."""
    signs = Signs(decimal, thousands)
    return any(
        any(number(cell, Signs(decimal)) is None for cell in column)
        and all(number(cell, signs) is not None for cell in column)
        for column in columns
    )


def _notice_of_points(columns: Sequence[Sequence[str]], source: str) -> list[str]:
    example = _open(columns, "point")
    if example is None or _proves({cell for column in columns for cell in column}, "point"):
        return []
    return [
        f"{source}: all numbers with a point have three digits behind it, as {example} has. They "
        f"are read as fractions; data.thousands=point reads them as thousands."
    ]


def _ask(example: str, decimal: Decimal, source: str) -> UserError:
    return UserError(
        f"{source}: {example} may be {example.replace(SIGN[decimal], '')} or a number with three "
        f"decimals, and no other number of the file tells. Set data.thousands={decimal} if the "
        f"{decimal} marks thousands, or data.decimal={decimal} if it starts a fraction."
    )
