"""The names of the input normalizations: the one place that maps a name to its class."""

from __future__ import annotations

from typing import Any

from normlab.model.affine import (
    AffineNormalizer,
    Center,
    Log1p,
    MinMax,
    Raw,
    Robust,
    Standardize,
)
from normlab.model.normalizer import Normalizer
from normlab.model.quantile import Quantile

__all__ = ["NORMALIZERS", "AffineNormalizer", "Normalizer", "make_normalizer"]

NORMALIZERS: dict[str, type[Normalizer]] = {
    "none": Raw,
    "center": Center,
    "standardize": Standardize,
    "minmax": MinMax,
    "robust": Robust,
    "log1p": Log1p,
    "quantile": Quantile,
    "batchnorm": Raw,  # a layer of the network normalizes, so its rows arrive raw
}


def make_normalizer(name: str, n_features: int, **options: Any) -> Normalizer:
    """An unfitted normalizer; the options are its class's own (`n_quantiles` of quantile).

    Raises:
        ValueError: no normalizer has this name.
    """
    if name not in NORMALIZERS:
        raise ValueError(f"no normalizer is named {name!r}; known: {', '.join(NORMALIZERS)}")
    return NORMALIZERS[name](n_features, **options)
