"""Cells of numbers and text become the float32 matrix of a Table, as a schema says.

The same expressions read a table to train on and rows to predict, so a value has one meaning.
"""

from __future__ import annotations

import polars as pl

from normlab.data.file.numbers import Signs, as_number
from normlab.data.schema import Column, Form


def encoded(cells: pl.Expr, column: Column, is_number: bool, signs: Signs) -> pl.Expr:
    """float32: a number, 0 or 1, or the code of a category; null where missing.

    A value that is none of a boolean's, and text in a numeric column, is infinite: the caller
    refuses it, as it refuses a number that float32 cannot hold.

    Args:
        cells: the column, null where missing.
        is_number: whether it is float64; else it is text.
        signs: within numbers that are written as text.
    """
    if column.type == "numeric":
        return numeric(cells, is_number, signs, column.form).cast(pl.Float32)
    n_known = len(column.categories)
    other = float("inf") if column.type == "boolean" else float(n_known)
    if isinstance(column.categories[0], str):
        text = cells.str.to_lowercase() if column.type == "boolean" else cells
        known = pl.Enum(list(map(str, column.categories)))
        code = text.cast(known, strict=False).to_physical().cast(pl.Float32).fill_null(other)
    else:
        value = numeric(cells, is_number, signs)
        known = [float(value) for value in column.categories]
        codes = [float(code) for code in range(n_known)]
        code = value.replace_strict(known, codes, default=other, return_dtype=pl.Float32)
    return pl.when(cells.is_not_null()).then(code)


def numeric(cells: pl.Expr, is_number: bool, signs: Signs, form: Form = "plain") -> pl.Expr:
    """float64: infinite where a text is no number, null where it is missing."""
    if is_number:
        return cells
    value = as_number(cells, signs, form)
    return pl.when(value.is_null() & cells.is_not_null()).then(float("inf")).otherwise(value)


def is_text(column: Column) -> bool:
    """Whether a column's cells are compared as text, however they are stored."""
    return bool(column.categories) and isinstance(column.categories[0], str)
