"""The whole of a file as judged columns, before anything is refused, dropped or rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.cells import (
    Unreadable,
    guess_numeric,
    holds_nul,
    missing_in,
    null_counts,
    read_cells,
)
from normlab.data.columns import Columns, Header, Selection, choose_columns, read_header
from normlab.data.detection import Format, detect, in_words
from normlab.data.faults import FLOAT32_OVERFLOW, Expectation, Role, find_fault, malformed
from normlab.data.judging import Judge, NotNumeric
from normlab.data.label import Values, label_codes, label_groups
from normlab.data.parquet import find_parquet_fault, parquet_cells, parquet_names
from normlab.data.records import Dialect, ragged
from normlab.data.schema import Column, Written
from normlab.data.source import Source
from normlab.data.thousands import holds_thousandths, refuse_doubt
from normlab.errors import UserError


@dataclass(frozen=True)
class Contents:
    """A file's columns before anything is refused, dropped or rounded.

    Attributes:
        frame: all columns of the file by position, float64 or text, null where missing.
        columns: the outline.
        inputs: the input columns, judged, in the order of `columns.inputs`.
        unnamed: positions of the columns that the header leaves without a name.
        read_as: how the file is written, in words.
        written: the same for the schema; None of Parquet.
    """

    source: Source
    frame: pl.DataFrame
    columns: Columns
    inputs: tuple[Column, ...]
    unnamed: tuple[int, ...]
    read_as: str
    written: Written | None

    @property
    def input_frame(self) -> pl.DataFrame:
        return self.frame.select([str(position) for position in self.columns.inputs])

    @property
    def missing(self) -> dict[str, int]:
        """Missing values of each column that has any, the label's included, by its name."""
        positions = [*self.columns.inputs]
        if self.columns.target is not None:
            positions.append(self.columns.target)
        return null_counts(self.frame, {p: self.columns.names[p] for p in positions})

    def label_groups(self, selection: Selection) -> tuple[Values, Values]:
        """The label's values of class 0 and of class 1; `label_groups` says what is refused."""
        at, decimal = self.columns.target, self.columns.dialect.decimal
        assert at is not None
        known = self.frame[str(at)].drop_nulls()
        name = self.columns.names[at]
        return label_groups(known, self.source.name, name, selection.positive, decimal)

    def labels(self, groups: tuple[Values, Values]) -> NDArray[np.float32]:
        """float32 (n,): 0 or 1, nan where missing."""
        column = self.frame[str(self.columns.target)]
        return label_codes(column, groups, self.columns.dialect.decimal)

    def refuse_infinite(self, selection: Selection) -> None:
        """Refuses numbers that float32 cannot hold, and nan where it means no missing value.

        Raises:
            UserError: naming the first such cell.
        """
        for series in self.input_frame:
            if series.dtype == pl.Float64:
                numbers = series.drop_nulls().to_numpy()
                if not (np.abs(numbers) < FLOAT32_OVERFLOW).all():
                    raise self.fault(selection)

    def fault(self, selection: Selection, counts: Mapping[str, int] | None = None) -> UserError:
        """The message for what the columns as a whole have shown.

        Args:
            counts: missing values by column where these are refused; None where it is numbers.
        """
        roles: dict[int, Role] = {
            position: "number" if self.frame[str(position)].dtype == pl.Float64 else "text"
            for position in self.columns.inputs
        }
        if self.columns.target is not None:
            roles[self.columns.target] = "label"
        return fault(self.source, self.columns, roles, selection, counts)


@dataclass(frozen=True)
class Outline:
    """What the first lines of a file, or its header, tell.

    Attributes:
        unnamed: positions of the columns that the header leaves without a name.
        read_as: how the file is written, in words.
        sample: the cells of the first rows of a text file.
        written: as of `Contents`.
    """

    columns: Columns
    unnamed: tuple[int, ...]
    read_as: str
    sample: Sequence[list[str]]
    written: Written | None

    def numeric(self) -> frozenset[int]:
        """Positions of the input columns that are likely to hold numbers alone."""
        given = {p for p, kind in self.columns.types.items() if kind == "categorical"}
        return (guess_numeric(self.sample, self.columns) & set(self.columns.inputs)) - given


