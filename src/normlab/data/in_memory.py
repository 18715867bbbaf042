"""A table in memory, found by its columns' names, as the rows that a trained model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.cells import as_text, cleaned
from normlab.data.encoding import encode
from normlab.data.numbers import listed
from normlab.data.schema import Column, Schema


def rows_of(schema: Schema, table: Any) -> NDArray[np.float32]:
    """The rows (n, features) of a table in memory, found by name, as a model takes them.

    Args:
        table: a DataFrame of polars or pandas, a dict of columns, or a list of dicts.

    Raises:
        ValueError: a column is absent, or holds what the model cannot take.
    """
    frame = _as_frame(schema, table)
    cells = [_as_cells(frame[c.name], c).alias(str(i)) for i, c in enumerate(schema.columns)]
    inputs = cleaned(pl.DataFrame(cells), schema.missing_values, blank_rows=True)
    rows = encode(inputs, schema.columns)
    for column, values in zip(schema.columns, rows.T, strict=True):
        if np.isinf(values).any():
            row = int(np.isinf(values).argmax())
            given = frame[column.name][row]
            wanted = "one of " + listed(column.categories) if column.categories else "a number"
            raise ValueError(f"row {row}, column {column.name!r}: {given!r} is not {wanted}")
        if schema.missing != "impute" and np.isnan(values).any():
            row = int(np.isnan(values).argmax())
            raise ValueError(
                f"row {row}, column {column.name!r}: a missing value, which the model was trained "
                f"without (data.missing={schema.missing})"
            )
    return rows


def _as_frame(schema: Schema, table: Any) -> pl.DataFrame:
    if isinstance(table, pl.DataFrame):
        frame = table
    elif isinstance(table, Mapping) or hasattr(table, "columns"):
        names = [name for name in schema.features if name in table]
        frame = pl.DataFrame({name: pl.Series(list(table[name]), strict=False) for name in names})
    else:
        rows = list(table)
        if rows and not isinstance(rows[0], Mapping):
            n_features = len(schema.features)
            if any(len(row) != n_features for row in rows):
                raise ValueError(f"rows must have {n_features} values: {listed(schema.features)}")
            rows = [dict(zip(schema.features, row, strict=True)) for row in rows]
        names = [name for name in schema.features if not rows or any(name in row for row in rows)]
        frame = pl.DataFrame(
            {n: pl.Series([row.get(n) for row in rows], strict=False) for n in names}
        )
    absent = [name for name in schema.features if name not in frame.columns]
    if absent:
        raise ValueError(f"the rows lack the columns {listed(absent)}")
    return frame


def _as_cells(series: pl.Series, column: Column) -> pl.Series:
    if column.categories and isinstance(column.categories[0], str):
        return as_text(series)
    kind = series.dtype
    numeric = kind.is_numeric() or kind in (pl.Null, pl.Boolean)
    return series.cast(pl.Float64 if numeric else pl.String)
