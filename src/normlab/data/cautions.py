"""What looks like a mistake that would cost a day: said before training, never a refusal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.config.typed import setting
from normlab.data.facts import Facts, note_facts
from normlab.data.moments import Moments
from normlab.data.schema import Column, Schema

# Above this share of a column's standard deviation, float32's rounding is worth a warning.
TOLERATED_ROUNDING = 1e-3
SAMPLE = 50_000  # rows that a leak is looked for in
SAMPLE_CELLS = 2**21  # of a wide table fewer rows, but no fewer than these:
WIDE_SAMPLE = 1_000
FEWEST = 20  # rows below which any column may look like an id or a leak
LEAK = 0.999  # AUROC of a column alone, or share of rows that its categories explain
IMBALANCE = 0.05  # share of the rarer class
FAR_APART = 100.0  # ratio of the largest to the smallest standard deviation: docs/diagnosis.md


def cautions(
    frame: pl.DataFrame, labels: NDArray[np.float32] | None, schema: Schema, source: str
) -> list[str]:
    """One message for each column that needs a second look, and one for a rare class.

    Args:
        frame: the input columns, float64 or text, before they are rounded to float32.
        labels: (n,), each 0 or 1.
    """
    sample = frame.gather_every(_step(*frame.shape)) if frame.height else frame
    sample = sample.with_columns(pl.col(pl.Float64).cast(pl.Float32))  # as a network sees it
    return cautions_of(facts_of(frame), sample, labels, schema, source)


def facts_of(frame: pl.DataFrame) -> list[Facts]:
    """The facts of each column."""
    facts = [Facts() for _ in range(frame.width)]
    note_facts(facts, frame)
    return facts


def cautions_of(
    facts: Sequence[Facts],
    sample: pl.DataFrame,
    labels: NDArray[np.float32] | None,
    schema: Schema,
    source: str,
) -> list[str]:
    """As `cautions`, of a table of which only the facts and a sample are at hand.

    Args:
        facts: of each input column, before rounding to float32.
        sample: evenly spaced rows of the input columns (`sample_of`), in float32 or as text.
        labels: (n,), of all rows.
    """
    messages = []
    step = _step(0 if labels is None else len(labels), len(facts))
    for about, series, column in zip(facts, sample, schema.columns, strict=True):
        place = f"{source}, column {column.name!r}: "
        leak = None
        if labels is not None and len(facts) > 1:
            leak = _leak(series, column, labels[::step], float(labels.mean()))
        for message in (_coarse(about, column), _constant(about, column), _identity(about, column)):
            messages += [place + message] if message is not None else []
        messages += [place + leak] if leak is not None else []
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
    return pl.DataFrame(rows[:: _step(*rows.shape)]).fill_nan(None)


def _step(n_rows: int, n_columns: int) -> int:
    most = min(SAMPLE, max(WIDE_SAMPLE, SAMPLE_CELLS // max(1, n_columns)))
    return max(1, -(-n_rows // most))


def scales_far_apart(
    rows: NDArray[np.float32], columns: Sequence[Column], source: str
) -> str | None:
    """What to say of rows (n, columns) that no normalization brings to one scale."""
    spreads = {
        column.name: moments.variance**0.5
        for moments, column in zip(_moments(rows), columns, strict=True)
        if column.type == "numeric" and moments.variance > 0
    }
    if not spreads:
        return None
    widest, narrowest = max(spreads, key=spreads.get), min(spreads, key=spreads.get)  # pyright: ignore[reportArgumentType, reportCallIssue]
    ratio = spreads[widest] / spreads[narrowest]
    if ratio < FAR_APART:
        return None
    return (
        f"{source}: the scales of columns {widest!r} and {narrowest!r} lie {ratio:,.0f} times "
        f"apart, and normalization=none keeps them so. Another normalization brings them together."
    )


def _moments(rows: NDArray[np.floating]) -> list[Moments]:
    """Of each column of rows (n, columns), of which many may be on disk."""
    total = [Moments(0, 0.0, 0.0)] * rows.shape[1]
    at_once = max(1, SAMPLE_CELLS // max(1, rows.shape[1]))
    for start in range(0, len(rows), at_once):
        for i, column in enumerate(rows[start : start + at_once].T.astype(np.float64)):
            known = column[~np.isnan(column)]
            if len(known):
                total[i] = total[i].merged(Moments(len(known), known.mean(), known.var()))
    return total


def useless(frame: pl.DataFrame, columns: Sequence[Column]) -> list[str]:
    """Names of the columns that are constant or look like an id."""
    pairs = zip(facts_of(frame), columns, strict=True)
    return [c.name for about, c in pairs if _constant(about, c) or _identity(about, c)]


def _coarse(facts: Facts, column: Column) -> str | None:
    """Where rounding to float32 moves a value by a noticeable share of its column's spread.

    The criterion is the largest rounding error against the column's standard deviation, rather
    than float32's step at that size: whole numbers below 2^24 have a step but no error.
    """
    if column.type != "numeric" or facts.low is None or facts.low == facts.high:
        return None  # rounding may leave a constant column a variance
    spread = facts.moments.variance**0.5
    if not 0 < spread * TOLERATED_ROUNDING < facts.rounding:
        return None
    largest = np.float32(max(abs(facts.low), abs(facts.high)))
    return (
        f"near {largest:.3g} float32 tells values apart in steps of {np.spacing(largest):.3g} "
        f"only, coarse for a column whose standard deviation is {spread:.3g}. Subtract a reference "
        f"from the column, such as its first value."
    )


def _constant(facts: Facts, column: Column) -> str | None:
    if facts.n_rows < 2 or column.categories[1:] or facts.low != facts.high:
        return None
    remedy = setting("data.drop", [column.name])
    return f"holds one value, {facts.low!r}, in every row. Leave it out: {remedy}."


def _identity(facts: Facts, column: Column) -> str | None:
    """Text or whole numbers that never come twice."""
    n_rows = facts.n_rows
    if n_rows < FEWEST or facts.n_missing or column.type == "boolean":
        return None
    if column.type == "categorical" and len(column.categories) < n_rows:
        return None
    if column.type == "numeric":
        if not facts.distinct:
            return None
        consecutive = facts.high - facts.low == n_rows - 1
        if n_rows < 5 * FEWEST and not consecutive:  # few rows may differ by chance
            return None
    return (
        f"is different in every row, as an id or a row number is. If it is one, leave it out: "
        f"{setting('data.drop', [column.name])}."
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
