"""Columns of numbers and text become the float32 matrix of a Table, as a schema says.

The same code reads a table to train on and rows to predict, so a value has one meaning in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.cells import as_text, to_numbers
from normlab.data.schema import Column


def encode(
    frame: pl.DataFrame, columns: Sequence[Column], decimal: str = "point"
) -> NDArray[np.float32]:
    """The rows (n, columns) in C order, nan where a value is missing.

    A value that is none of a boolean's, and text in a numeric column, is infinite: the caller
    refuses it, as it refuses a number that float32 cannot hold.

    Args:
        frame: the columns in their order, each float64 or text, null where missing.
        columns: what they mean.
    """
    rows = np.empty((frame.height, len(columns)), np.float32)
    with np.errstate(over="ignore"):  # infinite
        for i, (series, column) in enumerate(zip(frame, columns, strict=True)):
            if column.type == "numeric":
                values = numbers(series, decimal)
            else:
                values = encode_column(series, column, decimal)
            rows[:, i] = values.to_numpy()
    return rows


def encode_column(series: pl.Series, column: Column, decimal: str = "point") -> pl.Series:
    """float32 (n,): a number, 0 or 1, or the code of a category; null where missing."""
    if column.type == "numeric":
        return numbers(series, decimal).cast(pl.Float32)
    other = np.inf if column.type == "boolean" else len(column.categories)
    missing = series.is_null()
    if isinstance(column.categories[0], str):
        texts = as_text(series)
        if column.type == "boolean":
            texts = texts.str.to_lowercase()
        codes = texts.cast(pl.Enum(list(map(str, column.categories))), strict=False).to_physical()
        coded = codes.cast(pl.Float32).fill_null(other)
    else:
        known = np.array(column.categories, np.float64)
        values = numbers(series, decimal).fill_null(np.nan).to_numpy()
        places = np.searchsorted(known, values).clip(max=len(known) - 1)
        found = known[places] == values
        coded = pl.Series(series.name, np.where(found, places, other), pl.Float32)
    return coded.set(missing, None) if missing.any() else coded


def numbers(series: pl.Series, decimal: str = "point") -> pl.Series:
    """float64 (n,): infinite where a text is no number, null where it is missing."""
    if series.dtype != pl.String:
        return series.cast(pl.Float64)
    values, is_text = to_numbers(series, decimal)
    return values.set(is_text, float("inf")) if is_text.any() else values
