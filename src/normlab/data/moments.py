"""Mean and variance of values that come part by part."""

from __future__ import annotations

from typing import Any, NamedTuple


class Moments(NamedTuple):
    """Of n values: their mean and population variance, float64 or arrays or tensors of it."""

    n: int
    mean: Any
    variance: Any

    def merged(self, other: Moments) -> Moments:
        """Of the values of both, without cancellation (Chan, Golub and LeVeque 1983, eq. 2.1).

        Where both hold one same value alone, the mean is exactly that and the variance 0.
        """
        if not self.n or not other.n:
            return self if self.n else other
        n = self.n + other.n
        distance = other.mean - self.mean
        within = self.variance * (self.n / n) + other.variance * (other.n / n)
        between = distance * distance * (self.n / n) * (other.n / n)
        return Moments(n, self.mean + distance * (other.n / n), within + between)
