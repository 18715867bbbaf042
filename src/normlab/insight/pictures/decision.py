"""What a network decides over one or two of its inputs, all others as is usual there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.data.schema import Schema
from normlab.insight.pictures.sample import logits, probabilities
from normlab.model.network import Network

CURVE, SURFACE = 401, 41  # places along an axis of numbers, of a curve and of a surface
MARGIN = 0.04  # beyond the shown rows, as a share of their range
TAIL = 0.002  # share of rows at either end that may lie outside, lest one row squeeze all others
MOST_VALUES = 10  # categories along an axis
MOST_NEIGHBOURS = 500
BANDWIDTH = 0.1  # of the kernel, as a share of an axis


@dataclass(frozen=True, eq=False)
class Axis:
    """One input along an axis of a picture.

    Attributes:
        column: its position among the columns of the rows.
        name: its name.
        grid: (k,) raw values that the network is asked at, ascending; of categories their codes,
            the most frequent first.
        values: the names of the categories; empty where the input is a number.
    """

    column: int
    name: str
    grid: NDArray[np.float32]
    values: tuple[str, ...] = ()

    def places(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Where the rows (n, columns) stand along the axis; nan where they have no place."""
        given = rows[:, self.column].astype(np.float64)
        if not self.values:
            return given
        places = np.full(len(given), np.nan)
        for place, code in enumerate(self.grid):
            places[given == code] = place
        return places


def axis_of(schema: Schema, rows: NDArray[np.float32], column: int, points: int) -> Axis:
    """The axis of a column, wide enough for the rows (n, columns)."""
    described = schema.columns[column]
    given = rows[:, column]
    known = given[~np.isnan(given)].astype(np.float64)
    if described.type != "numeric":
        codes, counts = np.unique(known, return_counts=True)
        common = codes[np.argsort(-counts, kind="stable")][:MOST_VALUES].astype(int)
        if described.type == "boolean":
            common = np.arange(len(described.categories))
        names = [*map(str, described.categories), "any other"]
        return Axis(
            column, described.name, common.astype(np.float32), tuple(names[c] for c in common)
        )
    low, high = np.quantile(known, [TAIL, 1 - TAIL]) if len(known) else (0.0, 1.0)
    margin = MARGIN * (high - low) or 0.5
    grid = np.linspace(low - margin, high + margin, points).astype(np.float32)
    return Axis(column, described.name, grid)


def curve(network: Network, axis: Axis) -> NDArray[np.float64]:
    """Probabilities of class 1 (k,) of a network of this one input."""
    return probabilities(logits(network, axis.grid[:, None]))


def surface(
    network: Network, schema: Schema, x: Axis, y: Axis, rows: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Probabilities of class 1 (k of y, k of x).

    Inputs seldom vary by themselves, so the others are not held at one value: at each place a
    number is the mean over the rows nearby (Nadaraya 1964 and Watson 1964, with a Gaussian
    kernel), and anything else is that of the nearest row.

    Args:
        rows: (n, columns) in raw units, the first `MOST_NEIGHBOURS` of which count.
    """
    across, up = (grid.ravel() for grid in np.meshgrid(x.grid, y.grid))
    if rows.shape[1] == 2:
        asked = np.empty((len(across), 2), np.float32)
    else:
        asked = _usual(schema, [x, y], [across, up], rows)
    asked[:, x.column], asked[:, y.column] = across, up
    return probabilities(logits(network, asked)).reshape(len(y.grid), len(x.grid))


def _usual(
    schema: Schema,
    axes: list[Axis],
    values: list[NDArray[np.float32]],
    rows: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Rows (m, columns) as they are near each of m places."""
    rows = rows[:MOST_NEIGHBOURS]
    squares = np.zeros((len(values[0]), len(rows)), np.float32)
    for axis, column in zip(axes, values, strict=True):
        # Two categories are as far apart as the two ends of a number's axis.
        gaps = column[:, None] - rows[:, axis.column]
        gaps = gaps != 0 if axis.values else gaps / (axis.grid[-1] - axis.grid[0])
        squares += np.nan_to_num(np.float32(gaps) ** 2, nan=1.0)
    nearest = squares.argmin(1)
    squares -= squares[np.arange(len(squares)), nearest][:, None]
    weights = np.exp(-squares / (2 * BANDWIDTH**2))
    usual = rows[nearest]
    numbers = [i for i, column in enumerate(schema.columns) if column.type == "numeric"]
    given = rows[:, numbers]
    known = ~np.isnan(given)
    total = _product(weights, known.astype(np.float32))
    means = _product(weights, np.where(known, given, np.float32(0))) / np.maximum(total, 1e-30)
    usual[:, numbers] = np.where(total > 0, means, np.nan)
    return usual


def _product(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """A matrix product by torch: NumPy's threads keep a core busy long after it is done."""
    return (torch.from_numpy(one) @ torch.from_numpy(other)).numpy()
