"""The quantile normalization in operations that ONNX has: it knows no searchsorted and no ndtri."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from normlab.model.quantile import CLIP, Quantile

# Of the rational approximations of the normal quantile in Cephes (Moshier 1989, ndtri.c), from the
# highest power down: around the median, and for tails from exp(-32) to exp(-2).
CENTRAL = (
    (
        *(-5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1),
        *(1.39312609387279679503e1, -1.23916583867381258016e0),
    ),
    (
        *(1.0, 1.95448858338141759834e0, 4.67627912898881538453e0, 8.63602421390890590575e1),
        *(-2.25462687854119370527e2, 2.00260212380060660359e2, -8.20372256168333339912e1),
        *(1.59056225126211695515e1, -1.18331621121330003142e0),
    ),
)
TAIL = (
    (
        *(4.05544892305962419923e0, 3.15251094599893866154e1, 5.71628192246421288162e1),
        *(4.40805073893200834700e1, 1.46849561928858024014e1, 2.18663306850790267539e0),
        *(-1.40256079171354495875e-1, -3.50424626827848203418e-2, -8.57456785154685413611e-4),
    ),
    (
        *(1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1),
        *(1.50425385692907503408e1, 2.50464946208309415979e0, -1.42182922854787788574e-1),
        *(-3.80806407691578277194e-2, -9.33259480895457427372e-4),
    ),
)
EXP_2 = 0.13533528323661269189  # exp(-2), where the two meet
ROOT_2PI = 2.50662827463100050242


@final
class OnnxQuantile(nn.Module):
    """`Quantile.forward` to the last digits of float32, step by step as there."""

    quantiles: Tensor

    def __init__(self, quantile: Quantile) -> None:
        super().__init__()
        self.n_features = quantile.n_features
        self.register_buffer("quantiles", quantile.quantiles.clone())

    def forward(self, rows: Tensor) -> Tensor:
        knots = self.quantiles
        last = knots.shape[-1] - 1
        low, high = knots[..., :1], knots[..., -1:]
        x = rows.mT.to(knots.dtype).clamp(low, high)
        below = (_n_below(knots, x, or_equal=True) - 1).clamp(min=0)
        above = _n_below(knots, x, or_equal=False).clamp(max=last)
        start = knots.gather(-1, below)
        gap = knots.gather(-1, above) - start
        on_knot = (gap == 0).to(x.dtype)
        part = (x - start) / (gap + on_knot) + 0.5 * on_knot
        rise = part * (above - below).to(x.dtype)
        from_low = below.to(x.dtype) + rise
        from_high = (last - below).to(x.dtype) - rise
        tail = torch.minimum(from_low, from_high) / last
        at_one_end = (x == low) ^ (x == high)
        y = ndtri_of_tail(tail.masked_fill(at_one_end, 0.0).clamp(min=CLIP))
        return torch.where(from_low <= from_high, y, -y).mT


def _n_below(knots: Tensor, x: Tensor, or_equal: bool) -> Tensor:
    """How many of the knots (..., k) lie below each of the values (..., n): a bisection."""
    n_knots = knots.shape[-1]
    count = torch.zeros_like(x, dtype=torch.int64)
    step = 1 << (n_knots.bit_length() - 1)
    while step:
        further = count + step
        knot = knots.gather(-1, (further - 1).clamp(max=n_knots - 1))
        is_below = (knot <= x) if or_equal else (knot < x)
        count = torch.where(is_below & (further <= n_knots), further, count)
        step >>= 1
    return count


def ndtri_of_tail(tail: Tensor) -> Tensor:
    """The standard normal's quantile for probabilities from exp(-32) to 0.5."""
    from_median = tail - 0.5
    square = from_median * from_median
    central = ROOT_2PI * (from_median + from_median * square * _ratio(square, CENTRAL))
    x = (-2 * tail.clamp(max=EXP_2).log()).sqrt()
    inverse = 1 / x
    far = inverse * _ratio(inverse, TAIL) - (x - x.log() / x)
    return torch.where(tail > EXP_2, central, far)


def _ratio(x: Tensor, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """A polynomial over another, by Horner's scheme."""
    values = []
    for polynomial in coefficients:
        value = torch.full_like(x, polynomial[0])
        for coefficient in polynomial[1:]:
            value = value * x + coefficient
        values.append(value)
    return values[0] / values[1]
