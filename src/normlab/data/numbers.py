"""Which cells are numbers and which are no value at all: one rule for every step that asks."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from normlab.data.schema import MISSING_VALUES, Value

SIGNS = {"point": ".", "comma": ","}

# Python's `re` and polars' regex engine read this alike.
POINT = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
COMMA = POINT.replace(r"\.", ",")
PATTERNS = {"point": f"^{POINT}$", "comma": f"^{COMMA}$"}
_NUMBER = {decimal: re.compile(pattern.strip("^$")) for decimal, pattern in PATTERNS.items()}


def number(text: str, decimal: str = "point") -> float | None:
    """The number that the text spells, infinite where it is too large for float64; else None."""
    if not _NUMBER[decimal].fullmatch(text):
        return None
    return float(text.replace(",", "."))


def is_missing(text: str, spellings: Collection[str] = MISSING_VALUES) -> bool:
    """Whether a stripped cell is blank or one of the spellings, in any case of its letters."""
    return not text or text.lower() in {spelling.lower() for spelling in spellings}


def missing_numbers(spellings: Collection[str], decimal: str = "point") -> set[float]:
    """The numbers among the spellings of a missing value: -999 is also -999.0, or -999,0.

    Settings spell them with a point, or as the file does.
    """
    found = (number(text, sign) for text in spellings for sign in {"point", decimal})
    return {value for value in found if value is not None}


def values_of(spellings: Sequence[str], decimal: str = "point") -> list[Value]:
    """What the texts mean: numbers where all are, whole ones as int; else the texts themselves."""
    numbers = [number(spelling, decimal) for spelling in spellings]
    # From 2^53 on float64 merges neighbouring whole numbers: text keeps them apart.
    exact = [value for value in numbers if value is not None and abs(value) < 2**53]
    if len(exact) < len(spellings):
        return list(spellings)
    return [int(value) if value.is_integer() else value for value in exact]


def listed(values: Sequence[object], most: int = 20) -> str:
    """Values for a message: `'a', 'b' and 3 more`."""
    shown = ", ".join(map(repr, values[:most]))
    more = len(values) - most
    return f"{shown} and {more} more" if more > 0 else shown
