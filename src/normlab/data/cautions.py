"""What looks like a mistake that would cost a day: said before training, never a refusal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.schema import Column, Schema
from normlab.quoting import setting

# Above this share of a column's standard deviation, float32's rounding is worth a warning.
TOLERATED_ROUNDING = 1e-3
SAMPLE = 50_000  # rows that a leak is looked for in
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
    messages = []
    for series, column in zip(frame, schema.columns, strict=True):
        place = f"{source}, column {column.name!r}: "
        for message in (
            _coarse(series, column),
            _constant(series, column),
            _identity(series, column),
            _leak(series, column, labels) if labels is not None and frame.width > 1 else None,
        ):
            messages += [place + message] if message is not None else []
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


def scales_far_apart(
    rows: NDArray[np.float32], columns: Sequence[Column], source: str
) -> str | None:
    """What to say of rows (n, columns) that no normalization brings to one scale."""
    spreads = {
        column.name: float(std)
        for values, column in zip(rows.T, columns, strict=True)
        if column.type == "numeric"
        for std in [np.nanstd(values.astype(np.float64))]
        if std > 0
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


def useless(frame: pl.DataFrame, columns: Sequence[Column]) -> list[str]:
    """Names of the columns that are constant or look like an id."""
    pairs = zip(frame, columns, strict=True)
    return [c.name for series, c in pairs if _constant(series, c) or _identity(series, c)]


def _coarse(series: pl.Series, column: Column) -> str | None:
    """Where rounding to float32 moves a value by a noticeable share of its column's spread.

    The criterion is the largest rounding error against the column's standard deviation, rather
    than float32's step at that size: whole numbers below 2^24 have a step but no error.
    """
    if column.type != "numeric":
        return None
    rounding = (series - series.cast(pl.Float32)).abs().max()
    spread = series.std(ddof=0)
    assert isinstance(rounding, float)
    assert isinstance(spread, float)
    if not 0 < spread * TOLERATED_ROUNDING < rounding:
        return None
    largest = np.nanmax(np.abs(series.to_numpy()).astype(np.float32))
    return (
        f"near {largest:.3g} float32 tells values apart in steps of {np.spacing(largest):.3g} "
        f"only, coarse for a column whose standard deviation is {spread:.3g}. Subtract a reference "
        f"from the column, such as its first value."
    )


def _constant(series: pl.Series, column: Column) -> str | None:
    if len(series) < 2 or column.categories[1:]:
        return None
    low, high = series.min(), series.max()
    if low != high:
        return None
    remedy = setting("data.drop", [column.name])
    return f"holds one value, {low!r}, in every row. Leave it out: {remedy}."


def _identity(series: pl.Series, column: Column) -> str | None:
    """Text or whole numbers that never come twice."""
    n_rows = len(series)
    if n_rows < FEWEST or series.null_count() or column.type == "boolean":
        return None
    if column.type == "categorical" and len(column.categories) < n_rows:
        return None
    if column.type == "numeric":
        if not (series.head(FEWEST) == series.head(FEWEST).floor()).all():
            return None
        if series.head(SAMPLE).n_unique() < min(n_rows, SAMPLE):
            return None
        if not (series == series.floor()).all() or series.n_unique() < n_rows:
            return None
        consecutive = series.max() - series.min() == n_rows - 1  # type: ignore[operator]
        if n_rows < 5 * FEWEST and not consecutive:  # few rows may differ by chance
            return None
    return (
        f"is different in every row, as an id or a row number is. If it is one, leave it out: "
        f"{setting('data.drop', [column.name])}."
    )


def _leak(series: pl.Series, column: Column, labels: NDArray[np.float32]) -> str | None:
    """A column that tells the classes apart by itself may be known only after the label."""
    if len(labels) < FEWEST:
        return None
    step = -(-len(series) // SAMPLE)
    frame = pl.DataFrame({"x": series.gather_every(step), "y": labels[::step]}).drop_nulls()
    if frame["y"].n_unique() < 2:
        return None
    if column.type == "numeric":
        ranks = frame.select(pl.col("x").rank("average").alias("rank"), "y")
        positive = ranks["rank"].filter(ranks["y"] == 1)
        n1, n0 = len(positive), len(ranks) - len(positive)
        area = (float(positive.sum()) - n1 * (n1 + 1) / 2) / (n1 * n0)
        power, what = max(area, 1 - area), "AUROC of the column alone"
    else:
        groups = frame.group_by("x").agg(pl.len().alias("n"), pl.col("y").sum().alias("n1"))
        if len(groups) > len(frame) / 2:  # nearly an id explains every row, and nothing
            return None
        right = groups.select(pl.max_horizontal("n1", pl.col("n") - pl.col("n1")).sum()).item()
        majority = max(float(labels.mean()), 1 - float(labels.mean()))
        power, what = right / len(frame), "rows that its categories explain"
        if majority > LEAK:
            return None
    if power < LEAK:
        return None
    return (
        f"predicts the label by itself ({what}: {power:.4g}). If it is known only after the label, "
        f"it leaks: leave it out, {setting('data.drop', [column.name])}."
    )
