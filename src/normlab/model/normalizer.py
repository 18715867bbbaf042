"""What every input normalization has in common: the abstract module, and quantiles of columns.

A normalizer is a layer without parameters. It learns its statistics from the training rows once,
before training, and keeps them as buffers, so that they travel inside the network's state_dict.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn


class Normalizer(nn.Module, ABC):
    """Maps each column of raw rows to values that a network learns from easily.

    Every finite row gives a finite result: what would overflow saturates, and a column that is
    constant in training gives exactly 0 at that constant. A nan stays a nan.
    """

    name: ClassVar[str]
    """What a config and `settings` call this class."""

    family: ClassVar[str]
    """Classes of one family have the same forward and the same buffers."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    @torch.no_grad()
    def fit(self, rows: Tensor) -> Self:
        """Learn the statistics of rows (n, features); earlier ones are forgotten.

        They are computed in float64 from the rows as `forward` will see them, that is in the
        buffers' dtype, on the device of the rows.

        Raises:
            ValueError: the rows are none, of the wrong shape, or not finite in the buffers' dtype.
        """
        if rows.ndim != 2 or rows.shape[1] != self.n_features or len(rows) == 0:
            raise ValueError(
                f"{self.name}: fit takes at least one row of {self.n_features} features, "
                f"not a tensor of shape {tuple(rows.shape)}"
            )
        dtype = next(self.buffers()).dtype
        rows = rows.to(dtype)
        if not rows.isfinite().all():
            raise ValueError(f"{self.name}: fit takes rows that are finite in {dtype}")
        self._fit(rows)
        return self

    @abstractmethod
    def _fit(self, rows: Tensor) -> None:
        """Fill the buffers from rows (n, features): finite, at least one, in their dtype."""

    @abstractmethod
    def forward(self, rows: Tensor) -> Tensor:
        """Raw rows (..., features) to normalized ones of the same shape."""

    @abstractmethod
    def inverse(self, rows: Tensor) -> Tensor:
        """Normalized rows (..., features) back to raw units."""

    def settings(self) -> dict[str, Any]:
        """What `make_normalizer(**settings)` needs to build a module with buffers of this shape."""
        return {"name": self.name, "n_features": self.n_features}

    def stacking_key(self) -> tuple[str | tuple[int, ...], ...]:
        """Normalizers with equal keys may share one `torch.func.stack_module_state`.

        They have the same forward and buffers of the same names and shapes; only values differ.
        Ask after `fit`, which may change a shape.
        """
        return (self.family, *(tuple(buffer.shape) for buffer in self.buffers()))


def column_quantiles(rows: Tensor, positions: Tensor) -> Tensor:
    """The values at fractional positions 0 ... n - 1 of each sorted column, in float64.

    Linear between neighbours, as numpy.quantile's default. `torch.quantile` refuses more than
    2^24 numbers; one column at a time also keeps the float64 copy small.

    Args:
        rows: (n, features).
        positions: float64 (k,).

    Returns:
        float64 (k, features).
    """
    below = positions.floor().long()
    above = positions.ceil().long()
    part = positions - below
    columns = (column.sort().values.double() for column in rows.unbind(dim=1))
    return torch.stack([column[below].lerp(column[above], part) for column in columns], dim=1)
