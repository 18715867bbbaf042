"""A stored schema applied to another file, batch by batch: what a trained model predicts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.file.cells import LAST, RAW
from normlab.data.file.columns import Columns
from normlab.data.file.dialect import Format
from normlab.data.file.faults import fault
from normlab.data.file.query import Cells
from normlab.data.file.source import holds, opened
from normlab.data.meaning.compare import Comparison
from normlab.data.meaning.encode import encoded, is_text, numeric
from normlab.data.meaning.match import expectation_of, matched, positions_of
from normlab.data.meaning.target import label_code
from normlab.data.schema import Schema

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
    comparison: Comparison | None = None,
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
        comparison: takes note of how the file differs from the training file.

    Raises:
        UserError: the file cannot be read, lacks a column, or holds a cell that the model cannot
            take; perhaps after some batches.
    """
    path, format, keep = Path(path), format or Format(), keep or Keep()
    comparison = comparison or Comparison(schema, path.name)
    with opened(path, format.encoding) as source:
        found = matched(source, schema, format, labels)
        comparison.notices += found.notices
        columns, signs = found.columns, found.columns.dialect.signs
        batch_rows = batch_rows or max(1, min(BATCH_ROWS, BATCH_CELLS // len(columns.names)))
        kept = positions_of(keep.names, columns, source.name)
        pairs = list(zip(found.positions, schema.columns, strict=True))
        as_numbers = {p: c for p, c in pairs if c.type == "numeric"} if keep.numbers else {}
        typed = {p for p, column in pairs if not is_text(column)}
        if not source.parquet:
            plain = {p for p, c in pairs if c.type == "numeric" and c.form != "date"}
            typed &= plain if signs == ("point", "none") else set()
            typed -= set(kept).difference(as_numbers)
            as_numbers = {p: c for p, c in as_numbers.items() if p in kept}
        else:
            as_numbers = {}
        cells = Cells(source, columns, schema.missing_values, typed, kept, "reading")
        has_nul, quoted = (False, True) if source.parquet else holds(source.path, b"\0", b'"')
        if has_nul:
            cells.refuse_nul()
        quoted = quoted or columns.dialect.quote == "single"

        def then(lazy: pl.LazyFrame) -> pl.LazyFrame:
            asked = [pl.col(cells.control)] if cells.control else []
            for i, (p, column) in enumerate(pairs):
                code = encoded(pl.col(str(p)), column, p in cells.numbers, signs)
                asked.append(code.alias(f"input {i}"))
                if column.type == "categorical":
                    asked.append(pl.col(str(p)).alias(f"cell {i}"))
            if columns.target is not None:
                code = label_code(pl.col(str(columns.target)), schema.label_values, signs)
                asked.append(code.alias("label"))
            for p in kept:
                if p in as_numbers:
                    number = numeric(pl.col(str(p)), p in cells.numbers, signs, as_numbers[p].form)
                    asked.append(number.alias(f"{RAW}{p}"))
                else:
                    asked.append(pl.col(f"{RAW}{p}"))
            return lazy.select(asked)

        start = 0
        for frame in cells.batches(then, batch_rows):
            if cells.control:
                cells.refuse_short_rows(frame[LAST])
            rows = frame.select(f"input {i}" for i in range(len(pairs))).to_numpy(order="c")
            codes = frame["label"].to_numpy() if columns.target is not None else None
            carried = frame.select(f"{RAW}{p}" for p in kept)
            carried.columns = [columns.names[p] for p in kept]
            index = np.arange(start, start + len(rows))
            batch = Batch(rows, codes, index, start, len(rows), carried, columns, quoted)
            start += len(rows)
            if schema.missing == "drop":
                batch = _without_missing(batch)
            if _is_faulty(schema, batch):
                raise fault(source, columns, expectation_of(schema, found))
            comparison.see(batch.rows, frame)
            yield batch


def _is_faulty(schema: Schema, batch: Batch) -> bool:
    """Whether some cell of a row that is not left out is one that the model cannot take."""
    if batch.labels is not None and not np.isfinite(batch.labels).all():
        return True
    if np.isfinite(batch.rows).all():
        return False
    return schema.missing == "error" or bool(np.isinf(batch.rows).any())


def _without_missing(batch: Batch) -> Batch:
    known = ~np.isnan(batch.rows).any(1)
    if batch.labels is not None:
        known &= ~np.isnan(batch.labels)
    if known.all():
        return batch
    labels = None if batch.labels is None else batch.labels[known]
    return replace(batch, rows=batch.rows[known], labels=labels, index=batch.index[known])
