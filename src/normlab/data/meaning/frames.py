"""A table in memory, found by its columns' names, as the rows that a trained model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.file.cells import typed_cells
from normlab.data.file.columns import Columns
from normlab.data.file.numbers import Signs, listed
from normlab.data.file.records import Dialect
from normlab.data.meaning.encode import encoded, is_text
from normlab.data.schema import Schema
from normlab.errors import UserError


def rows_of(schema: Schema, table: Any) -> NDArray[np.float32]:
    """The rows (n, features) of a table in memory, found by name, as a model takes them.

    Args:
        table: a DataFrame of polars or pandas, a dict of columns, or a list of dicts.

    Raises:
        ValueError: a column is absent, or holds what the model cannot take.
    """
    frame = _as_frame(schema, table)
    positions = tuple(range(len(schema.features)))
    columns = Columns(schema.features, None, positions, {}, Dialect(), True, 0)
    as_text = {p for p in positions if is_text(schema.columns[p])}
    try:
        lazy = frame.lazy().select(pl.nth(p).alias(str(p)) for p in positions)
        lazy = typed_cells(lazy, columns, schema.missing_values, as_text, "the table")
    except UserError as error:
        raise ValueError(str(error)) from error
    types = lazy.collect_schema()
    signs = Signs(schema.decimal, schema.thousands)
    rows = lazy.select(
        encoded(pl.col(str(p)), column, types[str(p)] == pl.Float64, signs).alias(str(p))
        for p, column in enumerate(schema.columns)
    )
    matrix = rows.collect().to_numpy(order="c", writable=True)
    for column, values in zip(schema.columns, matrix.T, strict=True):
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
    return matrix


def _as_frame(schema: Schema, table: Any) -> pl.DataFrame:
    """The features' columns in their order."""
    names = schema.features
    if isinstance(table, pl.DataFrame):
        columns = {name: table[name] for name in names if name in table.columns}
    elif isinstance(table, Mapping) or hasattr(table, "columns"):
        keys = {str(key): key for key in (table if isinstance(table, Mapping) else table.columns)}
        columns = {name: _series(table[keys[name]]) for name in names if name in keys}
    else:
        rows = [_named(row, names) for row in table]
        found = [name for name in names if not rows or any(name in row for row in rows)]
        columns = {name: _series([row.get(name) for row in rows]) for name in found}
    absent = [name for name in names if name not in columns]
    if absent:
        raise ValueError(f"the rows lack the columns {listed(absent)}")
    for name, column in zip(names, schema.columns, strict=True):
        if columns[name].dtype == pl.Boolean and not is_text(column):
            columns[name] = columns[name].cast(pl.Float64)  # True is 1, unless it is text
    return pl.DataFrame(columns)


def _named(row: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    """A row by the columns' names."""
    if isinstance(row, Mapping):
        return row
    if isinstance(row, str) or not hasattr(row, "__len__"):
        raise ValueError(
            f"the rows must be a list of rows, each of {len(names)} values; got {row!r} for a "
            f"row: write [[...]] for a single one"
        )
    if len(row) != len(names):
        raise ValueError(f"rows must have {len(names)} values: {listed(names)}")
    return dict(zip(names, row, strict=True))


def _series(values: Any) -> pl.Series:
    return pl.Series(list(values), strict=False)
