"""Normalizations that are one affine map a column, the same after a logarithm, and all names.

The affine ones differ in their statistics alone, so runs under any mixture of them train as one.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import torch
from torch import Tensor

from normlab.data.moments import Moments
from normlab.data.serve.rows import Rows, RowsInMemory
from normlab.model.quantile import Quantile
from normlab.model.scaler import Scaler, column_quantiles


class AffineScaler(Scaler):
    """y = (x - shift) / scale, with shift in raw units and scale > 0, both (runs, features)."""

    family = "affine"
    shift: Tensor
    scale: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.register_buffer("shift", torch.zeros(1, n_features))
        self.register_buffer("scale", torch.ones(1, n_features))

    @abstractmethod
    def statistics(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Shift and scale (features,) of float64 rows (n, features); scale 0 where constant."""

    def _fit(self, rows: Rows) -> None:
        shift, scale = self.statistics(rows.map(Tensor.double))
        # A constant column is only shifted, as in scikit-learn. Any other scale is kept where
        # the buffer's dtype has its full precision: not inf, and not subnormal, because a GPU
        # or a compiler may flush a subnormal to 0.
        limits = torch.finfo(self.scale.dtype)
        scale = scale.where(scale != 0, 1.0).clamp(limits.tiny, limits.max)
        self.shift.copy_(shift)
        self.scale.copy_(scale)

    def forward(self, rows: Tensor) -> Tensor:
        # Not x * a + b: a difference of near numbers is exact (Sterbenz), so a spread of 1
        # around 1e6 keeps all its digits.
        return saturate(saturate(rows - self.shift[:, None]) / self.scale[:, None])

    def inverse(self, rows: Tensor) -> Tensor:
        return saturate(rows * self.scale[:, None] + self.shift[:, None])


@final
class Raw(AffineScaler):
    """The identity: rows stay in raw units, to the bit."""

    name = "none"

    def statistics(self, rows: Rows) -> tuple[Tensor, Tensor]:
        zeros = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
        return zeros, torch.ones_like(zeros)


@final
class Center(AffineScaler):
    """Mean 0, in the raw unit."""

    name = "center"

    def statistics(self, rows: Rows) -> tuple[Tensor, Tensor]:
        mean, _ = mean_and_std(rows)
        return mean, torch.ones_like(mean)


@final
class Standardize(AffineScaler):
    """Mean 0 and population standard deviation 1, as scikit-learn's StandardScaler."""

    name = "standardize"

    def statistics(self, rows: Rows) -> tuple[Tensor, Tensor]:
        return mean_and_std(rows)


@final
class MinMax(AffineScaler):
    """The training range to [0, 1], as scikit-learn's MinMaxScaler.

    A range wider than the dtype's largest number is taken as that number, and saturates.
    """

    name = "minmax"

    def statistics(self, rows: Rows) -> tuple[Tensor, Tensor]:
        extremes = [chunk.aminmax(dim=0) for chunk in rows]
        low = torch.stack([low for low, _ in extremes]).amin(dim=0)
        high = torch.stack([high for _, high in extremes]).amax(dim=0)
        return low, high - low


@final
class Robust(AffineScaler):
    """Median 0 and interquartile range 1, as scikit-learn's RobustScaler.

    Where more than half of a column is one value its interquartile range may be 0 although the
    column varies. scikit-learn then leaves its scale as it is; here its standard deviation
    stands in, or a zero-inflated column of prices would enter the network in the thousands.
    """

    name = "robust"

    def statistics(self, rows: Rows) -> tuple[Tensor, Tensor]:
        quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64, device=rows.device)
        low, median, high = column_quantiles(rows, quarters * (len(rows) - 1))
        iqr = high - low
        _, std = mean_and_std(rows)
        return median, iqr.where(iqr != 0, std)


@final
class Log1p(Scaler):
    """sign(x) log(1 + |x|), then standardized: for columns that span orders of magnitude.

    The shift is learnt from the logarithms in the buffers' dtype, as `forward` computes them,
    so a constant column cancels exactly.
    """

    name = "log1p"
    family = "log1p"

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.logs = Standardize(n_features)

    def _fit(self, rows: Rows) -> None:
        self.logs.fit(rows.map(signed_log1p))

    def forward(self, rows: Tensor) -> Tensor:
        return self.logs(signed_log1p(rows))

    def inverse(self, rows: Tensor) -> Tensor:
        logs = self.logs.inverse(rows)
        return saturate(logs.sign() * logs.abs().expm1())


SCALERS: dict[str, type[Scaler]] = {
    "none": Raw,
    "center": Center,
    "standardize": Standardize,
    "minmax": MinMax,
    "robust": Robust,
    "log1p": Log1p,
    "quantile": Quantile,
    "batchnorm": Raw,  # a layer of the network normalizes, so its rows arrive raw
}


def make_scaler(name: str, n_features: int, **options: Any) -> Scaler:
    """An unfitted scaler of one run; the options are its class's own (`n_quantiles` of quantile).

    Raises:
        ValueError: no scaler has this name.
    """
    if name not in SCALERS:
        raise ValueError(f"no normalization is named {name!r}; known: {', '.join(SCALERS)}")
    return SCALERS[name](n_features, **options)


def mean_and_std(rows: Rows) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation (features,) of rows (n, features), in one pass.

    Taken from the distances to one row of each chunk, or to each column's minimum: where a
    column is constant they are exactly the constant and 0, which sums of the values are not.
    """
    if isinstance(rows, RowsInMemory):
        return mean_and_std_of(rows.rows)
    total = Moments(0, 0.0, 0.0)
    for chunk in rows:
        # Sums by matrix products: several times as fast as torch's own over the first dimension.
        share = chunk.new_full((len(chunk),), 1 / len(chunk))
        distance = chunk - chunk[0]
        mean = share @ distance
        total = total.merged(Moments(len(chunk), chunk[0] + mean, share @ (distance - mean) ** 2))
    return total.mean, total.variance.sqrt()


def mean_and_std_of(rows: Tensor) -> tuple[Tensor, Tensor]:
    """As `mean_and_std`, of rows (..., n, features) in one tensor."""
    if not rows.shape[-1]:  # torch would take a spread of no column too, and warn of it
        return rows.sum(-2), rows.sum(-2)
    low = rows.amin(dim=-2, keepdim=True)
    above = rows - low
    return low.squeeze(-2) + above.mean(dim=-2), above.std(dim=-2, correction=0)


def signed_log1p(rows: Tensor) -> Tensor:
    return rows.sign() * rows.abs().log1p()


def saturate(rows: Tensor) -> Tensor:
    """An overflow to the largest number of that sign; a nan stays."""
    limit = torch.finfo(rows.dtype).max
    return rows.clamp(-limit, limit)