def outline(
    source: Source, target: str | int | None, format: Format, selection: Selection
) -> Outline:
    """Which columns a file has and which of them are asked for.

    Raises:
        UserError: it has no rows, lacks a column that is asked for, or has a sign within its
            numbers that may be the decimal sign or not.
    """
    if source.parquet:
        header, read_as = Header(parquet_names(source)), source.saved_as
        has_header, dialect, sample = True, Dialect(), []
    else:
        wanted = [*([] if target is None else [target]), *selection.names()]
        detected = detect(source, format, wanted)
        header, read_as = read_header(source, detected), in_words(detected, source)
        has_header, dialect, sample = detected.header, detected.dialect, detected.sample
    names = header.names
    at, inputs, types = choose_columns(names, target, selection, has_header, source.name)
    columns = Columns(names, at, inputs, types, dialect, has_header, header.lines_before_rows)
    sample, written = sample[has_header:], None
    if not source.parquet:
        if format.decimal == "auto":
            refuse_doubt(source, columns, sample)
        decimal = dialect.decimal
        written = Written(has_header, decimal, holds_thousandths(sample, decimal))
    return Outline(columns, header.unnamed, read_as, sample, written)


def read_contents(
    source: Source, target: str | int | None, format: Format, selection: Selection
) -> Contents:
    """The columns of a file, judged.

    Raises:
        UserError: the file is not well formed, or a column mixes numbers and text.
    """
    about = outline(source, target, format, selection)
    columns, spellings = about.columns, selection.missing_values
    if source.parquet:
        frame = parquet_cells(source, columns, spellings)
    else:
        frame = _text_cells(source, about, spellings)
    judged = [_judged(source, columns, position, frame, selection) for position in columns.inputs]
    frame = frame.with_columns([series for _, series in judged])
    inputs_judged = tuple(column for column, _ in judged)
    return Contents(
        source, frame, columns, inputs_judged, about.unnamed, about.read_as, about.written
    )


def _text_cells(source: Source, about: Outline, spellings: Sequence[str]) -> pl.DataFrame:
    columns, spelled = about.columns, missing_in(about.sample, spellings)
    try:
        frame = read_cells(source, columns, about.numeric(), spellings, spelled)
    except Unreadable as error:
        raise malformed(source, columns, str(error)) from error
    # polars fills a row of too few cells with nulls, which are no missing values.
    last = frame[str(len(columns.names) - 1)]
    if last.null_count() and ragged(source, columns.dialect, len(columns.names)):
        raise find_fault(source, columns, Expectation({})) or unexplained(source)
    if holds_nul(frame):
        raise find_fault(source, columns, Expectation({})) or unexplained(source)
    return frame


def _judged(
    source: Source, columns: Columns, position: int, frame: pl.DataFrame, selection: Selection
) -> tuple[Column, pl.Series]:
    judge = make_judge(source, columns, position, selection)
    try:
        series = judge.see(frame[str(position)])
        return judge.column(), series
    except NotNumeric as error:
        raise fault(source, columns, {position: "number"}, selection) from error


def make_judge(source: Source, columns: Columns, position: int, selection: Selection) -> Judge:
    """For the column of a position."""
    name, given = columns.names[position], columns.types.get(position)
    decimal = columns.dialect.decimal
    return Judge(name, given, selection.integer_categories, decimal, source.name)


def fault(
    source: Source,
    columns: Columns,
    roles: Mapping[int, Role],
    selection: Selection,
    counts: Mapping[str, int] | None = None,
) -> UserError:
    """The message for the first cell that does not fit its role; `Contents.fault` says more."""
    lenient = counts is None
    expectation = Expectation(
        roles,
        missing=lenient or selection.missing != "error",
        missing_label=lenient or selection.missing == "drop",
        missing_values=selection.missing_values,
        counts=counts or {},
    )
    find = find_parquet_fault if source.parquet else find_fault
    return find(source, columns, expectation) or unexplained(source)


def unexplained(source: Source) -> UserError:
    """The message for a file in which a second look finds no fault."""
    return UserError(
        f"{source.name} holds a value that is missing or not finite. Mend or remove its row."
    )
