"""Any two values of a label's column, numbers or text, become class 0 and class 1."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.errors import UserError

# How files write "no value", in lower case.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})
LISTED_VALUES = 5

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def number(text: str) -> float | None:
    """The number that the text spells, infinite where it is too large for float64; else None."""
    return float(text) if _NUMBER.fullmatch(text) else None


def read_labels(
    column: pl.Series, source: str
) -> tuple[NDArray[np.float32], tuple[str | int | float, str | int | float]]:
    """Map the column's two values to 0 and 1 in sorted order.

    Numbers are sorted by value (-1 before 1, and "1" is "1.0"), text by its characters ("<=50K"
    before ">50K", "No" before "Yes").

    Args:
        column: strings (n,) without missing values; its name is the target's.
        source: the file's name, for messages.

    Returns:
        labels: float32 (n,), each 0 or 1.
        classes: the value of class 0 and of class 1, whole numbers as int.

    Raises:
        UserError: the column holds one value, or more than two.
    """
    spellings = column.unique(maintain_order=True).to_list()
    value_of = dict(zip(spellings, _values(spellings), strict=True))
    values = list(dict.fromkeys(value_of.values()))
    if len(values) != 2:
        listed = ", ".join(map(repr, values[:LISTED_VALUES]))
        more = ", ..." if len(values) > LISTED_VALUES else ""
        count = "one value" if len(values) == 1 else f"{len(values)} different values"
        raise UserError(
            f"{source}, column {column.name!r}: the label holds {count} ({listed}{more}), and a "
            f"binary classifier needs two. Choose another data.target or change the rows."
        )
    # Both are numbers or both are text, which the type of the list cannot say.
    negative, positive = sorted(values)  # pyright: ignore[reportArgumentType]
    positives = [spelling for spelling in spellings if value_of[spelling] == positive]
    labels = column.is_in(positives).cast(pl.Float32).to_numpy(writable=True)
    return labels, (negative, positive)


def _values(spellings: list[str]) -> list[str] | list[int | float]:
    numbers = [number(spelling) for spelling in spellings]
    # From 2^53 on float64 merges neighbouring whole numbers: text keeps them apart.
    exact = [value for value in numbers if value is not None and abs(value) < 2**53]
    if len(exact) < len(spellings):
        return spellings
    return [int(value) if value.is_integer() else value for value in exact]
