"""What a file's cells mean: its columns, its label, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from normlab.config.typed import setting
from normlab.data.file.cells import Then, guess_typed
from normlab.data.file.columns import Columns, Selection
from normlab.data.file.faults import Expectation, Role, fault
from normlab.data.file.outline import Outline
from normlab.data.file.query import Cells
from normlab.data.file.source import Source
from normlab.data.file.thousands import has_thousandths
from normlab.data.meaning.encode import encoded
from normlab.data.meaning.facts import MOST_CATEGORIES
from normlab.data.meaning.guess import guess
from normlab.data.meaning.survey import survey
from normlab.data.meaning.target import Values, class_names, label_code, label_groups
from normlab.data.meaning.types import NotNumeric, column_of
from normlab.data.schema import Column, Schema
from normlab.errors import UserError


def cells_of(
    source: Source, about: Outline, selection: Selection, task: str | None = None
) -> Cells:
    """All cells that are asked for; `task` as of `Cells`."""
    columns = about.columns
    if source.parquet:
        typed = set(columns.inputs)
        typed -= {p for p, kind in columns.types.items() if kind == "categorical"}
    else:
        typed = guess_typed(about.first.sample, columns)
    return Cells(source, columns, selection.missing_values, typed, task=task)


class Reading:
    """What a file's cells mean, once they are surveyed.

    Attributes:
        counts: missing values of each column that has any, the label's included, by its name.
        survey: of the rows that are kept; `all_rows` is of all.

    Raises:
        UserError: a column without any value, or rows of another length.
    """

    def __init__(self, cells: Cells, about: Outline, selection: Selection) -> None:
        self.cells, self.about, self.selection = cells, about, selection
        self.columns, self.source = about.columns, cells.source
        names = self.columns.names
        self.keep: Then = _all
        self.survey = survey(cells, guess(about, selection))
        self.n_rows, self.all_rows = self.survey.n_rows, self.survey
        if not self.n_rows:
            raise UserError(f"{self.source.name} has no rows. It needs one for each example.")
        self.counts = {names[p]: f.missing for p, f in self.survey.facts.items() if f.missing}

    @property
    def target(self) -> int:
        assert self.columns.target is not None
        return self.columns.target

    def leave_out(self) -> list[str]:
        """Leaves out the rows with a missing value where that is the policy, and says so."""
        if self.selection.missing != "drop" or not self.counts:
            return []
        for position in self.columns.inputs:
            if not self.survey.facts[position].known:
                self.input(position)  # it is refused
        self.keep = _complete(self.columns)
        self.survey = survey(self.cells, self.survey.guesses, self.keep)
        n_kept, name = self.survey.n_rows, self.source.name
        if not n_kept:
            raise UserError(
                f"{name}: every row has a missing value, so data.missing=drop leaves none. Leave "
                f"columns out (data.drop) or set data.missing=impute."
            )
        return [
            f"{name}: {self.n_rows - n_kept:,} of {self.n_rows:,} rows have a missing value and "
            f"are left out (data.missing=drop)."
        ]

    def input(self, position: int) -> Column:
        """The input column of a position.

        Raises:
            UserError: it holds no value, or numbers and text, or too many categories.
        """
        name, found = self.columns.names[position], self.survey
        facts, guessed = found.facts[position], found.guesses[position]
        try:
            return column_of(name, facts, guessed, self.selection, self.source.name)
        except NotNumeric as error:
            roles: dict[int, Role] = dict.fromkeys(self.columns.needed, "text")
            raise self.fault({**roles, position: "number"}) from error

    def label_groups(self) -> tuple[Values, Values]:
        """The label's values of class 0 and of class 1; `label_groups` says what is refused."""
        at = self.target
        place = f"{self.source.name}, column {self.columns.names[at]!r}"
        facts = self.survey.facts[at]
        if facts.values is None:
            raise UserError(
                f"{place}: the label holds more than {MOST_CATEGORIES:,} different values, and a "
                f"binary classifier needs two. Choose another data.target."
            )
        all_values = self.all_rows.facts[at].values or ()
        if len(facts.values) == 1 < len(all_values):
            raise UserError(
                f"{place}: without the rows that have a missing value the label holds one value. "
                f"Set data.missing=impute or leave columns out (data.drop)."
            )
        positive, signs = self.selection.positive, self.columns.dialect.signs
        return label_groups(facts.values, place, positive, signs)

    def schema(self, inputs: tuple[Column, ...], groups: tuple[Values, Values]) -> Schema:
        columns, selection = self.columns, self.selection
        return Schema(
            columns.features,
            columns.names[self.target],
            class_names(groups),
            inputs,
            groups,
            columns.names,
            selection.missing,
            tuple(selection.missing_values),
            columns.header,
            columns.dialect.decimal,
            columns.dialect.thousands,
            has_thousandths(self.about.first.sample, columns.dialect.decimal),
        )

    def encoded(
        self, inputs: Mapping[int, Column], groups: tuple[Values, Values] | None
    ) -> list[pl.Expr]:
        """The inputs, given by position, and behind them the label, if it is asked for."""
        signs, numbers = self.columns.dialect.signs, self.cells.numbers
        columns = [
            encoded(pl.col(str(p)), column, p in numbers, signs).alias(str(p))
            for p, column in inputs.items()
        ]
        if groups is None:
            return columns
        return [*columns, label_code(pl.col(str(self.target)), groups, signs).alias("label")]

    def refuse_missing(self) -> None:
        """Refuses missing values where the policy does not take them."""
        target = self.columns.names[self.target]
        refused = {"error": bool(self.counts), "impute": target in self.counts, "drop": False}
        if refused[self.selection.missing]:
            raise self.fault(self.roles(), self.counts)

    def refuse_infinite(self) -> None:
        """Refuses numbers that float32 cannot hold, and nan where it means no missing value."""
        if any(facts.infinite for facts in self.survey.facts.values()):
            raise self.fault(self.roles())

    def roles(self) -> dict[int, Role]:
        """What the columns hold, for the message about a cell that does not fit."""
        guesses = self.survey.guesses
        roles: dict[int, Role] = {p: "text" if g.is_text else "number" for p, g in guesses.items()}
        if self.columns.target is not None:
            roles[self.columns.target] = "label"
        return roles

    def fault(
        self, roles: Mapping[int, Role], counts: Mapping[str, int] | None = None
    ) -> UserError:
        """The message for the first cell that does not fit.

        Args:
            counts: missing values by column where these are refused; None where it is another.
        """
        missing = self.selection.missing
        lenient = counts is None
        expectation = Expectation(
            roles,
            missing=lenient or missing != "error",
            missing_label=lenient or missing == "drop",
            left_out=missing == "drop" and self.survey.n_rows < self.n_rows,
            missing_values=self.selection.missing_values,
            forms={p: guessed.form for p, guessed in self.survey.guesses.items()},
            counts=counts or {},
        )
        return fault(self.source, self.columns, expectation)

    def unnamed(self) -> list[str]:
        """A column without a name that is an input: most often a row's number."""
        messages = []
        for position in sorted(set(self.about.first.header.unnamed) & set(self.columns.inputs)):
            name = self.columns.names[position]
            messages.append(
                f"{self.source.name}: column {position + 1} of the header has no name and is "
                f"called {name!r}. If it is a row index, remove it "
                f"({setting('data.drop', [name])}): it can give the label away."
            )
        return messages


def _all(lazy: pl.LazyFrame) -> pl.LazyFrame:
    return lazy


def _complete(columns: Columns) -> Then:
    """The rows that have all their values, the label included."""
    needed = pl.col([str(position) for position in columns.needed])
    return lambda lazy: lazy.filter(~pl.any_horizontal(needed.is_null()))
