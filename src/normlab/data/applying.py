"""A stored schema applied to another file, batch by batch: what a trained model predicts from.

Columns are found by name, in any order and among others; in a file without a header by position.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.cells import Unreadable, batches_of_cells, holds_nul
from normlab.data.columns import Columns, Header, numbered, read_header
from normlab.data.detection import Format, detect
from normlab.data.encoding import encode
from normlab.data.faults import Expectation, Role, find_fault, malformed
from normlab.data.label import label_codes
from normlab.data.numbers import listed
from normlab.data.parquet import find_parquet_fault, parquet_batches, parquet_names
from normlab.data.records import Dialect, ragged
from normlab.data.schema import Schema
from normlab.data.source import Source, opened
from normlab.errors import UserError

BATCH_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file.

    Attributes:
        rows: float32 (n, features), as in `Table.rows`.
        labels: float32 (n,), each 0 or 1; None where they were not asked for.
        index: int64 (n,), the rows' places in the file, counted from 0 without header and blank
            lines. Under the policy "drop" rows with a missing value are left out.
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.float32] | None
    index: NDArray[np.int64]


def read_for(
    schema: Schema,
    path: str | Path,
    format: Format | None = None,
    labels: bool = False,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[Batch]:
    """The rows of another file, as a model that was trained under this schema takes them.

    A category that training has not seen gets the code for that; columns that the schema does not
    know are ignored. Memory is bounded by the batch, whatever the file's size.

    Args:
        format: how the file is written, where it is not to be detected.
        labels: whether to read the label's column too; else it may be absent, or hold anything.
        batch_rows: about how many rows a batch has.

    Raises:
        UserError: the file cannot be read, lacks a column, or holds a cell that the model cannot
            take; perhaps after some batches.
    """
    path, format = Path(path), format or Format()
    with opened(path, format.encoding) as source:
        columns, sources = _columns(source, schema, format, labels)
        expectation = _expectation(schema, columns, sources)
        decimal = columns.dialect.decimal
        start = 0
        for frame in _cells(source, columns, schema, batch_rows):
            inputs = frame.select([str(position) for position in sources])
            rows = encode(inputs, schema.columns, decimal)
            codes = None
            if columns.target is not None:
                codes = label_codes(frame[str(columns.target)], schema.label_values, decimal)
            index = np.arange(start, start + len(rows))
            start += len(rows)
            faulty = np.isinf(rows).any() or any(
                series.is_nan().any() for series in inputs if series.dtype == pl.Float64
            )
            missing = np.isnan(rows).any(1)
            if schema.missing == "error":
                faulty |= missing.any()
            if codes is not None:
                unknown = np.isnan(codes)
                missing_label = frame[str(columns.target)].is_null().to_numpy()
                faulty |= (unknown & ~missing_label).any()
                faulty |= schema.missing != "drop" and missing_label.any()
                missing |= missing_label if schema.missing == "drop" else False
            if faulty:
                raise _fault(source, columns, expectation)
            if schema.missing == "drop" and missing.any():
                rows, index = rows[~missing], index[~missing]
                codes = None if codes is None else codes[~missing]
            yield Batch(rows, codes, index)


def _columns(
    source: Source, schema: Schema, format: Format, labels: bool
) -> tuple[Columns, list[int]]:
    """The file's outline, and the position of each feature."""
    if source.parquet:
        header, has_header, dialect = Header(parquet_names(source)), True, Dialect()
    else:
        if format.header == "auto" and schema.file_columns == numbered(len(schema.file_columns)):
            format = replace(format, header=False)  # as in training: there are no names to find
        detected = detect(source, format, [*schema.features, *([schema.target] * labels)])
        header, has_header, dialect = (
            read_header(source, detected),
            detected.header,
            detected.dialect,
        )
    names, lines = header.names, header.lines_before_rows
    positions = (
        _by_name(names, schema, labels, source.name)
        if has_header
        else _by_position(names, schema, labels, source.name)
    )
    sources = [positions[name] for name in schema.features]
    target = positions[schema.target] if labels else None
    return Columns(names, target, tuple(sorted(sources)), {}, dialect, has_header, lines), sources


def _by_name(names: Sequence[str], schema: Schema, labels: bool, source: str) -> dict[str, int]:
    found = {name: position for position, name in enumerate(names)}
    needed = [*schema.features, *([schema.target] if labels else [])]
    absent = [name for name in needed if name not in found]
    if not absent:
        return found
    spare = [name for name in names if name not in schema.file_columns]
    lower = {name.lower(): name for name in spare}
    renamed = []
    for name in absent:
        close = difflib.get_close_matches(name.lower(), lower, 1)
        renamed += [f"{lower[close[0]]!r} to {name!r}"] if close else []
    hint = f"Rename {', '.join(renamed)}." if renamed else "Add them."
    if not renamed and spare:
        hint = f"It has {listed(spare)}, unknown to the model: rename those that are meant."
    raise UserError(
        f"{source}, line 1: the header lacks {listed(absent)}, which the model needs. {hint} If "
        f"the file has no header, set header=false."
    )


def _by_position(names: Sequence[str], schema: Schema, labels: bool, source: str) -> dict[str, int]:
    """Columns in the order of the training file, whose label may be absent where it is no input."""
    expected = schema.file_columns
    if len(names) == len(expected):
        return {name: position for position, name in enumerate(expected)}
    unlabelled = [name for name in expected if name != schema.target]
    if not labels and len(names) == len(unlabelled):
        return {name: position for position, name in enumerate(unlabelled)}
    without = "" if labels else f" ({len(unlabelled)} without the label)"
    degree = "more" if len(names) > len(expected) else "fewer"
    raise UserError(
        f"{source}: {len(names)} columns and no header, {degree} than the {len(expected)} of the "
        f"training file{without}. Columns without names go by position: give the same columns, or "
        f"a header with their names."
    )


def _expectation(schema: Schema, columns: Columns, sources: Sequence[int]) -> Expectation:
    roles: dict[int, Role] = {}
    values = {}
    for position, column in zip(sources, schema.columns, strict=True):
        roles[position] = "number" if column.type == "numeric" else "text"
        if column.type == "boolean":
            values[position] = column.categories
    if columns.target is not None:
        roles[columns.target] = "label"
        values[columns.target] = [value for group in schema.label_values for value in group]
    return Expectation(
        roles,
        missing=schema.missing != "error",
        missing_label=schema.missing == "drop",
        missing_values=schema.missing_values,
        values=values,
        at_prediction=True,
    )


def _cells(
    source: Source, columns: Columns, schema: Schema, batch_rows: int
) -> Iterator[pl.DataFrame]:
    if source.parquet:
        yield from parquet_batches(source, columns, schema.missing_values, batch_rows)
        return
    checked = False
    try:
        for frame in batches_of_cells(source, columns, schema.missing_values, batch_rows):
            last = frame[str(len(columns.names) - 1)]
            if last.null_count() and not checked:  # a row of too few cells ends in nulls
                checked = True
                if ragged(source, columns.dialect, len(columns.names)):
                    raise _fault(source, columns, Expectation({}))
            if holds_nul(frame):
                raise _fault(source, columns, Expectation({}))
            yield frame
    except Unreadable as error:
        raise malformed(source, columns, str(error)) from error


def _fault(source: Source, columns: Columns, expectation: Expectation) -> UserError:
    find = find_parquet_fault if source.parquet else find_fault
    return find(source, columns, expectation) or UserError(
        f"{source.name} holds a value that the model cannot take. Mend or remove its row."
    )
