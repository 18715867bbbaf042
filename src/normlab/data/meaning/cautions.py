"""What looks like a mistake that would cost a day: said before training, never a refusal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.config.typed import setting
from normlab.data.meaning.facts import Facts
from normlab.data.meaning.types import MANY_VALUES
from normlab.data.schema import Column, Schema

# Above this share of a column's standard deviation, float32's rounding is worth a warning.
TOLERATED_ROUNDING = 1e-3
SAMPLE = 50_000  # rows that a leak is looked for in
SAMPLE_CELLS = 2**21  # of a wide table fewer rows, but no fewer than these:
WIDE_SAMPLE = 1_000
FEWEST = 20  # rows below which any column may look like an id or a leak
LEAK = 0.999  # AUROC of a column alone, or share of rows that its categories explain
IMBALANCE = 0.05  # share of the rarer class
SCALE = 10  # different whole numbers, which are steps or codes and of which 0 may be one
ROWS_PER_VALUE = 10  # a text of many values, each in so few rows, is a name


def cautions(
    facts: Sequence[Facts],
    sample: pl.DataFrame,
    labels: NDArray[np.float32] | None,
    schema: Schema,
    source: str,
    dressed: Collection[str] = (),
) -> list[str]:
    """One message for each column that needs a second look, and one for a rare class.

    Args:
        facts: of each input column, before rounding to float32.
        sample: evenly spaced rows of the input columns (`sample_of`), in float32.
        labels: (n,), of all rows.
        dressed: names of the columns whose texts are numbers: no ids.
    """
    messages = []
    step = sample_step(0 if labels is None else len(labels), len(facts))
    for about, series, column in zip(facts, sample, schema.columns, strict=True):
        place = f"{source}, column {column.name!r}: "
        found = [_coarse(about, column), _constant(about, column), _zeros(about, column)]
        found += [_identity(about, column)] * (column.name not in dressed)
        if labels is not None and len(facts) > 1:
            found.append(_leak(series, column, labels[::step], float(labels.mean())))
        messages += [place + message for message in found if message is not None]
    if labels is not None and len(labels) >= FEWEST:
        positive = float(labels.mean())
        rarer = min(positive, 1 - positive)
        if rarer < IMBALANCE:
            value = schema.classes[int(positive < 0.5)]
            messages.append(
                f"{source}: only {rarer:.2%} of the rows are {value!r}, so accuracy says little. "
                f"Look at AUROC, and consider model.pos_weight=balanced."
            )
    return messages


def sample_of(rows: NDArray[np.float32]) -> pl.DataFrame:
    """The rows in which a leak is looked for, null where a value is missing."""
    return pl.DataFrame(rows[:: sample_step(*rows.shape)]).fill_nan(None)


def sample_step(n_rows: int, n_columns: int) -> int:
    """The distance between the rows of a sample."""
    most = min(SAMPLE, max(WIDE_SAMPLE, SAMPLE_CELLS // max(1, n_columns)))
    return max(1, -(-n_rows // most))


def is_useless(facts: Facts, column: Column) -> bool:
    """Whether a column is constant, or looks like an id or a name."""
    return _constant(facts, column) is not None or _identity(facts, column) is not None


def _coarse(facts: Facts, column: Column) -> str | None:
    """Where rounding to float32 moves a value by a noticeable share of its column's spread.

    The criterion is the largest rounding error against the column's standard deviation, rather
    than float32's step at that size: whole numbers below 2^24 have a step but no error.
    """
    if column.type != "numeric" or facts.low is None or facts.high is None:
        return None
    if facts.low == facts.high or not 0 < facts.std * TOLERATED_ROUNDING < facts.rounding:
        return None
    largest = np.float32(max(abs(facts.low), abs(facts.high)))
    return (
        f"near {largest:.3g} float32 tells values apart in steps of {np.spacing(largest):.3g} "
        f"only, coarse for a column whose standard deviation is {facts.std:.3g}. Subtract a "
        f"reference from the column, such as its first value."
    )


def _constant(facts: Facts, column: Column) -> str | None:
    if facts.n < 2 or column.categories[1:]:
        return None
    if column.type == "numeric" and facts.low != facts.high:
        return None
    value = column.categories[0] if column.categories else facts.low
    remedy = setting("data.drop", [column.name])
    return f"holds one value, {value!r}, in every row. Leave it out: {remedy}."


def _identity(facts: Facts, column: Column) -> str | None:
    """Text or whole numbers that never come twice, or texts that few rows share."""
    if facts.n < FEWEST or column.type == "boolean" or column.form != "plain":
        return None
    remedy = f"leave it out: {setting('data.drop', [column.name])}."
    n_values = len(column.categories)
    if column.type == "categorical" and n_values < facts.n:
        if n_values <= max(MANY_VALUES, facts.known / ROWS_PER_VALUE):
            return None
        return (
            f"holds {n_values:,} different values in {facts.known:,} rows, as names and ids do. "
            f"What few rows share teaches little: {remedy}"
        )
    if column.type == "numeric":
        if not facts.distinct or facts.missing or facts.low is None or facts.high is None:
            return None
        consecutive = facts.high - facts.low == facts.n - 1
        if facts.n < 5 * FEWEST and not consecutive:  # few rows may differ by chance
            return None
    return f"is different in every row, as an id or a row number is. If it is one, {remedy}"


def _zeros(facts: Facts, column: Column) -> str | None:
    """Zeros that lie apart from all other values, which are positive: no such value was measured.

    The gap has to be wider than the other values' own standard deviation.
    """
    if column.type != "numeric" or facts.low != 0 or not 0 < facts.zeros < facts.known / 2:
        return None
    is_scale = facts.values is not None and len(facts.values) <= SCALE
    if is_scale or not 0 < facts.above.variance**0.5 < facts.least:
        return None
    return (
        f"{facts.zeros:,} values are 0 and all others are {facts.least:.4g} or more: a missing "
        f"value may be written so. If it is, leave those cells blank and set data.missing=impute."
    )


def _leak(
    series: pl.Series, column: Column, labels: NDArray[np.float32], positive: float
) -> str | None:
    """A column that tells the classes apart by itself may be known only after the label.

    Args:
        series: a sample of it.
        labels: of the same rows.
        positive: share of class 1 in all rows.
    """
    if len(labels) < FEWEST:
        return None
    frame = pl.DataFrame({"x": series, "y": labels}).drop_nulls()
    if frame["y"].n_unique() < 2:
        return None
    if column.type == "numeric":
        ranks = frame.select(pl.col("x").rank("average").alias("rank"), "y")
        of_positive = ranks["rank"].filter(ranks["y"] == 1)
        n1, n0 = len(of_positive), len(ranks) - len(of_positive)
        area = (float(of_positive.sum()) - n1 * (n1 + 1) / 2) / (n1 * n0)
        power, what = max(area, 1 - area), "AUROC of the column alone"
    else:
        groups = frame.group_by("x").agg(pl.len().alias("n"), pl.col("y").sum().alias("n1"))
        if len(groups) > len(frame) / 2:  # nearly an id explains every row, and nothing
            return None
        right = groups.select(pl.max_horizontal("n1", pl.col("n") - pl.col("n1")).sum()).item()
        power, what = right / len(frame), "rows that its categories explain"
        if max(positive, 1 - positive) > LEAK:
            return None
    if power < LEAK:
        return None
    return (
        f"predicts the label by itself ({what}: {power:.4g}). If it is known only after the label, "
        f"it leaks: leave it out, {setting('data.drop', [column.name])}."
    )
