"""A file of any size becomes rows and labels on disk, batch by batch.

The file is read once. Its first batch tells what the columns are likely to be, and the rows are
encoded so on the way; where the end of the file shows that a column is another (a category that
came late), they are encoded once more. What is refused, and how, is `read_table`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.cautions import cautions_of, sample_of
from normlab.data.columns import Selection
from normlab.data.contents import Outline, outline
from normlab.data.detection import Format
from normlab.data.encoding import encode
from normlab.data.label import class_names, label_codes
from normlab.data.npy import NpyWriter, rewrite
from normlab.data.readers import (
    described,
    dropped_rows,
    refuse_no_rows,
    refuse_one_class,
    unnamed_columns,
)
from normlab.data.schema import Column, Schema
from normlab.data.source import Source
from normlab.data.survey import Reread, Survey, batches, finite
from normlab.errors import UserError

ROWS, LABELS = "rows.npy", "labels.npy"


@dataclass(frozen=True)
class Converted:
    """What the files hold, and what to warn of."""

    schema: Schema
    read_as: str
    messages: list[str]


def convert(
    source: Source, target: str | int, format: Format, selection: Selection, folder: Path
) -> Converted:
    """Writes the rows and the labels of a file into a folder, as `Table` has them.

    Args:
        source: the file.
        target, format, selection: as of `read_table`.
        folder: gets `ROWS`, float32 (n, features), and `LABELS`, float32 (n,).

    Raises:
        UserError: the file cannot be trained on.
        OSError: a file cannot be written.
    """
    about = outline(source, target, format, selection)
    numeric = about.numeric()
    try:
        survey, first = _first_pass(source, about, selection, numeric, folder)
    except Reread:
        numeric = frozenset()
        survey, first = _first_pass(source, about, selection, numeric, folder)
    if not survey.n_rows:
        raise UserError(f"{source.name} has no rows. It needs one for each example.")
    inputs = survey.inputs()
    survey.refuse_missing()
    groups = survey.label_groups()
    messages = unnamed_columns(source, about.columns, about.unnamed)
    if survey.missing and selection.missing == "drop":
        if not survey.n_kept:
            refuse_no_rows(source.name)
        messages.append(dropped_rows(source.name, survey.n_kept, survey.n_rows))
    if first is None or [(c.type, c.categories) for c in first] != [
        (c.type, c.categories) for c in inputs
    ]:
        _second_pass(source, about, selection, numeric, survey, inputs, folder)
    survey.refuse_infinite()
    codes = label_codes(survey.spellings, groups, about.columns.dialect.decimal)
    labels = _labels(folder / LABELS, codes)
    refuse_one_class(labels, source.name, about.columns.names[about.columns.target or 0])
    schema = Schema(
        about.columns.features,
        about.columns.names[about.columns.target or 0],
        class_names(groups),
        inputs,
        groups,
        about.columns.names,
        selection.missing,
        tuple(selection.missing_values),
        about.written,
    )
    sample = sample_of(np.load(folder / ROWS, mmap_mode="r"))
    messages += cautions_of(survey.facts, sample, labels, schema, source.name)
    return Converted(schema, described(about.read_as, about.columns, inputs), messages)


def _first_pass(
    source: Source, about: Outline, selection: Selection, numeric: frozenset[int], folder: Path
) -> tuple[Survey, tuple[Column, ...] | None]:
    """Judges the file and encodes it as its first batch suggests.

    Returns:
        What the rows were encoded as; None where that turned out to be wrong on the way.
    """
    survey = Survey(source, about, selection)
    likely: tuple[Column, ...] | None = None
    seen = survey.seen()
    with _writers(folder) as (rows, labels):
        for i, frame in enumerate(batches(source, about, selection, numeric)):
            cells, target = survey.see(frame)
            if i == 0:
                likely, seen = survey.likely_inputs(), survey.seen()
            elif survey.seen() != seen:
                likely = None
            if likely is not None:
                _write(cells, target, likely, survey, rows, labels)
    return survey, likely


def _second_pass(
    source: Source,
    about: Outline,
    selection: Selection,
    numeric: frozenset[int],
    survey: Survey,
    inputs: tuple[Column, ...],
    folder: Path,
) -> None:
    with _writers(folder) as (rows, labels):
        for frame in batches(source, about, selection, numeric):
            cells, target = survey.kept(frame)
            _write(cells, target, inputs, survey, rows, labels)


def _write(
    cells: pl.DataFrame,
    target: pl.Series,
    inputs: Iterable[Column],
    survey: Survey,
    rows: NpyWriter,
    labels: NpyWriter,
) -> None:
    """A batch; of the labels, which of the target's spellings each is."""
    encoded = encode(cells, tuple(inputs), survey.columns.dialect.decimal)
    if not finite(encoded, cells, survey.selection.missing == "impute"):
        survey.note_infinite()
    rows.append(encoded)
    labels.append(survey.spelled(target))


@contextmanager
def _writers(folder: Path) -> Iterator[tuple[NpyWriter, NpyWriter]]:
    with NpyWriter(folder / ROWS) as rows, NpyWriter(folder / LABELS) as labels:
        yield rows, labels


def _labels(path: Path, codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The labels on disk, 0 or 1 in place of their spellings' numbers."""
    if not np.array_equal(codes, np.arange(len(codes))):
        rewrite(path, lambda spelled: codes[spelled.astype(np.intp)])
    return np.load(path, mmap_mode="r")
