"""A stored schema applied to another file, batch by batch: what a trained model predicts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.columns import Columns
from normlab.data.detection import Format
from normlab.data.encoding import encode, numbers
from normlab.data.faults import Expectation, find_fault
from normlab.data.label import label_codes
from normlab.data.matching import expectation_of, matched_columns, positions_of
from normlab.data.parquet import find_parquet_fault, parquet_batches
from normlab.data.schema import Schema
from normlab.data.source import Source, holds, opened
from normlab.data.streaming import text_batches
from normlab.errors import UserError

# Of the file, whichever is less: some 100 MB of text with what is made of it.
BATCH_CELLS, BATCH_ROWS = 1 << 21, 1 << 17


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file.

    Attributes:
        rows: float32 (n, features), as in `Table.rows`.
        labels: float32 (n,), each 0 or 1; None where they were not asked for.
        index: int64 (n,), the rows' places in the file, counted from 0 without header and blank
            lines. Under the policy "drop" rows with a missing value are left out.
        start: the place of the first row that was read.
        n_read: rows that were read, with those left out.
        kept: the columns that were asked for, by name, of all rows that were read.
        columns: the file's outline.
        quoted: whether some cell of the file may hold a separator.
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.float32] | None
    index: NDArray[np.int64]
    start: int
    n_read: int
    kept: pl.DataFrame
    columns: Columns
    quoted: bool


@dataclass(frozen=True)
class Keep:
    """Columns of the file to carry along, whatever the model does with them.

    Attributes:
        names: of the columns; None for all.
        numbers: whether the model's numeric columns are carried as float64 where the file is text;
            else as the text that stands there.
    """

    names: Sequence[str] | None = ()
    numbers: bool = False


def read_for(
    schema: Schema,
    path: str | Path,
    format: Format | None = None,
    labels: bool = False,
    batch_rows: int | None = None,
    keep: Keep | None = None,
) -> Iterator[Batch]:
    """The rows of another file, as a model that was trained under this schema takes them.

    A category that training has not seen gets the code for that; columns that the schema does not
    know are ignored. Memory is bounded by the batch, whatever the file's size.

    Args:
        format: how the file is written, where it is not to be detected.
        labels: whether to read the label's column too; else it may be absent, or hold anything.
        batch_rows: about how many rows a batch has; by default as many as hold `BATCH_CELLS`, and
            `BATCH_ROWS` at most.
        keep: columns to carry along; none by default.

    Raises:
        UserError: the file cannot be read, lacks a column, or holds a cell that the model cannot
            take; perhaps after some batches.
    """
    path, format, keep = Path(path), format or Format(), keep or Keep()
    with opened(path, format.encoding) as source:
        columns, sources = matched_columns(source, schema, format, labels)
        batch_rows = batch_rows or max(1, min(BATCH_ROWS, BATCH_CELLS // len(columns.names)))
        kept = positions_of(keep.names, columns, source.name)
        numeric = {
            position: column
            for position, column in zip(sources, schema.columns, strict=True)
            if column.type == "numeric"
        }
        expectation = expectation_of(schema, columns, sources)
        decimal = columns.dialect.decimal
        # Without a quotation mark anywhere no cell holds a separator.
        quoted = source.parquet or columns.dialect.quote == "single" or holds(source, b'"')
        start = 0
        spellings = schema.missing_values
        if source.parquet:
            batches = parquet_batches(source, columns, spellings, batch_rows, kept)
        else:
            as_text = () if keep.numbers else kept
            batches = text_batches(source, columns, numeric, spellings, batch_rows, as_text)
        for raw, cells in batches:
            inputs = cells[[str(position) for position in sources]]
            codes = None
            if columns.target is not None:
                codes = label_codes(cells[str(columns.target)], schema.label_values, decimal)
            rows = encode(inputs, schema.columns, decimal)
            missing_label = None if codes is None else cells[str(columns.target)].is_null()
            if _is_faulty(schema, inputs, rows, codes, missing_label):
                raise _fault(source, columns, expectation)
            as_numbers = numeric if keep.numbers and not source.parquet else {}
            carried = pl.DataFrame(
                {
                    columns.names[p]: numbers(cells[str(p)], decimal)
                    if p in as_numbers
                    else raw[str(p)]
                    for p in kept
                }
            )
            index = np.arange(start, start + len(rows))
            batch = Batch(rows, codes, index, start, len(rows), carried, columns, quoted)
            start += len(rows)
            yield _without_missing(batch) if schema.missing == "drop" else batch


def _is_faulty(
    schema: Schema,
    inputs: pl.DataFrame,
    rows: NDArray[np.float32],
    codes: NDArray[np.float32] | None,
    missing_label: pl.Series | None,
) -> bool:
    """Whether some cell is one that the model cannot take."""
    if not np.isfinite(rows).all():
        if schema.missing == "error" or np.isinf(rows).any():
            return True
        if any(series.dtype == pl.Float64 and series.is_nan().any() for series in inputs):
            return True
    if codes is None or missing_label is None:
        return False
    unknown = np.isnan(codes) & ~missing_label.to_numpy()
    return bool(unknown.any() or (schema.missing != "drop" and missing_label.any()))


def _without_missing(batch: Batch) -> Batch:
    known = ~np.isnan(batch.rows).any(1)
    if batch.labels is not None:
        known &= ~np.isnan(batch.labels)
    if known.all():
        return batch
    labels = None if batch.labels is None else batch.labels[known]
    return replace(batch, rows=batch.rows[known], labels=labels, index=batch.index[known])


def _fault(source: Source, columns: Columns, expectation: Expectation) -> UserError:
    find = find_parquet_fault if source.parquet else find_fault
    return find(source, columns, expectation) or UserError(
        f"{source.name} holds a value that the model cannot take. Mend or remove its row."
    )
