"""What a file would be read as, before anything is trained on it: columns, label, cautions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.config.typed import setting
from normlab.data.cautions import cautions, scales_far_apart, useless
from normlab.data.columns import Selection
from normlab.data.contents import Contents, read_contents
from normlab.data.detection import Format
from normlab.data.encoding import encode_column
from normlab.data.label import class_names
from normlab.data.schema import Column, Schema, Value
from normlab.data.source import opened
from normlab.errors import UserError

TARGET_NAMES = ("label", "target", "class", "y", "outcome", "diagnosis")
MOST_SHOWN = 4  # values of a category


@dataclass(frozen=True)
class Summary:
    """One input column.

    Attributes:
        missing: number of missing values.
        numbers: minimum, median, maximum, mean and standard deviation; None for other types.
        values: the most frequent values with their shares of the rows that have one.
        n_values: number of different values.
    """

    column: Column
    missing: int
    numbers: tuple[float, float, float, float, float] | None
    values: tuple[tuple[Value, float], ...]
    n_values: int


@dataclass(frozen=True)
class Inspection:
    """What would be read.

    Attributes:
        read_as: how the file is written, in words.
        target: the label's column; None where none is named and none is likely.
        guessed: whether the target is a guess.
        classes: the label's values for class 0 and 1, each with its rows; empty if there are not
            two (`label_fault` says why).
        missing_labels: rows without a label.
        cautions: what needs a second look.
        command: how to train on the file.
    """

    source: str
    n_rows: int
    read_as: str
    inputs: tuple[Summary, ...]
    target: str | None
    guessed: bool
    classes: tuple[tuple[Value, int], ...]
    label_fault: str | None
    missing_labels: int
    cautions: tuple[str, ...]
    command: str


def inspect_file(
    path: str | Path,
    target: str | int | None = None,
    format: Format | None = None,
    selection: Selection | None = None,
) -> Inspection:
    """Look at a file as `read_table` would read it, but refuse nothing that settings can mend.

    Args:
        target: the label's column; None to guess it.
        format, selection: as of `read_table`.

    Raises:
        UserError: the file cannot be read whatever the settings are.
    """
    path, format, selection = Path(path), format or Format(), selection or Selection()
    with opened(path, format.encoding) as source:
        contents = read_contents(source, target, format, selection)
        guess = None if target is not None else likely_target(contents)
        if guess is not None:
            contents = read_contents(source, guess, format, selection)
        contents.refuse_infinite(selection)
    groups, label_fault, labels = None, None, None
    at = contents.columns.target
    if at is not None:
        try:
            groups = contents.label_groups(selection)
            labels = contents.labels(groups)
        except UserError as error:
            label_fault = str(error)
    found = _cautions(contents, labels, groups and class_names(groups))
    drop = useless(contents.input_frame, contents.inputs)
    return Inspection(
        contents.source.name,
        contents.frame.height,
        contents.read_as,
        tuple(
            summarize(series, column, contents.columns.dialect.decimal)
            for series, column in zip(contents.input_frame, contents.inputs, strict=True)
        ),
        None if at is None else contents.columns.names[at],
        guess is not None,
        _balance(class_names(groups), labels) if groups and labels is not None else (),
        label_fault,
        0 if at is None else contents.frame[str(at)].null_count(),
        tuple(found),
        _command(path, contents, format, selection, drop, label_fault),
    )


def summarize(series: pl.Series, column: Column, decimal: str = "point") -> Summary:
    """A column's own figures."""
    known = series.drop_nulls()
    missing = len(series) - len(known)
    if column.type == "numeric":
        figures = (known.min(), known.median(), known.max(), known.mean(), known.std(ddof=0))
        numbers = tuple(float(np.nan if f is None else f) for f in figures)  # type: ignore[arg-type]
        return Summary(column, missing, numbers, (), known.n_unique())  # type: ignore[arg-type]
    codes = encode_column(known, column, decimal)
    counts = codes.value_counts(sort=True)
    values = tuple(
        (column.categories[int(code)], count / max(1, len(known)))
        for code, count in counts.head(MOST_SHOWN).iter_rows()
    )
    return Summary(column, missing, None, values, len(counts))


def likely_target(contents: Contents) -> str | None:
    """A column of two values: one that is called a label, or else the last one in the file."""
    two = [
        contents.columns.names[position]
        for position, series in zip(contents.columns.inputs, contents.input_frame, strict=True)
        if series.head(1_000).drop_nulls().n_unique() <= 2 and series.drop_nulls().n_unique() == 2
    ]
    named = [name for name in two if name.lower() in TARGET_NAMES]
    return (named or two or [None])[-1]


def _cautions(
    contents: Contents,
    labels: NDArray[np.float32] | None,
    classes: tuple[Value, Value] | None,
) -> list[str]:
    source = contents.source.name
    schema = Schema(contents.columns.features, "", classes or ("", ""), contents.inputs)
    frame = contents.input_frame
    if labels is not None:
        known = ~np.isnan(labels)
        labels = labels[known]
        frame = frame.filter(pl.Series(known)) if not known.all() else frame
    found = cautions(frame, labels, schema, source)
    numeric = [i for i, column in enumerate(contents.inputs) if column.type == "numeric"]
    rows = contents.input_frame[:, numeric].fill_null(np.nan).to_numpy()
    apart = scales_far_apart(rows, [contents.inputs[i] for i in numeric], source)
    return [*found, *([apart] if apart else [])]


def _balance(
    classes: tuple[Value, Value], labels: NDArray[np.float32]
) -> tuple[tuple[Value, int], ...]:
    negative, positive = classes
    return (negative, int((labels == 0).sum())), (positive, int((labels == 1).sum()))


def _command(
    path: Path,
    contents: Contents,
    format: Format,
    selection: Selection,
    drop: list[str],
    label_fault: str | None,
) -> str:
    """With every setting that is needed, and those that were given."""
    at, names = contents.columns.target, contents.columns.names
    parts = ["python train.py data=csv", setting("data.path", str(path))]
    parts.append(setting("data.target", names[at]) if at is not None else "data.target=COLUMN")
    chosen = replace(selection, drop=[*dict.fromkeys([*selection.drop, *drop])])
    if selection.features is not None:
        chosen = replace(chosen, drop=selection.drop)
    if label_fault and selection.positive is None:
        parts.append("data.positive=[VALUE,...]")
    if contents.missing and selection.missing == "error":
        labels_too = at is not None and names[at] in contents.missing
        chosen = replace(chosen, missing="drop" if labels_too else "impute")
    for given, default in ((chosen, Selection()), (format, Format())):
        for key, value in vars(given).items():
            if value != getattr(default, key) and _as_list(value) != _as_list(
                getattr(default, key)
            ):
                parts.append(setting(f"data.{key}", value))
    return " ".join(parts)


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value
