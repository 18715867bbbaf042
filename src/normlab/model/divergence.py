"""A loss that turns nan or infinite: at which step, on what rows, and the likely cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from normlab.data.schema import Schema
from normlab.model.network import Network

LARGE = 100.0  # normalized inputs lie around 1: weights of usual size cannot bear so much more


def first_not_finite(losses: Iterable[Tensor]) -> int | None:
    """The position of the first loss of a batch that is nan or infinite."""
    return next((i for i, loss in enumerate(losses) if not bool(loss.isfinite())), None)


@torch.no_grad()
def weights_finite(network: nn.Module) -> bool:
    """Whether all parameters are numbers."""
    return bool(nn.utils.get_total_norm(network.parameters(), float("inf")).isfinite())


def rows_of_batch(batches: Iterable[Any], position: int) -> Tensor:
    """The rows of one batch of those that an epoch was served."""
    return next(islice(iter(batches), position, None))[0]


@torch.no_grad()
def explanation(
    network: Network,
    schema: Schema,
    rows: Tensor,
    *,
    loss: float,
    epoch: int,
    step: int,
    lr: float,
) -> str:
    """What happened, for a user.

    Args:
        rows: (n, columns) of the batch whose loss is not finite, or that was trained on last.
        loss: nan or infinite.
        epoch, step: counted from 1.
        lr: learning rate of the epoch.
    """
    column, largest = _largest(schema, rows.detach().cpu())
    rows = rows.to(next(network.parameters()))
    numbers = rows if network.encoder is None else network.encoder(rows)[0]
    seen = float(network.normalizer(numbers).abs().max()) if numbers.shape[1] else 0.0
    nearer = "quantile" if network.normalizer.name == "standardize" else "standardize"
    if seen > LARGE and isinstance(network.batchnorm, nn.Identity):
        cause = (
            f"inputs as large as {seen:.3g} reach the first layer: choose a "
            f"normalization that brings them near 1, such as normalization={nearer}"
        )
    else:
        cause = f"the learning rate is too high: lower model.lr={lr:g}"
    return (
        f"the loss is {loss:g} at step {step} (epoch {epoch}). The batch's largest input is "
        f"{largest:.6g} (column {column}). Likely cause: {cause}"
    )


def _largest(schema: Schema, rows: Tensor) -> tuple[str, float]:
    """The column and the value that is farthest from 0, of the columns of numbers if there are."""
    columns: Sequence[Any] = schema.columns
    kept = [i for i, column in enumerate(columns) if column.type == "numeric"]
    kept = kept or list(range(len(columns)))
    values = rows[:, kept].nan_to_num(0.0)
    place = int(values.abs().argmax())
    row, position = divmod(place, len(kept))
    return columns[kept[position]].name, float(values[row, position])
