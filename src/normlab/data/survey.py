"""A whole file judged from one pass over it: what `Contents` is to a file that fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.cells import Unreadable, batches_of_cells, holds_nul, missing_in
from normlab.data.columns import Selection
from normlab.data.contents import Outline, fault, make_judge, unexplained
from normlab.data.facts import Facts, note_facts
from normlab.data.faults import FLOAT32_OVERFLOW, Expectation, Role, find_fault, malformed
from normlab.data.judging import MOST_CATEGORIES, NotNumeric
from normlab.data.label import Values, label_groups
from normlab.data.parquet import parquet_batches
from normlab.data.records import ragged
from normlab.data.schema import Column
from normlab.data.source import Source
from normlab.errors import UserError

BATCH_CELLS = 2**20  # numbers in memory at once: 8 MB of float64
FEWEST_ROWS = 1_024  # in a batch


class Reread(Exception):
    """The file is other than its first lines: it has to be read as text."""


def batches(
    source: Source, about: Outline, selection: Selection, numeric: frozenset[int]
) -> Iterator[pl.DataFrame]:
    """The cells, batch by batch, null where a value is missing.

    Args:
        numeric: positions of the columns to read as float64; else all are text.

    Raises:
        Reread: some cell of a numeric column is no number.
        UserError: the file is not well formed.
    """
    columns, spellings = about.columns, selection.missing_values
    n_rows = max(FEWEST_ROWS, BATCH_CELLS // len(columns.names))
    if source.parquet:
        yield from (cells for _, cells in parquet_batches(source, columns, spellings, n_rows))
        return
    spelled = missing_in(about.sample, spellings) if numeric else []
    ragged_is_ruled_out = False
    try:
        for frame in batches_of_cells(source, columns, spellings, n_rows, numeric, spelled):
            # polars fills a row of too few cells with nulls, which are no missing values.
            if frame[str(len(columns.names) - 1)].null_count() and not ragged_is_ruled_out:
                ragged_is_ruled_out = True
                if ragged(source, columns.dialect, len(columns.names)):
                    raise find_fault(source, columns, Expectation({})) or unexplained(source)
            if holds_nul(frame):
                raise find_fault(source, columns, Expectation({})) or unexplained(source)
            yield frame
    except Unreadable as error:
        if numeric:
            raise Reread from error
        raise malformed(source, columns, str(error)) from error


class Survey:
    """What the batches of a file have shown so far."""

    def __init__(self, source: Source, about: Outline, selection: Selection) -> None:
        self.source = source
        self.columns = about.columns
        self.selection = selection
        assert self.columns.target is not None
        self._target = self.columns.target
        self._judges = [make_judge(source, self.columns, p, selection) for p in self.columns.inputs]
        self.facts = [Facts() for _ in self._judges]
        self.n_rows = self.n_kept = 0
        self._missing = dict.fromkeys([*self.columns.inputs, self._target], 0)
        self.spellings = pl.Series(dtype=pl.String)
        self._infinite = False

    def see(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """Takes note of a batch.

        Returns:
            The input columns, as float64 where they are numbers, and the target's cells, of the
            rows that are kept.

        Raises:
            UserError: a column mixes numbers and text, or has too many values.
        """
        self.n_rows += frame.height
        for position in self._missing:
            self._missing[position] += frame[str(position)].null_count()
        columns = {column.name: column for column in frame}
        for position, judge in zip(self.columns.inputs, self._judges, strict=True):
            try:
                columns[str(position)] = judge.see(frame[str(position)])
            except NotNumeric as error:
                roles: dict[int, Role] = {position: "number"}
                raise fault(self.source, self.columns, roles, self.selection) from error
        columns[str(self._target)] = self._note_label(frame[str(self._target)])
        inputs, target = self.kept(pl.DataFrame(columns))
        self.n_kept += inputs.height
        note_facts(self.facts, inputs)
        return inputs, target

    def kept(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """The input columns and the target's cells of the rows that are not left out."""
        if self.selection.missing == "drop" and self.missing:
            needed = pl.col([str(position) for position in self._missing])
            frame = frame.filter(~pl.any_horizontal(needed.is_null()))
        return frame[[str(p) for p in self.columns.inputs]], frame[str(self._target)]

    def spelled(self, target: pl.Series) -> NDArray[np.float32]:
        """Which of the spellings each cell of the target is (n,), nan where missing."""
        codes = target.cast(pl.Enum(self.spellings), strict=False).to_physical()
        return codes.to_numpy().astype(np.float32)

    def _note_label(self, target: pl.Series) -> pl.Series:
        """The target's cells as an enumeration of the spellings, new ones included."""
        known = target.cast(pl.Enum(self.spellings), strict=False)
        if known.null_count() == target.null_count():
            return known
        new = pl.concat([self.spellings, target.drop_nulls().unique(maintain_order=True)])
        self.spellings = new.unique(maintain_order=True)
        if len(self.spellings) > MOST_CATEGORIES:
            raise UserError(
                f"{self.source.name}, column {self.columns.names[self._target]!r}: the label holds "
                f"{len(self.spellings):,} different values or more, and a binary classifier needs "
                f"two. Choose another data.target."
            )
        return target.cast(pl.Enum(self.spellings))

    def note_infinite(self) -> None:
        """A kept row holds a number that float32 cannot hold, or nan that means no missing one."""
        self._infinite = True

    @property
    def missing(self) -> dict[str, int]:
        """Missing values of each column that has any, the label's included, by its name."""
        return {self.columns.names[p]: n for p, n in self._missing.items() if n}

    def inputs(self) -> tuple[Column, ...]:
        """The input columns, as far as they have been seen.

        Raises:
            UserError: a column without any value.
        """
        columns = tuple(judge.column() for judge in self._judges)
        if self.selection.missing == "drop":
            columns = tuple(Column(c.name, c.type, c.categories) for c in columns)
        return columns

    def likely_inputs(self) -> tuple[Column, ...] | None:
        """As `inputs`; None where a column has shown no value yet."""
        try:
            return self.inputs()
        except UserError:
            return None

    def seen(self) -> list[tuple[str | None, int, int]]:
        """While this stays the same, so most likely do the columns' types and categories."""
        return [judge.seen() for judge in self._judges]

    def label_groups(self) -> tuple[Values, Values]:
        """The label's values of class 0 and of class 1; `label_groups` says what is refused."""
        name, decimal = self.columns.names[self._target], self.columns.dialect.decimal
        positive = self.selection.positive
        return label_groups(self.spellings, self.source.name, name, positive, decimal)

    def refuse_missing(self) -> None:
        """Refuses missing values where the policy does not take them.

        Raises:
            UserError: naming the first of them.
        """
        target = self.columns.names[self._target]
        counts = self.missing
        refused = {"error": bool(counts), "impute": target in counts, "drop": False}
        if refused[self.selection.missing]:
            raise self._fault(counts)

    def refuse_infinite(self) -> None:
        """Refuses what `note_infinite` was told of.

        Raises:
            UserError: naming the first such cell.
        """
        if self._infinite:
            raise self._fault(None)

    def _fault(self, counts: Mapping[str, int] | None) -> UserError:
        roles: dict[int, Role] = {
            position: "number" if judge.holds == "numbers" else "text"
            for position, judge in zip(self.columns.inputs, self._judges, strict=True)
        }
        roles[self._target] = "label"
        return fault(self.source, self.columns, roles, self.selection, counts)


def finite(rows: NDArray[np.float32], inputs: pl.DataFrame, impute: bool) -> bool:
    """Whether the encoded rows hold numbers, and nan where a value is missing alone."""
    if np.isfinite(rows).all():
        return True
    numbers: Sequence[pl.Series] = [s.drop_nulls() for s in inputs if s.dtype == pl.Float64]
    return impute and all(bool((s.abs() < FLOAT32_OVERFLOW).all()) for s in numbers)
