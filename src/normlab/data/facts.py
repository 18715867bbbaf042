"""What cautions want to know of a column's values, gathered batch by batch in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from normlab.data.moments import Moments

PROBE = 20  # rows that show at once that a column holds fractions
REMEMBERED = 2**18  # values of a column in which repetitions are sought
# Rounding below this share of a batch's standard deviation is not worth measuring: it stays below
# a thousandth of the whole column's, unless that is a hundred times narrower than the batch.
NEGLIGIBLE = 1e-5
HALF_STEP = 2.0**-24  # the largest rounding error of float32, relative to the value


class Facts:
    """Of one column.

    Attributes:
        n_rows, n_missing: values seen, and those of them that are missing.
        low, high: the smallest and the largest value, of text too; None before any.
        moments: of numbers.
        rounding: the largest error that rounding to float32 makes, as far as it is noticeable.
        integers: whether all values are whole numbers.
        distinct: whether no value has come twice.
    """

    def __init__(self) -> None:
        self.n_rows = self.n_missing = 0
        self.low: Any = None
        self.high: Any = None
        self.moments = Moments(0, 0.0, 0.0)
        self.rounding = 0.0
        self.integers = True
        self.distinct = True
        self._remembered = pl.Series(dtype=pl.Float64)
        self._share = 1  # a value is remembered if its hash is a multiple of this

    def see(self, series: pl.Series) -> None:
        """Takes note of further values, float64 or text, null where missing."""
        n_missing = series.null_count()
        self.n_rows, self.n_missing = self.n_rows + len(series), self.n_missing + n_missing
        if n_missing == len(series):
            return
        if series.dtype == pl.Float64:
            self._note_numbers(series.drop_nulls() if n_missing else series)
        elif self.low == self.high:  # else it is not constant: no more is asked of text
            self._note_range(series.min(), series.max())

    def _note_range(self, low: Any, high: Any) -> None:
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)

    @np.errstate(invalid="ignore", over="ignore")  # infinite numbers are refused elsewhere
    def _note_numbers(self, series: pl.Series) -> None:
        # NumPy's functions, since polars' would wait their turn where it is reading the file.
        values = series.to_numpy()
        low, high, variance = float(values.min()), float(values.max()), float(values.var())
        self._note_range(low, high)
        self.moments = self.moments.merged(Moments(len(values), float(values.mean()), variance))
        if max(abs(low), abs(high)) * HALF_STEP > NEGLIGIBLE * variance**0.5:
            errors = np.abs(values - values.astype(np.float32))
            self.rounding = max(self.rounding, float(errors.max()))
        self._note_repetitions(series)

    def _note_repetitions(self, series: pl.Series) -> None:
        """Exactly up to `REMEMBERED` values; of more, a share by their hash is remembered.

        A value's copies have one hash: what repeats more often than once in a hundred thousand
        rows is found out. (Gibbons 2001, distinct sampling.)
        """
        for part in (series.head(PROBE).to_numpy(), series.to_numpy()):
            self.integers = self.integers and bool((part == np.floor(part)).all())
        self.distinct = self.distinct and self.integers and not self.n_missing
        for part in (series.head(1_000), series):
            self.distinct = self.distinct and part.n_unique() == len(part)
        if not self.distinct:
            self._remembered = self._remembered.clear()
            return
        known = self._remembered
        known = pl.concat([known, self._hashed(series)]) if len(known) else self._hashed(series)
        self.distinct = known.n_unique() == len(known)
        while len(known) > REMEMBERED:
            self._share *= 2
            known = self._hashed(known)
        self._remembered = known

    def _hashed(self, series: pl.Series) -> pl.Series:
        return series if self._share == 1 else series.filter(series.hash() % self._share == 0)


def note_facts(facts: Sequence[Facts], frame: pl.DataFrame) -> None:
    """Shows each column of a frame to its facts."""
    for about, column in zip(facts, frame, strict=True):
        about.see(column)
