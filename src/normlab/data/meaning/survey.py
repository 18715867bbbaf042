"""A whole file in figures: what one pass over its cells shows of every column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from normlab.data.file.cells import LAST, Then
from normlab.data.file.numbers import Signs, as_number, spells_infinity
from normlab.data.file.query import Cells
from normlab.data.meaning.facts import FEW, Facts
from normlab.data.meaning.guess import Guess

BATCH_CELLS = 2**19  # numbers at once: 4 MB
FEWEST_ROWS = 1_024  # in a batch


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

    Raises:
        UserError: the file cannot be read, or a row has too few cells.
    """
    seen = _surveyed(cells, guesses, then)
    late = [p for p, g in guesses.items() if g.is_text and not g.given]
    late = [p for p in late if seen.facts[p].holds_numbers]
    if late:  # the first rows held none of their values
        guesses = {p: replace(g, is_text=False) if p in late else g for p, g in guesses.items()}
        seen = _surveyed(cells, guesses, then)
    return seen


def _surveyed(cells: Cells, guesses: Mapping[int, Guess], then: Then) -> Survey:
    signs = cells.columns.dialect.signs
    facts = {p: Facts(max(FEW, guess.most_integers)) for p, guess in guesses.items()}

    def values(lazy: pl.LazyFrame) -> pl.LazyFrame:
        columns = [pl.col(name) for name in cells.control]
        for position, guess in guesses.items():
            columns += _value(position, guess, position in cells.numbers, signs)
        return then(lazy).select(columns)

    n_rows = 0
    for frame in cells.batches(values, batch_rows(cells)):
        n_rows += frame.height
        if cells.control:
            cells.refuse_short_rows(frame[LAST])
        for position, about in facts.items():
            texts = f"{position} texts"
            n_texts = int(frame[texts].sum()) if texts in frame.columns else 0
            about.see(frame[str(position)], n_texts)
    return Survey(n_rows, facts, guesses)


def batch_rows(cells: Cells) -> int:
    """About how many rows are in memory at once."""
    return max(FEWEST_ROWS, BATCH_CELLS // len(cells.columns.names))


def _value(position: int, guess: Guess, is_number: bool, signs: Signs) -> list[pl.Expr]:
    """A column's values, and which of its cells are texts that are no numbers."""
    name, cells = str(position), pl.col(str(position))
    if is_number or (guess.is_text and guess.given):
        return [cells]
    value = as_number(cells, signs, guess.form)
    is_text = cells.is_not_null() & value.is_null()
    if guess.is_text:
        is_text |= value.is_infinite().fill_null(False) & spells_infinity(cells)
    return [cells if guess.is_text else value.alias(name), is_text.alias(f"{name} texts")]
