"""What type a column is: the user's word, or else what its cells show."""

from __future__ import annotations

from typing import Literal

import polars as pl

from normlab.config.typed import setting
from normlab.data.cells import to_numbers
from normlab.data.schema import Column, ColumnType
from normlab.errors import UserError

# Pairs of texts that answer a question; any other two are categories.
BOOLEANS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
# Few whole numbers are categories where each stands in so many rows on average.
ROWS_PER_INTEGER = 20
MOST_CATEGORIES = 50_000
PROBE = 1_000  # rows that show at once that a column of numbers has many values


class NotNumeric(Exception):
    """A column of numbers holds text."""


class Judge:
    """Finds a column's type from its values, shown all at once or batch by batch.

    Args:
        name: the column's.
        given: the type that the user names.
        integer_categories: so many different whole numbers at most are categories.
        decimal: the sign before a number's fraction.
        source: the file's name, for messages.
    """

    def __init__(
        self,
        name: str,
        given: ColumnType | None,
        integer_categories: int,
        decimal: str,
        source: str,
    ) -> None:
        self.name = name
        self.given: ColumnType | None = given
        self.most_integers = integer_categories
        self.decimal = decimal
        self.place = f"{source}, column {name!r}"
        self.n_rows = self.n_missing = 0
        self.holds: Literal["numbers", "text"] | None = None  # None while nothing was seen
        self._integers: set[int] | None = set()  # None once there are too many, or others
        self._categories: pl.Series | None = None

    def see(self, series: pl.Series) -> pl.Series:
        """Takes note of further values.

        Args:
            series: float64 or text (n,), null where missing.

        Returns:
            The values, as float64 where they are numbers.

        Raises:
            NotNumeric: numbers and text are mixed, and the type is not given as categorical.
            UserError: too many categories.
        """
        missing = series.null_count()
        self.n_rows, self.n_missing = self.n_rows + len(series), self.n_missing + missing
        if missing == len(series):
            return series
        if series.dtype == pl.String and self.given != "categorical":
            numbers, is_text = to_numbers(series, self.decimal)
            n_text = is_text.sum()
            numeric = self.given == "numeric" or self.holds == "numbers"
            if n_text and (numeric or n_text < len(series) - missing):
                raise NotNumeric(self.name)
            series = series if n_text else numbers
        holds = "text" if series.dtype == pl.String else "numbers"
        if holds == "numbers" and self.holds == "text":
            raise NotNumeric(self.name)
        self.holds = holds
        if self.given == "categorical" or holds == "text":
            self._note_categories(series)
        elif self.given is None and self._integers is not None:
            integers = few_integers(series, self.most_integers)
            self._integers = None if integers is None else self._integers.union(integers)
            if self._integers is not None and len(self._integers) > self.most_integers:
                self._integers = None
        return series

    def _note_categories(self, series: pl.Series) -> None:
        known = series.drop_nulls().unique()
        if self._categories is not None:
            known = pl.concat([self._categories, known]).unique()
        if len(known) > MOST_CATEGORIES:
            raise UserError(
                f"{self.place}: {len(known):,} different values or more, and a categorical column "
                f"may have {MOST_CATEGORIES:,}. If it is a name or an id, leave it out: "
                f"{setting('data.drop', [self.name])}."
            )
        self._categories = known

    def seen(self) -> tuple[str | None, int, int]:
        """What the column holds, and how many whole numbers (-1: too many) and categories."""
        n_integers = -1 if self._integers is None else len(self._integers)
        n_categories = 0 if self._categories is None else len(self._categories)
        return self.holds, n_integers, n_categories

    def column(self) -> Column:
        """What the column is, as far as it was seen.

        Raises:
            UserError: no value at all.
        """
        if self.n_missing == self.n_rows:
            raise UserError(
                f"{self.place}: every value is missing. Leave it out: "
                f"{setting('data.drop', [self.name])}."
            )
        has_missing = self.n_missing > 0
        if self._categories is not None:
            return self._categorical(self._categories, has_missing)
        integers = sorted(self._integers or ())
        if integers == [0, 1]:
            return Column(self.name, "boolean", (0, 1), has_missing)
        if len(integers) > 1 and self.n_rows >= ROWS_PER_INTEGER * len(integers):
            return Column(self.name, "categorical", tuple(integers), has_missing)
        return Column(self.name, missing=has_missing)

    def _categorical(self, categories: pl.Series, has_missing: bool) -> Column:
        if self.given is None:
            pair = _boolean(categories)
            if pair is not None:
                return Column(self.name, "boolean", pair, has_missing)
        texts = categories.sort().to_list()  # as they stand: 01234 is not 1234
        return Column(self.name, "categorical", tuple(texts), has_missing)


def few_integers(series: pl.Series, most: int) -> tuple[int, ...] | None:
    """The values of a float64 column in ascending order; None if many or not whole numbers."""
    values: list[float] = []
    for part in (series.head(PROBE), series):  # most columns are done with after the first
        distinct = part.drop_nulls().unique()
        # Beyond 2^53 every float64 is whole; nan and inf are not below it.
        whole = (distinct.abs() < 2**53) & (distinct == distinct.floor())
        if len(distinct) > most or not whole.all():
            return None
        values = distinct.sort().to_list()
    return tuple(map(int, values))


def _boolean(texts: pl.Series) -> tuple[str, str] | None:
    if len(texts) > 16:
        return None
    lower = set(texts.str.to_lowercase())
    return next((pair for pair in BOOLEANS if lower == set(pair)), None)
