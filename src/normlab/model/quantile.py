"""The normalization by ranks: every column becomes a standard normal, whatever its shape."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from normlab.data.serve.rows import Rows
from normlab.model.scaler import Scaler, column_quantiles

CLIP = 1e-7
"""The smallest tail probability, as scikit-learn's BOUNDS_THRESHOLD: |y| <= 5.1993."""


@final
class Quantile(Scaler):
    """y = ndtri(F(x)), with F the training rows' distribution function.

    As scikit-learn's QuantileTransformer(output_distribution="normal", subsample=None): F is
    piecewise linear through (quantile k, level k / (n_quantiles - 1)); a value that repeats gets
    the middle of its levels; the training minimum and all below it get level 0, the maximum and
    all above it 1. Unlike there, "at the minimum" is no matter of 1e-7 raw units, and a column
    that is constant in training is 0 for every row: it has no ranks to tell.

    `inverse` is piecewise linear on the training range, and gives its ends beyond. Values beyond
    half of the dtype's largest number count as that half.

    Unfitted it knows of constant columns only, and maps everything to 0.
    """

    name = "quantile"
    family = "quantile"
    quantiles: Tensor  # (runs, features, n_quantiles), ascending, as searchsorted reads them

    def __init__(self, n_features: int, n_quantiles: int = 1000) -> None:
        super().__init__(n_features)
        if n_quantiles < 2:
            raise ValueError(f"quantile: n_quantiles is at least 2, not {n_quantiles}")
        self.n_quantiles = n_quantiles
        self.register_buffer("quantiles", torch.zeros(1, n_features, n_quantiles))

    def _fit(self, rows: Rows) -> None:
        n_quantiles = max(2, min(self.n_quantiles, len(rows)))
        knots = torch.arange(n_quantiles, dtype=torch.float64, device=rows.device)
        quantiles = column_quantiles(rows, knots * (len(rows) - 1) / (n_quantiles - 1))
        limit = torch.finfo(self.quantiles.dtype).max / 2  # then no difference of two overflows
        self.quantiles = quantiles.T.clamp(-limit, limit).to(self.quantiles).contiguous()[None]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "n_quantiles": self.quantiles.shape[-1]}

    def forward(self, rows: Tensor) -> Tensor:
        knots = self.quantiles
        last = knots.shape[-1] - 1
        low, high = knots[..., :1], knots[..., -1:]
        x = self._columns(rows).clamp(low, high).contiguous()
        # The last knot <= x and the first knot >= x; a nan finds none, and stays in `part`.
        below = torch.searchsorted(knots, x, right=True) - 1
        above = torch.searchsorted(knots, x).clamp(max=last)
        start = knots.gather(-1, below)
        gap = knots.gather(-1, above) - start
        # On a knot, above <= below are the ends of the run of equal knots: take its middle.
        on_knot = gap == 0
        part = (x - start) / (gap + on_knot) + 0.5 * on_knot
        rise = part * (above - below)
        # Steps from either end, each with full relative precision: in float32, 1 - level would
        # round the upper tail away.
        from_low, from_high = below + rise, (last - below) - rise
        tail = torch.minimum(from_low, from_high) / last
        at_one_end = (x == low) ^ (x == high)
        y = torch.special.ndtri(tail.masked_fill(at_one_end, 0.0).clamp(min=CLIP))
        return y.where(from_low <= from_high, -y).mT

    def inverse(self, rows: Tensor) -> Tensor:
        knots = self.quantiles
        last = knots.shape[-1] - 1
        y = self._columns(rows)
        tail = torch.special.ndtr(-y.abs())
        # 0.1 % more than CLIP: what forward has clipped comes back as the end of the range.
        steps = tail.masked_fill(tail < 1.001 * CLIP, 0.0) * last
        whole = steps.floor().long().clamp(0, last - 1)  # the clamp is for nan
        is_low = y < 0
        near = whole.where(is_low, last - whole)
        far = (whole + 1).where(is_low, last - whole - 1)
        x = knots.gather(-1, near).lerp(knots.gather(-1, far), steps - whole)
        return x.mT

    def _columns(self, rows: Tensor) -> Tensor:
        """Rows (runs, n, features) as (runs, features, n), in the dtype of the quantiles."""
        return rows.mT.to(self.quantiles.dtype)
