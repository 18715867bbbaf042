"""How good probabilities are, with what resampling the rows says of each figure's uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

METRICS = ("loss", "accuracy", "auroc", "average_precision", "brier", "calibration_error")
CALIBRATION_BINS = 15  # as in Guo et al. 2017, "On calibration of modern neural networks"
RESAMPLES = 1_000
LEVEL = 0.95


@dataclass(frozen=True)
class Score:
    """A figure and its bootstrap interval; nan where it is not defined."""

    value: float
    low: float
    high: float


class Scores:
    """The figures of logits against labels, for the rows as they are and for resamples of them.

    - loss: mean binary cross-entropy in nats;
    - accuracy: share of rows on the right side of the threshold;
    - auroc: chance that a row of class 1 outranks one of class 0, ties counting half;
    - average_precision: sum of precision x step in recall over the falling thresholds;
    - brier: mean squared difference of probability and label;
    - calibration_error: the expected calibration error, over bins of equal width in the
      probability of class 1, sum of |mean probability - share of class 1| x share of rows.

    The rows are sorted once; a resample is then a count for each of them, and costs a few passes.

    Args:
        logits: (n,), n > 0.
        labels: (n,), each 0 or 1.
        threshold: of the probability, above which the answer is class 1.
    """

    def __init__(
        self, logits: NDArray[np.floating], labels: NDArray[np.floating], threshold: float = 0.5
    ) -> None:
        order = np.argsort(logits, kind="stable")
        z, y = logits[order].astype(np.float64), labels[order].astype(np.float64)
        p = np.exp(-np.logaddexp(0, -z))
        least_logit = np.log(threshold) - np.log1p(-threshold)
        right = (z > least_logit) == (y > 0.5)
        self._means = np.stack([np.logaddexp(0, z) - y * z, right, (p - y) ** 2])
        self._labels, self._residuals = y, p - y
        self._ties = np.flatnonzero(np.r_[True, z[1:] != z[:-1]])  # where a new logit starts
        edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
        bins = np.searchsorted(edges, p, side="left")  # a bin holds its upper edge
        self._bins = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])

    def __len__(self) -> int:
        return len(self._labels)

    def figures(self, counts: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """The figures of `METRICS`, in that order.

        Args:
            counts: (n,) how often each row occurs, in the order of the sorted logits; once by
                default.
        """
        if counts is None:
            counts = np.ones(len(self))
        total = counts.sum()
        loss, accuracy, brier = (_dot(mean, counts) / total for mean in self._means)
        positives = np.add.reduceat(counts * self._labels, self._ties)
        rows = np.add.reduceat(counts, self._ties)
        auroc, precision = _ranking(positives, rows - positives)
        gaps = np.add.reduceat(counts * self._residuals, self._bins)
        return np.array([loss, accuracy, auroc, precision, brier, np.abs(gaps).sum() / total])

    def with_intervals(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Score]:
        """Each figure with its interval of `LEVEL`, by name.

        Rows are drawn with replacement. The interval lies between the resamples' percentiles
        (Efron 1979). The calibration error is the exception: as a sum of absolute values it grows
        with noise, so that resamples lie above the figure itself, as it lies above the truth. The
        percentiles are reflected at it (the basic bootstrap interval: Davison and Hinkley 1997,
        section 5.2), and the interval ends at 0 or above and holds the figure.

        A resample without one of the classes counts for nothing in the figures that need both.

        Args:
            resamples: how many are drawn; 0 for no intervals.
        """
        values = self.figures()
        lows = highs = np.full(len(values), np.nan)
        if resamples:
            random, n = np.random.default_rng(seed), len(self)
            drawn = np.empty((resamples, len(values)))
            for i in range(resamples):
                counts = np.bincount(random.integers(0, n, n), minlength=n)
                drawn[i] = self.figures(counts.astype(np.float64))
            lows, highs = _percentiles(drawn)
            error = METRICS.index("calibration_error")
            low, high = 2 * values[error] - highs[error], 2 * values[error] - lows[error]
            lows[error], highs[error] = max(min(low, values[error]), 0), max(high, values[error])
        bounds = zip(METRICS, values.tolist(), lows.tolist(), highs.tolist(), strict=True)
        return {name: Score(value, low, high) for name, value, low, high in bounds}


def _ranking(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> tuple[float, float]:
    """AUROC and average precision of groups of equal logits, in ascending order."""
    n_positive, n_negative = positives.sum(), negatives.sum()
    if not n_positive:
        return np.nan, np.nan
    below = np.cumsum(negatives) - negatives
    at_least = n_positive - np.cumsum(positives) + positives
    called = at_least + n_negative - below  # rows at or above the group
    average = _dot(positives, at_least / np.maximum(called, 1)) / n_positive
    if not n_negative:
        return np.nan, average
    return _dot(positives, below + negatives / 2) / (n_positive * n_negative), average


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Not `@`: BLAS would start its threads for every resample, at ten times the cost."""
    return float((a * b).sum())


def _percentiles(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, metrics) bounds of draws (resamples, metrics), leaving out what is nan."""
    tail = (1 - LEVEL) / 2
    bounds = np.full((2, drawn.shape[1]), np.nan)
    for i, column in enumerate(drawn.T):
        known = column[~np.isnan(column)]
        if len(known):
            bounds[:, i] = np.quantile(known, [tail, 1 - tail])
    return bounds
