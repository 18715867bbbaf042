"""A file becomes a Table, or one message that says what in the file to mend.

The rows are read once and judged as whole columns. Only a file that fails is read a second time,
slowly, to name the line (faults.py).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.config.typed import setting
from normlab.data.cautions import cautions
from normlab.data.columns import Columns, Selection
from normlab.data.contents import Contents, read_contents
from normlab.data.detection import Format
from normlab.data.encoding import encode
from normlab.data.label import class_names
from normlab.data.schema import Column, Schema
from normlab.data.source import Source, opened
from normlab.data.table import Table
from normlab.errors import UserError

log = logging.getLogger(__name__)


def read_csv(path: str | Path, target: str | int, header: bool = True) -> Table:
    """`read_table` of a file whose header, or lack of one, is known."""
    return read_table(path, target, Format(header=header))


def read_table(
    path: str | Path,
    target: str | int,
    format: Format | None = None,
    selection: Selection | None = None,
) -> Table:
    """Read a text file (CSV and its kin, also gzipped) or a Parquet file to train on.

    Blank lines, and spaces around a cell, are ignored. What looks like a mistake that would cost
    a day (cautions.py) is logged as a warning.

    Args:
        path: the file.
        target: name of the label's column, or its position, -1 being the last.
        format: how the file is written, where it is not to be detected.
        selection: which columns are inputs, of which types, and what missing values become.

    Returns:
        The rows, float32 (n, features), all finite, but nan for a missing value under the policy
        "impute"; the label's values as 0 and 1. `schema` says what they mean.

    Raises:
        UserError: the file cannot be read, or something in it cannot be trained on.
    """
    path, format, selection = Path(path), format or Format(), selection or Selection()
    with opened(path, format.encoding) as source:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        contents = read_contents(source, target, format, selection)
        table, messages = _table(contents, selection, sha256)
    for message in messages:
        warn_once(path, sha256, message)
    return table


def _table(contents: Contents, selection: Selection, sha256: str) -> tuple[Table, list[str]]:
    """The table, and what to warn of."""
    source, columns = contents.source, contents.columns
    counts = contents.missing
    target = columns.names[columns.target or 0]
    refused = {"error": bool(counts), "impute": target in counts, "drop": False}
    if refused[selection.missing]:
        raise contents.fault(selection, counts)
    groups = contents.label_groups(selection)
    frame, labels = contents.input_frame, contents.labels(groups)
    inputs, messages = contents.inputs, unnamed_columns(source, columns, contents.unnamed)
    if counts and selection.missing == "drop":
        kept = _complete(frame, labels, source.name)
        messages.append(dropped_rows(source.name, int(kept.sum()), len(kept)))
        frame, labels = frame.filter(kept), labels[kept.to_numpy()]
        inputs = tuple(Column(c.name, c.type, c.categories) for c in inputs)
    rows = encode(frame, inputs, columns.dialect.decimal)
    if not np.isfinite(rows).all():  # perhaps by missing values alone
        contents.refuse_infinite(selection)
    refuse_one_class(labels, source.name, target)
    schema = Schema(
        columns.features,
        target,
        class_names(groups),
        inputs,
        groups,
        columns.names,
        selection.missing,
        tuple(selection.missing_values),
        contents.written,
    )
    messages += cautions(frame, labels, schema, source.name)
    read_as = described(contents.read_as, columns, inputs)
    return Table(rows, labels, schema, source.name, sha256, read_as), messages


def _complete(frame: pl.DataFrame, labels: NDArray[np.float32], source: str) -> pl.Series:
    """Which rows have all their values, the label included.

    Raises:
        UserError: none has.
    """
    kept = ~frame.select(pl.any_horizontal(pl.all().is_null())).to_series()
    kept &= pl.Series(~np.isnan(labels))
    if not kept.any():
        refuse_no_rows(source)
    return kept


def refuse_no_rows(source: str) -> NoReturn:
    """Refuses a file of which no row is kept.

    Raises:
        UserError: always.
    """
    raise UserError(
        f"{source}: every row has a missing value, so data.missing=drop leaves none. Leave "
        f"columns out (data.drop) or set data.missing=impute."
    )


def refuse_one_class(labels: NDArray[np.float32], source: str, target: str) -> None:
    """Refuses labels of one class, which only rows that were left out can make them.

    Raises:
        UserError: all labels are equal.
    """
    if labels.min() == labels.max():
        raise UserError(
            f"{source}, column {target!r}: without the rows that have a missing value the "
            f"label holds one value. Set data.missing=impute or leave columns out (data.drop)."
        )


def dropped_rows(source: str, n_kept: int, n_rows: int) -> str:
    """What to say of rows that are left out."""
    return (
        f"{source}: {n_rows - n_kept:,} of {n_rows:,} rows have a missing value "
        f"and are left out (data.missing=drop)."
    )


def described(read_as: str, columns: Columns, inputs: Sequence[Column]) -> str:
    """In one line: how the file was read, and what its columns are."""
    types = [column.type for column in inputs]
    counts = [
        f"{types.count(kind)} {kind}"
        for kind in ("numeric", "boolean", "categorical")
        if kind in types
    ]
    left_out = len(columns.names) - len(types) - 1
    if left_out:
        counts.append(f"{left_out} left out")
    return f"{read_as}; inputs: {', '.join(counts)}"


@cache
def warn_once(path: Path, sha256: str, message: str) -> None:
    """A sweep reads its table several times."""
    log.warning(message)


def unnamed_columns(source: Source, columns: Columns, unnamed: Iterable[int]) -> list[str]:
    """A column without a name that is an input: most often a row's number."""
    messages = []
    for position in sorted(set(unnamed) & set(columns.inputs)):
        name = columns.names[position]
        remedy = setting("data.drop", [name])
        messages.append(
            f"{source.name}: column {position + 1} of the header has no name and is "
            f"called {name!r}. If it is a row index, remove it ({remedy}): it can give the label "
            f"away."
        )
    return messages
