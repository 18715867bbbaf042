"""Where a noisy curve ends, and whether it still falls there."""

from __future__ import annotations

import math
from statistics import median  # of few numbers ten times as fast as NumPy's

import numpy as np
from numpy.typing import NDArray

TAIL = 1 / 3  # of the epochs: where the trend is read


def tail_of(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    return curve[-max(2, math.ceil(len(curve) * TAIL)) :]


def level_of(curve: NDArray[np.float64]) -> float:
    """Where a curve ends: the median of the last half of its tail."""
    tail = tail_of(curve)
    return median(tail[len(tail) // 2 :].tolist())


def fall_of(curve: NDArray[np.float64]) -> float:
    """By how much the curve falls over its tail, from the medians of the tail's halves."""
    tail = tail_of(curve)
    if len(tail) < 2:
        return 0.0
    half = len(tail) // 2
    return 2 * (median(tail[:half].tolist()) - median(tail[-half:].tolist()))


def falls_throughout(curve: NDArray[np.float64]) -> bool:
    """Whether the tail's last half has the lowest epoch, and none back at the first half's level.

    A curve that jumps may have a lower median there by chance.
    """
    tail = tail_of(curve)
    half = len(tail) // 2
    if half == 0 or len(curve) - np.argmin(curve) > half:
        return False
    return bool(tail[-half:].max() < median(tail[:half].tolist()))


def smoothed(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of neighbours, as many as a twentieth of the curve: no lucky epoch is its best."""
    width = max(1, len(curve) // 20)
    return np.convolve(curve, np.full(width, 1 / width), mode="valid")
