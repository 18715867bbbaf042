"""What type a column is: the user's word, or else what its cells show.

Whole numbers are numbers, however few they are, so that columns of one kind have one type; they
are categories, or 0 and 1 a boolean, where `data.integer_categories` or `data.categorical` says
so. A pair of texts that answers a question is a boolean.
"""

from __future__ import annotations

from collections.abc import Sequence

from normlab.config.typed import setting
from normlab.data.file.columns import Selection
from normlab.data.meaning.facts import MOST_CATEGORIES, Facts
from normlab.data.meaning.guess import Guess
from normlab.data.schema import Column
from normlab.errors import UserError

# Pairs of texts that answer a question; any other two are categories.
BOOLEANS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
# Few whole numbers are categories where each stands in so many rows on average.
ROWS_PER_INTEGER = 20
MANY_VALUES = 50  # of a text: from here on it is more likely a name than a category


class NotNumeric(Exception):
    """A column of numbers holds text."""


def column_of(name: str, facts: Facts, guess: Guess, selection: Selection, source: str) -> Column:
    """The column.

    Raises:
        NotNumeric: numbers and text are mixed, and the type is not given as categorical.
        UserError: it holds no value at all, or too many categories.
    """
    place, remedy = f"{source}, column {name!r}", setting("data.drop", [name])
    if not facts.known:
        raise UserError(f"{place}: every value is missing. Leave it out: {remedy}.")
    if facts.texts and guess.given != "categorical" and (facts.numbers or not guess.is_text):
        raise NotNumeric(name)
    missing = facts.missing > 0 and selection.missing == "impute"
    if guess.is_text:
        if facts.values is None:
            raise UserError(
                f"{place}: more than {MOST_CATEGORIES:,} different values, and a categorical "
                f"column may have no more. If it is a name or an id, leave it out: {remedy}."
            )
        pair = _boolean(facts.values) if guess.given is None else None
        if pair is not None:
            return Column(name, "boolean", pair, missing)
        return Column(name, "categorical", tuple(sorted(facts.values)), missing)
    assert facts.low is not None
    assert facts.high is not None
    values = sorted(map(int, facts.values or ())) if guess.form == "plain" else []
    if 1 < len(values) <= guess.most_integers:
        if values == [0, 1]:
            return Column(name, "boolean", (0, 1), missing)
        if facts.n >= ROWS_PER_INTEGER * len(values):
            return Column(name, "categorical", tuple(values), missing)
    return Column(
        name, missing=missing, form=guess.form, low=float(facts.low), high=float(facts.high)
    )


def _boolean(texts: Sequence[str]) -> tuple[str, str] | None:
    if len(texts) > 16:
        return None
    lower = {text.lower() for text in texts}
    return next((pair for pair in BOOLEANS if lower == set(pair)), None)
