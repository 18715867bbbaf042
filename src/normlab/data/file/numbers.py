"""Which cells are numbers and which are no value at all: one rule for every step that asks.

Each rule stands twice, for one text (samples, faults, labels) and for a whole column in polars.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple

import polars as pl

from normlab.data.schema import MISSING_VALUES, Form, Value

Decimal = Literal["point", "comma"]
Thousands = Literal["none", "comma", "point", "space", "apostrophe"]

# What stands around cells: Python's and polars' own idea of it differs beyond these. The last
# ones are spaces at which no line is broken; spreadsheets put them beside numbers.
WHITESPACE = " \t\r\n\v\f\u00a0\u2009\u202f"
CURRENCIES = "$€£¥₹"
_SPACES = "[ \u00a0\u2009\u202f]"
_DECIMAL = {"point": r"\.", "comma": ","}
_THOUSANDS = {"comma": ",", "point": r"\.", "space": _SPACES, "apostrophe": "['\u2019]"}
_PLAIN = r"[+-]?(?:[0-9]+D?[0-9]*|D[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED = r"[+-]?[1-9][0-9]{0,2}(?:T[0-9]{3})+(?:D[0-9]*)?"
# What a form writes around the number; Python's `re` and polars' regex engine read all this alike.
_MARKS = {"percent": f"{_SPACES}*%$", "currency": f"{_SPACES}*[{CURRENCIES}]{_SPACES}*"}
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DATE = re.compile(rf"{_DAY}(?:[T ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?)?")
_DATE_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%.f")
MS_PER_DAY = 86_400_000


class Signs(NamedTuple):
    """How a file writes numbers: the sign before a fraction, and the one between thousands."""

    decimal: Decimal = "point"
    thousands: Thousands = "none"


PLAIN_SIGNS = Signs()


@cache
def plain(decimal: Decimal = "point") -> re.Pattern[str]:
    """A number without thousands signs."""
    return re.compile(_PLAIN.replace("D", _DECIMAL[decimal]))


@cache
def grouped(signs: Signs) -> re.Pattern[str]:
    """A number whose whole part is cut into thousands."""
    pattern = _GROUPED.replace("T", _THOUSANDS[signs.thousands])
    return re.compile(pattern.replace("D", _DECIMAL[signs.decimal]))


def number(text: str, signs: Signs = PLAIN_SIGNS, form: Form = "plain") -> float | None:
    """The number that the text spells, infinite where it is too large for float64; else None.

    Args:
        form: what may stand around it; a plain number is one in every form but a date's.
    """
    if form == "date":
        return _days(text)
    if form != "plain":
        text = re.sub(_MARKS[form], "", text, count=1)
    if signs.thousands != "none" and grouped(signs).fullmatch(text):
        text = re.sub(_THOUSANDS[signs.thousands], "", text)
    if not plain(signs.decimal).fullmatch(text):
        return None
    return float(text.replace(",", "."))


def as_number(text: pl.Expr, signs: Signs = PLAIN_SIGNS, form: Form = "plain") -> pl.Expr:
    """The same for a column: float64, null where the text is no number, infinite for `inf` too."""
    if form == "date":
        spaced = text.str.replace("T", " ", literal=True)
        dates = [spaced.str.to_datetime(f, strict=False, time_unit="ms") for f in _DATE_FORMATS]
        is_date = text.str.contains(f"^{_DATE.pattern}$")
        return pl.when(is_date).then(days(pl.coalesce(dates)))
    if form != "plain":
        text = text.str.replace(_MARKS[form], "")
    if signs.thousands != "none":
        whole = text.str.replace_all(_THOUSANDS[signs.thousands], "")
        text = pl.when(text.str.contains(f"^{grouped(signs).pattern}$")).then(whole).otherwise(text)
    if signs.decimal == "comma":
        # A point that is left marks no thousands, so this is no number.
        text = pl.when(~text.str.contains(".", literal=True)).then(text)
        text = text.str.replace(",", ".", literal=True)
    value = text.cast(pl.Float64, strict=False)
    return pl.when(value.is_not_nan()).then(value)


def spells_infinity(text: pl.Expr) -> pl.Expr:
    """Of texts that `as_number` takes for infinite: whether they are words, not digits."""
    return text.str.contains("[nN]")


def days(moment: pl.Expr) -> pl.Expr:
    """Days since 1970 of dates and times."""
    return moment.cast(pl.Datetime("ms")).dt.timestamp("ms") / MS_PER_DAY


def _days(text: str) -> float | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # 30 February
        return None
    return (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1) / MS_PER_DAY


def is_missing(text: str, spellings: Collection[str] = MISSING_VALUES) -> bool:
    """Whether a stripped cell is blank or one of the spellings, in any case of its letters."""
    return not text or text.lower() in {spelling.lower() for spelling in spellings}


def missing_numbers(spellings: Collection[str], signs: Signs = PLAIN_SIGNS) -> list[float]:
    """The numbers that stand for a missing value: -999 is also -999.0, and -999,0."""
    both = [(number(text), number(text, signs)) for text in spellings]
    return sorted({value for pair in both for value in pair if value is not None})


def is_coded(text: str) -> bool:
    """Whether a text of digits begins with a zero, as postal codes do and quantities do not."""
    return text.isdecimal() and len(text) > 1 and text[0] == "0"


def values_of(spellings: Sequence[str], signs: Signs = PLAIN_SIGNS) -> list[Value]:
    """What the texts mean: numbers where all are, whole ones as int; else the texts themselves."""
    numbers = [number(spelling, signs) for spelling in spellings]
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
