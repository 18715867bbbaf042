"""Statistics of few, skewed, paired samples: what a handful of seeds can and cannot tell.

Losses of one setting over seeds are often two heaps (runs that learnt, runs that did not), so the
centre is a median, the spread its quartiles, and two settings are compared seed by seed.

Two kinds of 95 % intervals. A median's is the percentile bootstrap (Efron and Tibshirani 1993,
chapter 13; the corrected variant, BCa, rests on a jackknife that a median does not support). A
share's and a probability's is the exact one of Clopper and Pearson (1934): the bootstrap of six
wins in six seeds would be [1, 1], as sure as six hundred in six hundred; the exact one is
[0.54, 1], and it excludes 0.5 just where the sign test rejects at 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from normlab.diagnosis.verdict import learnt_nothing as has_learnt_nothing

FEWEST = 3  # below this many values there is no interval
FEWEST_TO_WIN = 6  # all of 5 wins: the interval begins at 0.48; all of 6: at 0.54
_RESAMPLES = 2000
_TIE = 1e-6  # relative: what float32 rounds is no difference


@dataclass(frozen=True)
class Summary:
    """A sample in short: (low, high) is the median's 95 % interval, nan below FEWEST values."""

    n: int
    median: float
    q1: float
    q3: float
    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """How many of n, as a share of 1; (low, high) is its 95 % interval, nan below FEWEST."""

    count: float
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.count / self.n if self.n else math.nan


@dataclass(frozen=True)
class Duel:
    """Two settings, seed by seed.

    Attributes:
        wins: the probability that the first has the lower loss, over n pairs; ties count half.
        difference: the first's loss minus the other's; below 0 is better.
    """

    wins: Share
    difference: Summary


def quantile(values: ArrayLike, q: float) -> NDArray[np.float64]:
    """The q-quantile along the first axis, between two values by linear interpolation.

    nan is a missing value and left out (nan where all are); inf is a value like any other, which
    numpy.quantile turns into nan.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)  # nan last
    count = np.sum(~np.isnan(ordered), axis=0)
    if ordered.shape[0] == 0:
        return np.full(ordered.shape[1:], np.nan)
    place = q * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.ceil(place).astype(np.int64)
    low = np.take_along_axis(ordered, below[None], axis=0)[0]
    high = np.take_along_axis(ordered, above[None], axis=0)[0]
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, low + (high - low) * (place - below))


def summarize(sample: ArrayLike) -> Summary:
    """Median, quartiles and the median's bootstrap interval, without missing values (nan)."""
    values = np.asarray(sample, dtype=np.float64)
    values = values[~np.isnan(values)]
    low, high = median_interval(values) if len(values) >= FEWEST else (math.nan, math.nan)
    q1, median, q3 = (float(quantile(values, q)) for q in (0.25, 0.5, 0.75))
    return Summary(len(values), median, q1, q3, low, high)


def median_interval(sample: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a median; the same at every call."""
    with np.errstate(invalid="ignore"):  # midway between -inf and inf: unknown, left out
        medians = np.median(sample[_resamples(len(sample))], axis=1)
    return float(quantile(medians, 0.025)), float(quantile(medians, 0.975))


@lru_cache(maxsize=4)
def _resamples(n: int) -> NDArray[np.int64]:
    # One draw serves all samples of a size. Fewer for huge samples: 8 million indices at most.
    draws = min(_RESAMPLES, max(200, 8_000_000 // n))
    return np.random.default_rng(0).integers(n, size=(draws, n))


def share(count: float, n: int) -> Share:
    """`count` of `n` with its exact interval; a half, from a tie, is taken as it stands."""
    if n < FEWEST:
        return Share(count, n, math.nan, math.nan)
    low = float(betaincinv(count, n - count + 1, 0.025)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, n - count, 0.975)) if count < n else 1.0
    return Share(count, n, low, high)


def duel(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> Duel:
    """Compares losses by seed, over the seeds that both were run with."""
    a, b, tied = _pairs(ours, theirs)
    with np.errstate(invalid="ignore"):  # inf - inf: both diverged, no difference
        difference = np.where(tied, 0.0, a - b)
    return Duel(wins(ours, theirs), summarize(difference))


def wins(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> Share:
    """`Duel.wins`, without the bootstrap that its difference takes."""
    a, b, tied = _pairs(ours, theirs)
    return share(float(np.sum((a < b) & ~tied) + 0.5 * np.sum(tied)), len(tied))


def _pairs(
    ours: Mapping[Any, float], theirs: Mapping[Any, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Both losses of each seed that both were run with, and whether they are equal."""
    seeds = [seed for seed in ours if seed in theirs]
    a = np.array([ours[seed] for seed in seeds], dtype=np.float64)
    b = np.array([theirs[seed] for seed in seeds], dtype=np.float64)
    return a, b, np.isclose(a, b, rtol=_TIE, atol=0.0)


def first_at_most(curve: NDArray[np.float64], target: float) -> float:
    """The first epoch, from 1, whose loss is at most `target`; inf where there is none."""
    reached = np.flatnonzero(curve <= target)
    return float(reached[0] + 1) if len(reached) else math.inf


def learnt_nothing(train_loss: Sequence[float], guess_loss: Sequence[float]) -> Share:
    """The share of runs within 2 % of the loss of a model that ignores its input, or above.

    A loss that was not a number is inf: such a run has learnt nothing either. Runs whose labels
    are all alike (a guess's loss is 0) could not learn anything and are left out.
    """
    pairs = [(loss, guess) for loss, guess in zip(train_loss, guess_loss, strict=True) if guess > 0]
    return share(sum(has_learnt_nothing(*pair) for pair in pairs), len(pairs))
