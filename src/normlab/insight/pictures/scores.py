"""How well scores tell two classes apart: ROC, precision and recall, calibration, histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Z = 1.959964  # of a 95 % interval


def roc(scores: Array, labels: NDArray) -> tuple[Array, Array]:
    """False and true positive rates (k,) as the threshold falls, from (0, 0) to (1, 1)."""
    false, true = _counts(scores, labels)
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def precision_recall(scores: Array, labels: NDArray) -> tuple[Array, Array]:
    """Precision and recall (k,) as the threshold falls."""
    false, true = _counts(scores, labels)
    return true / (true + false), true / true[-1]


def average_precision(precision: Array, recall: Array) -> float:
    """The sum of precisions weighted by the growth of recall: no interpolation flatters it."""
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def _counts(scores: Array, labels: NDArray) -> tuple[Array, Array]:
    """Negatives and positives at or above each distinct score, the highest score first."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.cumsum(labels[order] > 0.5)[ends].astype(np.float64)
    return ends + 1 - true, true


@dataclass(frozen=True, eq=False)
class Calibration:
    """What came true of predictions that were alike, by bins of equal width that hold any row.

    Attributes:
        predicted: mean predicted probability of a bin (k,).
        observed: share of class 1 in it (k,).
        low, high: the share's 95 % interval after Wilson (1927) (k,).
        rows: number of rows in it (k,).
    """

    predicted: Array
    observed: Array
    low: Array
    high: Array
    rows: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over rows of |predicted - observed|."""
        gaps = np.abs(self.predicted - self.observed)
        return float(np.average(gaps, weights=self.rows))


def calibration(probabilities: Array, labels: NDArray, bins: int = 10) -> Calibration:
    """Predictions against the shares of class 1, in bins of equal width."""
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    rows = np.bincount(place, minlength=bins)
    kept = rows > 0
    n = rows[kept]
    predicted = np.bincount(place, probabilities, bins)[kept] / n
    observed = np.bincount(place, labels, bins)[kept] / n
    centre = (observed + Z**2 / (2 * n)) / (1 + Z**2 / n)
    spread = np.sqrt(observed * (1 - observed) / n + Z**2 / (4 * n**2)) * Z / (1 + Z**2 / n)
    low = np.clip(centre - spread, 0, observed)  # rounding may lead out
    high = np.clip(centre + spread, observed, 1)
    return Calibration(predicted, observed, low, high, n)


def histograms(
    probabilities: Array, labels: NDArray, bins: int = 20
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Edges (bins + 1,), and the rows of class 0 and of class 1 in each bin (bins,)."""
    edges = np.linspace(0, 1, bins + 1)
    negative, positive = (
        np.histogram(probabilities[labels == label], edges)[0] for label in (0, 1)
    )
    return edges, negative, positive
