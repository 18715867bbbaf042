"""The values of a label's column become class 0 and class 1."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from normlab.config.typed import setting
from normlab.data.file.numbers import PLAIN_SIGNS, Signs, as_number, listed, number, values_of
from normlab.data.schema import Value
from normlab.errors import UserError

LISTED_VALUES = 5
GROUPS = (" or ", "rest")  # how a class of several values is named

Values = tuple[Value, ...]


def label_groups(
    spellings: Sequence[str],
    place: str,
    positive: Value | Sequence[Value] | None = None,
    signs: Signs = PLAIN_SIGNS,
) -> tuple[Values, Values]:
    """The values of class 0 and of class 1.

    Numbers are sorted by value (-1 before 1, and "1" is "1.0"), text by its characters ("<=50K"
    before ">50K", "No" before "Yes"); of two values the larger is class 1.

    Args:
        spellings: the texts that the column holds.
        place: the file and the column, for messages.
        positive: the value or the values of class 1, where all others are class 0.

    Raises:
        UserError: the column holds one value, or more than two and `positive` does not say which
            of them are class 1.
    """
    values = _sorted(set(values_of(spellings, signs)))
    if len(values) < 2:
        raise UserError(
            f"{place}: the label holds one value ({listed(values)}), and a binary classifier "
            f"needs two. Choose another data.target or change the rows."
        )
    if positive is None:
        if len(values) > 2:
            more = ", ..." if len(values) > LISTED_VALUES else ""
            raise UserError(
                f"{place}: the label holds {len(values)} different values "
                f"({', '.join(map(repr, values[:LISTED_VALUES]))}{more}), and a binary classifier "
                f"needs two. Say which of them are class 1, against the rest, for example "
                f"{setting('data.positive', [values[0]])}, or choose another data.target."
            )
        negative, larger = values
        return (negative,), (larger,)
    wanted = [positive] if isinstance(positive, (str, int, float)) else list(positive)
    chosen = [_meant(value, values, place) for value in wanted]
    rest = tuple(value for value in values if value not in chosen)
    if not rest:
        raise UserError(
            f"{place}: data.positive holds all values of the label ({listed(values)}), so none is "
            f"left for class 0. Name fewer."
        )
    return rest, tuple(_sorted(set(chosen)))


def class_names(groups: tuple[Values, Values]) -> tuple[Value, Value]:
    """What a prediction calls the classes: the value, or for several of them a description."""
    negatives, positives = groups
    joint, rest = GROUPS
    return (
        negatives[0] if len(negatives) == 1 else rest,
        positives[0] if len(positives) == 1 else joint.join(map(str, positives)),
    )


def label_code(text: pl.Expr, groups: tuple[Values, Values], signs: Signs) -> pl.Expr:
    """float32: 0 or 1 by the group that holds the value, infinite where none does; or null."""
    if any(isinstance(value, str) for group in groups for value in group):
        value, known = text, [list(map(str, group)) for group in groups]
    else:
        value, known = as_number(text, signs), [list(map(float, group)) for group in groups]
    code = pl.when(value.is_in(known[1])).then(1.0).when(value.is_in(known[0])).then(0.0)
    return pl.when(text.is_not_null()).then(code.otherwise(float("inf"))).cast(pl.Float32)


def _meant(wanted: Value, values: Sequence[Value], place: str) -> Value:
    """The label's value that is named: a command line reads 1 as a number and true as a bool."""
    for value in values:
        if value == wanted and not isinstance(wanted, bool):
            return value
        if str(value) == str(wanted) or number(str(wanted)) == value:
            return value
        if isinstance(wanted, bool) and str(value).lower() == str(wanted).lower():
            return value
    raise UserError(
        f"{place}: data.positive names {wanted!r}, which is none of the label's values "
        f"({listed(values, LISTED_VALUES)}). Name one of them."
    )


def _sorted(values: set[Value]) -> list[Value]:
    # All are numbers or all are text, which the type of the set cannot say.
    return sorted(values)  # pyright: ignore[reportArgumentType, reportCallIssue]
