"""What every input normalization has in common: the abstract module, and quantiles of columns.

A scaler is a layer without parameters. It learns its statistics from the training rows once, before
training, and keeps them as buffers with a leading axis of runs, so that they travel inside the
network's state_dict.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from normlab.data.serve.rows import Rows, as_rows


class Scaler(nn.Module, ABC):
    """Maps each column of raw rows to values that a network learns from easily, for each run.

    It is made and fitted for one run; `Network.stack` joins those of many. Every finite row gives
    a finite result: what would overflow saturates, and a column that is constant in training gives
    exactly 0 at that constant. A nan stays a nan.
    """

    name: ClassVar[str]
    """What a config and `settings` call this class."""

    family: ClassVar[str]
    """Classes of one family have the same forward and buffers: their runs share a network."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    @torch.no_grad()
    def fit(self, rows: Tensor | Rows) -> Self:
        """Learn the statistics of rows (n, features); earlier ones are forgotten.

        They are computed in float64 from the rows as `forward` will see them, that is in the
        buffers' dtype, on the device of the rows; of rows on disk in passes over them. For a
        scaler of one run.

        Raises:
            ValueError: the rows are none, of the wrong shape, or not finite in the buffers' dtype.
        """
        shape = tuple(rows.shape)
        if len(shape) != 2 or shape[1] != self.n_features or shape[0] == 0:
            raise ValueError(
                f"{self.name}: fit takes at least one row of {self.n_features} features, "
                f"not a tensor of shape {shape}"
            )
        dtype = next(self.buffers()).dtype

        def checked(chunk: Tensor) -> Tensor:
            chunk = chunk.to(dtype)
            if not _finite(chunk):
                raise ValueError(f"{self.name}: fit takes rows that are finite in {dtype}")
            return chunk

        self._fit(as_rows(rows).map(checked))
        return self

    @abstractmethod
    def _fit(self, rows: Rows) -> None:
        """Fill the buffers from rows (n, features): finite, at least one, in their dtype."""

    @abstractmethod
    def forward(self, rows: Tensor) -> Tensor:
        """Raw rows (runs, n, features) to normalized ones of the same shape."""

    @abstractmethod
    def inverse(self, rows: Tensor) -> Tensor:
        """Normalized rows (runs, n, features) back to raw units."""

    def settings(self) -> dict[str, Any]:
        """What `make_scaler(**settings)` needs to build a module with buffers of this shape."""
        return {"name": self.name, "n_features": self.n_features}


def column_quantiles(rows: Rows, positions: Tensor) -> Tensor:
    """The values at fractional positions 0 ... n - 1 of each sorted column, in float64.

    Linear between neighbours, as numpy.quantile's default. `torch.quantile` refuses more than
    2^24 numbers; one column at a time also keeps the copy small. Columns on disk of more values
    than that give those of evenly spaced ones (`Rows.columns`).

    Args:
        rows: (n, features).
        positions: float64 (k,).

    Returns:
        float64 (k, features).
    """
    quantiles = []
    for column in rows.columns(range(rows.shape[1])):
        places = positions
        if len(column) < len(rows):
            places = positions * ((len(column) - 1) / (len(rows) - 1))
        below, above = places.floor().long(), places.ceil().long()
        ordered = _sorted(column)
        quantiles.append(ordered[below].double().lerp(ordered[above].double(), places - below))
    return torch.stack(quantiles, dim=1)


def _sorted(column: Tensor) -> Tensor:
    """On the CPU by NumPy, which is several times as fast and needs no positions."""
    if _is_numpys(column):
        return torch.from_numpy(np.sort(column.numpy()))
    return column.sort().values


def _finite(rows: Tensor) -> bool:
    return bool(np.isfinite(rows.numpy()).all() if _is_numpys(rows) else rows.isfinite().all())


def _is_numpys(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)
