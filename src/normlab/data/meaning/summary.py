"""The figures of one input column, for an inspection."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from normlab.data.meaning.facts import Facts
from normlab.data.schema import Column, Value

MOST_SHOWN = 4  # values of a category


@dataclass(frozen=True)
class Summary:
    """One input column.

    Attributes:
        type: the column's, or "mixed" where it cannot be trained on as it is.
        missing: number of missing values.
        numbers: minimum, median, maximum, mean and standard deviation; None for other types.
        values: the most frequent values with their shares of the rows that have one.
        n_values: number of different values.
        n_numbers, n_texts: cells of a mixed column.
    """

    name: str
    type: str
    missing: int
    numbers: tuple[float, float, float, float, float] | None = None
    values: tuple[tuple[Value, float], ...] = ()
    n_values: int = 0
    n_numbers: int = 0
    n_texts: int = 0


def summarize(name: str, column: Column | None, facts: Facts, encoded: pl.Series | None) -> Summary:
    """A column's own figures.

    Args:
        column: None where it is refused.
        encoded: its rows or some of them, as in `Table.rows`, null where missing.
    """
    if column is None or encoded is None:
        return Summary(name, "mixed", facts.missing, n_texts=facts.texts, n_numbers=facts.numbers)
    known = encoded.drop_nulls()
    if column.type == "numeric":
        median = known.median()
        figures = (facts.low, median, facts.high, facts.moments.mean, facts.std)
        numbers = tuple(float("nan") if f is None else float(f) for f in figures)  # type: ignore[arg-type]
        return Summary(name, column.type, facts.missing, numbers)  # type: ignore[arg-type]
    counts = known.value_counts(sort=True)
    values = tuple(
        (column.categories[int(code)], count / len(known))
        for code, count in counts.head(MOST_SHOWN).iter_rows()
    )
    return Summary(name, column.type, facts.missing, values=values, n_values=len(column.categories))
