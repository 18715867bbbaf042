"""What one column of a file shows, gathered batch by batch in float64: no rows are held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.file.faults import FLOAT32_OVERFLOW
from normlab.data.moments import Moments

MOST_CATEGORIES = 50_000
NEAR = 4_096  # range of whole numbers that are counted one by one
FEW = 100  # different whole numbers, of which all are remembered
REMEMBERED = 2**18  # values in which repetitions are sought
PROBE = 1_000  # rows that show at once that values repeat, or are no whole numbers
HALF_STEP = 2.0**-24  # the largest rounding error of float32, relative to the value
# Rounding below this share of a batch's standard deviation is not worth measuring: it stays below
# a thousandth of the whole column's, unless that is a hundred times narrower than the batch.
NEGLIGIBLE = 1e-5
NONE = Moments(0, 0.0, 0.0)


@dataclass
class Facts:
    """Of one column.

    Attributes:
        most_values: different whole numbers at most that are remembered in `values`.
        n: rows.
        missing: values that are.
        texts: values that are no numbers.
        infinite: numbers that float32 cannot hold.
        whole: whether all numbers are whole.
        low, high: of the numbers; None where there are none.
        moments: mean and variance of the numbers.
        rounding: the largest error that float32 makes, as far as it is noticeable.
        zeros: numbers that are 0, as long as no number is below.
        above: mean and variance of the numbers above 0, where some are 0; with `least` of them.
    """

    most_values: int = FEW
    n: int = 0
    missing: int = 0
    texts: int = 0
    infinite: int = 0
    whole: bool = True
    low: float | None = None
    high: float | None = None
    moments: Moments = NONE
    rounding: float = 0.0
    zeros: int = 0
    least: float = float("inf")
    above: Moments = NONE
    _texts: pl.Series | None = field(default_factory=lambda: pl.Series(dtype=pl.String))
    _values: NDArray[np.float64] | None = field(default_factory=lambda: np.empty(0))
    _remembered: NDArray[np.float64] | None = field(default_factory=lambda: np.empty(0))
    _share: int = 1  # a value is remembered if its hash is a multiple of this

    @property
    def known(self) -> int:
        return self.n - self.missing

    @property
    def numbers(self) -> int:
        return self.known - self.texts

    @property
    def holds_numbers(self) -> bool:
        return self.numbers > 0 and not self.texts

    @property
    def std(self) -> float:
        return self.moments.variance**0.5

    @property
    def values(self) -> list[Any] | None:
        """All different values; None where they are too many, or numbers that are not whole."""
        if self.moments.n:
            return None if self._values is None else self._values.tolist()
        return None if self._texts is None else self._texts.to_list()

    @property
    def distinct(self) -> bool:
        """Whether the column holds whole numbers of which none has come twice."""
        return bool(self.moments.n) and self._remembered is not None and not self.missing

    def see(self, series: pl.Series, texts: int) -> None:
        """Takes note of a batch.

        Args:
            series: float64 or text, null where missing or no number.
            texts: values that are no numbers.
        """
        is_number = series.dtype == pl.Float64
        self.n, self.texts = self.n + len(series), self.texts + texts
        self.missing += series.null_count() - (texts if is_number else 0)
        known = series.drop_nulls() if series.null_count() else series
        if not len(known):
            return
        if is_number:
            # NumPy's functions: polars' would wait their turn where it is reading the file.
            self._note_numbers(known.to_numpy())
        elif self._texts is not None:
            found = pl.concat([self._texts, known.unique()]).unique()
            self._texts = found if len(found) <= MOST_CATEGORIES else None

    @np.errstate(invalid="ignore", over="ignore")  # infinite numbers are refused elsewhere
    def _note_numbers(self, values: NDArray[np.float64]) -> None:
        low, high, variance = float(values.min()), float(values.max()), float(values.var())
        largest = max(abs(low), abs(high))
        if largest >= FLOAT32_OVERFLOW:
            self.infinite += int((np.abs(values) >= FLOAT32_OVERFLOW).sum())
        for part in (values[:PROBE], values):
            self.whole = self.whole and bool((part == np.floor(part)).all())
        if low == 0 and self.low is not None and self.low > 0:
            self.above, self.least = self.moments, self.low
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        self.moments = self.moments.merged(Moments(len(values), float(values.mean()), variance))
        if low < high and largest * HALF_STEP > NEGLIGIBLE * variance**0.5:
            errors = np.abs(values - values.astype(np.float32))
            self.rounding = max(self.rounding, float(errors.max()))
        above = values[values > 0] if self.low == 0 else values[:0]
        if self.low == 0:
            self.zeros += len(values) - len(above)
        if len(above):
            self.least = min(self.least, float(above.min()))
            part = Moments(len(above), float(above.mean()), float(above.var()))
            self.above = self.above.merged(part)
        if not self.whole or self.infinite:
            self._values = self._remembered = None
        if self._values is not None:
            self._values = self._with(values, self._values)
        if self._remembered is not None:
            self._remembered = self._without_repetition(values, self._remembered)

    def _with(
        self, values: NDArray[np.float64], known: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """The known values and these; None where they are too many."""
        for part in (values[:PROBE], values):
            known = np.union1d(known, _unique(part))
            if len(known) > self.most_values:
                return None
        return known

    def _without_repetition(
        self, values: NDArray[np.float64], known: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """The remembered values and these; None where one comes twice.

        Exactly up to `REMEMBERED` values; of more, a share by their hash is remembered. A value's
        copies have one hash: what repeats more often than once in a hundred thousand rows is found
        out. (Gibbons 2001, distinct sampling.)
        """
        if self.missing or len(_unique(values[:PROBE])) < len(values[:PROBE]):
            return None
        if len(_unique(values)) < len(values):
            return None
        known = np.concatenate([known, self._hashed(values)])
        if len(np.unique(known)) < len(known):
            return None
        while len(known) > REMEMBERED:
            self._share *= 2
            known = self._hashed(known)
        return known

    def _hashed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values whose hash (Fibonacci's, of the upper bits) belongs to the share."""
        mixed = (values.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        return values[mixed % np.uint64(self._share) == 0]


def _unique(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The different whole numbers, in order."""
    low, high = values.min(), values.max()
    if high - low < NEAR:  # to count is faster than to sort
        return np.flatnonzero(np.bincount((values - low).astype(np.intp))) + low
    return np.unique(values)
