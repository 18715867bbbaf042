"""A whole file in figures: what one aggregate over its cells shows of every column.

A second aggregate asks what only some columns need: the values of a category, the repetitions of
an id. Both run over cells in memory or over the file, and hold no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from normlab.data.file.cells import LAST, Then
from normlab.data.file.faults import FLOAT32_OVERFLOW
from normlab.data.file.numbers import Signs, as_number, spells_infinity
from normlab.data.file.query import Cells
from normlab.data.meaning.guess import Guess

MOST_CATEGORIES = 50_000
FEW = 100  # different values in a sample, below which all of a column's are asked for at once
REMEMBERED = 2**18  # values in which repetitions are sought
HALF_STEP = 2.0**-24  # the largest rounding error of float32, relative to the value
# Where rounding is below this share of the standard deviation at worst, it is not measured.
NEGLIGIBLE = 1e-3


@dataclass
class Facts:
    """Of one column.

    Attributes:
        n: rows.
        missing: values that are.
        texts: values that are no numbers.
        infinite: numbers that float32 cannot hold.
        whole: whether all numbers are whole.
        low, high, mean, std: of the numbers; None where there are none.
        n_unique: different values, roughly; None where it was not asked.
        values: all of them, in order, where they were asked for; texts, or numbers.
        rounding: the largest error that float32 makes, as far as it is noticeable.
        distinct: whether no value comes twice (of whole numbers and texts, to one in 100,000).
        zeros: numbers that are 0, where all others are above it; with the smallest of those and
            their standard deviation.
    """

    n: int
    missing: int
    texts: int = 0
    infinite: int = 0
    whole: bool = False
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    n_unique: int | None = None
    values: list[Any] | None = None
    rounding: float = 0.0
    distinct: bool = False
    zeros: tuple[int, float, float] | None = None

    @property
    def known(self) -> int:
        return self.n - self.missing

    @property
    def numbers(self) -> int:
        return self.known - self.texts

    @property
    def holds_numbers(self) -> bool:
        return self.numbers > 0 and not self.texts


@dataclass(frozen=True)
class Survey:
    """Of a file, or of the rows of it that are kept.

    Attributes:
        n_rows: rows.
        facts: of the inputs and the target, by position.
        guesses: what was right of the guesses, by position.
    """

    n_rows: int
    facts: Mapping[int, Facts]
    guesses: Mapping[int, Guess]


def survey(cells: Cells, guesses: Mapping[int, Guess], then: Then = lambda lazy: lazy) -> Survey:
    """The facts of all columns.

    Args:
        guesses: what the columns are likely to be, by position.
        then: which rows are meant.
    """
    signs = cells.columns.dialect.signs

    def first(lazy: pl.LazyFrame) -> pl.LazyFrame:
        asked = [pl.len().alias("n")]
        for position, guess in guesses.items():
            asked += _first(position, guess, position in cells.numbers, signs)
        asked += [pl.col(LAST).any().alias("short")] * bool(cells.control)
        return then(lazy).select(asked)

    row = cells.query(first).row(0, named=True)
    n_rows = row["n"]
    facts = {p: Facts(n_rows, **_of(row, p)) for p in guesses}
    cells.refuse_short_rows(bool(row.get("short")))
    late = {p for p, g in guesses.items() if g.is_text and not g.given and facts[p].holds_numbers}
    if late:  # the first rows held none of their values
        guesses = {p: replace(g, is_text=False) if p in late else g for p, g in guesses.items()}
        return survey(cells, guesses, then)
    again = {p: asked for p, guess in guesses.items() if (asked := _again(p, guess, facts[p]))}
    if again and n_rows:

        def second(lazy: pl.LazyFrame) -> pl.LazyFrame:
            asked = []
            for position, names in again.items():
                value = _value(position, guesses[position], position in cells.numbers, signs)
                asked += _second(position, names, value, facts[position])
            return then(lazy).select(asked)

        row = cells.query(second).row(0, named=True)
        for position in again:
            _note(facts[position], _of(row, position))
    return Survey(n_rows, facts, guesses)


def _of(row: Mapping[str, Any], position: int) -> dict[str, Any]:
    start = f"{position}."
    return {k.removeprefix(start): v for k, v in row.items() if k.startswith(start)}


def _value(position: int, guess: Guess, is_number: bool, signs: Signs) -> pl.Expr:
    cells = pl.col(str(position))
    return cells if is_number or guess.is_text else as_number(cells, signs, guess.form)


def _named(position: int, **asked: pl.Expr) -> list[pl.Expr]:
    return [expression.alias(f"{position}.{name}") for name, expression in asked.items()]


def _first(position: int, guess: Guess, is_number: bool, signs: Signs) -> list[pl.Expr]:
    cells = pl.col(str(position))
    asked = {"missing": cells.null_count()}
    if not is_number:
        number = as_number(cells, signs, guess.form)
        word = number.is_infinite() & spells_infinity(cells) if guess.is_text else pl.lit(False)
        asked["texts"] = (cells.is_not_null() & (number.is_null() | word)).sum()
    if guess.is_text:
        if guess.n_values < FEW:
            asked["values"] = cells.drop_nulls().unique().implode()
        else:
            asked["n_unique"] = cells.drop_nulls().approx_n_unique()
        return _named(position, **asked)
    value = _value(position, guess, is_number, signs)
    return _named(position, **asked, **_figures(value))


def _figures(value: pl.Expr) -> dict[str, pl.Expr]:
    return {
        "infinite": (value.abs() >= FLOAT32_OVERFLOW).sum(),
        "whole": (value == value.floor()).all(),
        "low": value.min(),
        "high": value.max(),
        "mean": value.mean(),
        "std": value.std(ddof=0),
    }


def _again(position: int, guess: Guess, facts: Facts) -> list[str]:
    """What else is to be asked of a column."""
    if guess.is_text:
        few = facts.values is None and (facts.n_unique or 0) < 1.2 * MOST_CATEGORIES
        return ["values"] * few
    if not facts.numbers or facts.texts or facts.infinite:
        return []
    asked = []
    assert facts.low is not None
    assert facts.high is not None
    assert facts.std is not None
    largest = max(abs(facts.low), abs(facts.high))
    if facts.low < facts.high and largest * HALF_STEP > NEGLIGIBLE * facts.std > 0:
        asked.append("rounding")
    if facts.whole and facts.low < facts.high:
        n_between = facts.high - facts.low + 1
        asked += ["values"] * (n_between <= FEW or guess.n_values <= guess.most_integers)
        asked += ["n_unique", "distinct"] * (n_between >= facts.known / 2)
    if facts.low == 0 and facts.high > 0:
        asked.append("zeros")
    return asked


def _second(position: int, asked: Iterable[str], value: pl.Expr, facts: Facts) -> list[pl.Expr]:
    known = value.drop_nulls()
    share = -(-facts.known // REMEMBERED)
    some = known if share <= 1 else known.filter(known.hash() % share == 0)
    above = value.filter(value > 0)
    expressions = {
        "rounding": (value - value.cast(pl.Float32).cast(pl.Float64)).abs().max(),
        "values": known.unique().implode(),
        "n_unique": known.approx_n_unique(),
        "distinct": (some.n_unique() == some.len()).all(),
        "zeros": pl.concat_list(
            (value == 0).sum().cast(pl.Float64), above.min(), above.std(ddof=0)
        ),
    }
    return _named(position, **{name: expressions[name] for name in asked})


def _note(facts: Facts, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if name == "zeros":
            n, least, std = value
            value = (int(n), least, std) if n else None
        setattr(facts, name, value)
