"""A file becomes a Table, or one message that says what in the file to mend.

The rows are read once and judged as whole columns. Only a file that fails is read a second time,
slowly, to name the line (faults.py).
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException  # seen for a file that ends in a single quote

from normlab.data.columns import Columns, read_columns
from normlab.data.faults import find_fault
from normlab.data.label import MISSING, read_labels
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError

# Above this share of a column's standard deviation, float32's rounding is worth a warning.
TOLERATED_ROUNDING = 1e-3

log = logging.getLogger(__name__)


def read_csv(path: str | Path, target: str | int, header: bool = True) -> Table:
    """Read a comma-separated UTF-8 file of numeric features and a label of two values.

    Blank lines, and spaces around a cell, are ignored. A column whose values float32 cannot tell
    apart well (Unix times) is logged as a warning.

    Args:
        path: the file.
        target: name of the label's column; without a header its position, -1 being the last.
        header: whether the first line names the columns. Else they are named "0", "1", ...

    Returns:
        The rows, float32 (n, features), all finite; the label's two values in sorted order are 0
        and 1, and stand in `schema.classes`.

    Raises:
        UserError: the file cannot be read, or something in it cannot be trained on.
    """
    path = Path(path)
    try:
        return _read(path, target, header)
    except OSError as error:  # from the file alone: nothing else here touches the system
        remedy = {
            FileNotFoundError: f"Check data.path; it is relative to {Path.cwd()}.",
            IsADirectoryError: "Give the path of one file.",
            PermissionError: "Ask for the right to read it.",
        }.get(type(error), "Check data.path.")
        reason = error.strerror or error
        raise UserError(f"Cannot read {str(path)!r}: {reason}. {remedy}") from error


def _read(path: Path, target: str | int, header: bool) -> Table:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{str(path)!r} is a pipe or a device. Save the table in a regular file.")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    columns = read_columns(path, target, header)
    name = columns.names[columns.target]

    frame, reason = _parse(path, columns)
    if frame is None:
        raise find_fault(path, columns) or UserError(f"{path.name} is no valid CSV: {reason}")
    exact = frame.drop(name)
    rows = exact.cast(pl.Float32).to_numpy(order="c", writable=True)
    # Null became nan, and what float32 cannot hold infinity: one check for all.
    if not np.isfinite(rows).all() or _has_faulty_label(frame[name]):
        raise find_fault(path, columns) or UserError(
            f"{path.name} holds a value that is missing or not finite. Mend or remove its row."
        )
    labels, classes = read_labels(frame[name], path.name)
    _warn_of_coarse_columns(exact, rows, path.name)
    return Table(rows, labels, Schema(columns.features, name, classes), path.name, sha256)


def _parse(path: Path, columns: Columns) -> tuple[pl.DataFrame | None, str]:
    """Features as float64 with null where missing, the label as stripped text; or None and why."""
    label = columns.names[columns.target]
    try:
        try:
            frame = _scan(path, columns, pl.Float64())
        except pl.exceptions.ComputeError:  # perhaps only spaces around the numbers
            frame = _scan(path, columns, pl.String()).with_columns(
                pl.exclude(label).str.strip_chars().cast(pl.Float64)
            )
    except (pl.exceptions.PolarsError, PanicException) as error:
        return None, str(error).partition("\n")[0]
    frame = frame.with_columns(pl.col(label).str.strip_chars().replace("", None))
    if frame[label].null_count():  # blank lines come as rows of nulls
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return frame, ""


def _scan(path: Path, columns: Columns, feature_type: pl.DataType) -> pl.DataFrame:
    label = columns.names[columns.target]
    return pl.read_csv(
        path,
        has_header=False,
        skip_lines=columns.lines_before_rows,
        schema={name: pl.String() if name == label else feature_type for name in columns.names},
        glob=False,
    )


def _has_faulty_label(label: pl.Series) -> bool:
    """Whether a label is missing, or holds the NUL byte that polars lets pass."""
    return label.null_count() > 0 or any(
        value.lower() in MISSING or "\0" in value for value in label.unique()
    )


def _warn_of_coarse_columns(exact: pl.DataFrame, rows: NDArray[np.float32], source: str) -> None:
    """Warn where rounding to float32 moves a value by a noticeable share of its column's spread.

    The criterion is the largest rounding error against the column's standard deviation, rather
    than float32's step at that size: whole numbers below 2^24 have a step but no error.
    """
    rounding = exact.select((pl.all() - pl.all().cast(pl.Float32)).abs().max()).row(0)
    spread = exact.select(pl.all().std(ddof=0)).row(0)
    for position, name in enumerate(exact.columns):
        if 0 < spread[position] * TOLERATED_ROUNDING < rounding[position]:
            largest = np.abs(rows[:, position]).max()
            log.warning(
                "%s, column %r: near %.3g float32 tells values apart in steps of %.3g only, "
                "coarse for a column whose standard deviation is %.3g. Subtract a reference from "
                "the column, such as its first value.",
                source,
                name,
                largest,
                np.spacing(largest),
                spread[position],
            )
