"""What type a column is: the user's word, or else what its cells show."""

from __future__ import annotations

import polars as pl

from normlab.data.cells import to_numbers
from normlab.data.numbers import values_of
from normlab.data.schema import Column, ColumnType
from normlab.errors import UserError
from normlab.quoting import setting

# Pairs of texts that answer a question; any other two are categories.
BOOLEANS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
# Few whole numbers are categories where each stands in so many rows on average.
ROWS_PER_INTEGER = 20
MOST_CATEGORIES = 50_000
PROBE = 1_000  # rows that show at once that a column of numbers has many values


class NotNumeric(Exception):
    """A column of numbers holds text."""


def judge(
    series: pl.Series,
    name: str,
    given: ColumnType | None,
    integer_categories: int,
    decimal: str,
    source: str,
) -> tuple[Column, pl.Series]:
    """The column's type and categories, and its values, as float64 where it is of numbers.

    Args:
        series: float64 or text (n,), null where missing.
        given: the type that the user names.

    Raises:
        NotNumeric: numbers and text are mixed, and the type is not given as categorical.
        UserError: no value at all, or too many categories.
    """
    if series.null_count() == len(series):
        raise UserError(
            f"{source}, column {name!r}: every value is missing. Leave it out: "
            f"{setting('data.drop', [name])}."
        )
    has_missing = series.null_count() > 0
    if series.dtype == pl.String and given != "categorical":
        numbers, is_text = to_numbers(series, decimal)
        if not is_text.any():
            series = numbers
        elif given == "numeric" or is_text.sum() < series.len() - series.null_count():
            raise NotNumeric(name)
    if given == "numeric":
        return Column(name, missing=has_missing), series
    if given == "categorical" or series.dtype == pl.String:
        texts = series.drop_nulls().unique()
        if series.dtype == pl.String and given is None:
            pair = _boolean(texts)
            if pair is not None:
                return Column(name, "boolean", pair, has_missing), series
        if len(texts) > MOST_CATEGORIES:
            raise UserError(
                f"{source}, column {name!r}: {len(texts):,} different values, more than the "
                f"{MOST_CATEGORIES:,} that a categorical column may have. If it is a name or an "
                f"id, leave it out: {setting('data.drop', [name])}."
            )
        # Both kinds of a list are sorted, which its type cannot say.
        values = sorted(set(values_of(texts.cast(pl.String).to_list(), decimal)))  # pyright: ignore[reportArgumentType]
        return Column(name, "categorical", tuple(values), has_missing), series
    integers = few_integers(series, integer_categories)
    if integers == (0, 1):
        return Column(name, "boolean", integers, has_missing), series
    if len(integers) > 1 and len(series) >= ROWS_PER_INTEGER * len(integers):
        return Column(name, "categorical", integers, has_missing), series
    return Column(name, missing=has_missing), series


def few_integers(series: pl.Series, most: int) -> tuple[int, ...]:
    """The values of a float64 column in ascending order; none if many or not whole numbers."""
    values: list[float] = []
    for part in (series.head(PROBE), series):  # most columns are done with after the first
        distinct = part.drop_nulls().unique()
        # Beyond 2^53 every float64 is whole; nan and inf are not below it.
        whole = (distinct.abs() < 2**53) & (distinct == distinct.floor())
        if len(distinct) > most or not whole.all():
            return ()
        values = distinct.sort().to_list()
    return tuple(map(int, values))


def _boolean(texts: pl.Series) -> tuple[str, str] | None:
    if len(texts) > 16:
        return None
    lower = set(texts.str.to_lowercase())
    return next((pair for pair in BOOLEANS if lower == set(pair)), None)
