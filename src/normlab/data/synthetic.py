"""Data sets that need no file: two with a known law, where a result can be checked, one measured.

scikit-learn and scipy.signal are imported where they are used: they are slow to load, and a run on
a file needs neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError


def circles(rows: int = 500, noise: float = 0.1, factor: float = 0.2, seed: int = 123) -> Table:
    """Two concentric circles, the inner one being class 1: scikit-learn's `make_circles`.

    Args:
        rows: number of points in both circles together, at least 2.
        noise: standard deviation of the Gaussian noise on each coordinate; the outer radius is 1.
        factor: the inner radius, in [0, 1).
        seed: makes the draw repeatable.
    """
    from sklearn.datasets import make_circles

    points, inner = make_circles(n_samples=rows, noise=noise, factor=factor, random_state=seed)
    return _table(points, inner, Schema(("x1", "x2"), "label", (0, 1)), "circles")


def heart_rate(
    rows: int = 1800,
    mean: float = 92.6,
    std: float = 5.49,
    autocorrelation: float = 0.967,
    threshold: float = 91.0,
    seed: int = 123,
) -> Table:
    """One subject's heart rate, in beats per minute, with label 1 where it exceeds `threshold`.

    A stationary AR(1) series: x[t] = mean + rho (x[t-1] - mean) + std sqrt(1 - rho^2) e[t] with e
    standard normal and x[0] drawn from the stationary law, so every row has that law. The defaults
    are the statistics of record 11839 of MIT's Heart Rate Time Series, sampled every 0.5 s.

    `mean` and `std` are the law's. A sample's own statistics scatter around them, and more widely
    than those of independent rows: at rho = 0.967 the mean of n rows is as uncertain as that of
    n (1 - rho) / (1 + rho) = n / 60 independent ones.

    Args:
        rows: number of consecutive measurements.
        mean: of the law, in beats per minute.
        std: of the law, in beats per minute.
        autocorrelation: rho, between neighbouring rows, in (-1, 1).
        threshold: in beats per minute.
        seed: makes the draw repeatable.

    Raises:
        UserError: the draw holds a single class.
    """
    from scipy.signal import lfilter

    shocks = np.random.default_rng(seed).standard_normal(rows) * std
    shocks[1:] *= np.sqrt(1 - autocorrelation**2)
    series = mean + np.asarray(lfilter([1.0], [1.0, -autocorrelation], shocks))
    # The label is decided on the stored value, so that no rounding can contradict it.
    stored = series.astype(np.float32)
    labels = stored > threshold
    if labels.all() or not labels.any():
        side = "above" if labels.all() else "at or below"
        raise UserError(
            f"heart_rate: all {rows} rows lie {side} the threshold of {threshold} beats per "
            f"minute, so there is one class only. Bring data.threshold nearer to data.mean "
            f"({mean}), or raise data.std ({std}) or data.rows."
        )
    schema = Schema(("heart_rate",), "label", (0, 1))
    return _table(stored[:, None], labels, schema, "heart_rate")


def breast_cancer() -> Table:
    """Wisconsin breast cancer, 569 rows of 30 measurements, as shipped with scikit-learn.

    Class 1 is benign. The columns' scales lie up to five orders of magnitude apart.
    """
    from sklearn.datasets import load_breast_cancer

    data: Any = load_breast_cancer()
    negative, positive = (str(name) for name in data.target_names)
    features = tuple(str(name) for name in data.feature_names)
    schema = Schema(features, "target", (negative, positive))
    return _table(data.data, data.target, schema, "breast_cancer")


def _table(rows: ArrayLike, labels: ArrayLike, schema: Schema, source: str) -> Table:
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    return Table(rows, np.asarray(labels, dtype=np.float32), schema, source)
