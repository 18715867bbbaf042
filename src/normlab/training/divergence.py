"""A loss that turns nan or infinite: at which step, on what rows, and the likely cause."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from normlab.data.schema import Schema
from normlab.data.serve.batches import Piece
from normlab.diagnosis.units import LARGE
from normlab.model.network import Network


@torch.no_grad()
def explain(
    network: Network,
    schema: Schema,
    pieces: Iterable[Piece],
    place: int,
    losses: Tensor,
    stops: Sequence[int],
    record: dict[str, float],
    epoch: int,
    normalization: str,
) -> str:
    """What happened to a run, for a user.

    Args:
        network: of this run alone.
        pieces: the epoch that it ended in, once more.
        place: of the run in the pieces.
        losses: of this epoch's rows (n,).
        stops: where each batch ends among these.
        record: the epoch's metrics by name; one of the losses is not finite.
        epoch: counted from 0.
        normalization: the run's own, which its network does not tell where several share one.
    """
    found = first_not_finite(losses, stops)
    batch = len(stops) - 1 if found is None else found
    rows = _rows_of_batch(pieces, batch, place)
    column, largest = _largest(schema, rows.cpu())
    rows = rows.to(next(network.parameters()))[None]
    numbers = rows if network.encoder is None else network.encoder(rows)[0]
    seen = float(network.normalizer(numbers).abs().max()) if numbers.shape[2] else 0.0
    if seen > LARGE and network.batchnorm is None:
        nearer = "quantile" if normalization == "standardize" else "standardize"
        cause = (
            f"inputs as large as {seen:.3g} reach the first layer: choose a "
            f"normalization that brings them near 1, such as normalization={nearer}"
        )
    else:
        cause = f"the learning rate is too high: lower model.lr={record['lr']:g}"
    pair = (record["train/loss"], record.get("val/loss", math.nan))
    loss = next(value for value in pair if not math.isfinite(value))
    return (
        f"the loss is {loss:g} at step {epoch * len(stops) + batch + 1} (epoch {epoch + 1}). The "
        f"batch's largest input is {largest:.6g} (column {column}). Likely cause: {cause}"
    )


def first_not_finite(losses: Tensor, stops: Sequence[int]) -> int | None:
    """The position of the first batch whose mean loss is nan or infinite."""
    starts = [0, *stops[:-1]]
    for position, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if not bool(losses[start:stop].mean().isfinite()) and stop > start:
            return position
    return None


def _rows_of_batch(pieces: Iterable[Piece], batch: int, place: int) -> Tensor:
    """The rows (n, columns) of a run in one batch of the epoch."""
    for piece in pieces:
        if batch < len(piece.steps):
            step = piece.steps[batch]
            return piece.rows[place, step.start : step.stop]
        batch -= len(piece.steps)
    raise IndexError(batch)


def _largest(schema: Schema, rows: Tensor) -> tuple[str, float]:
    """The column and the value that is farthest from 0, of the columns of numbers if there are."""
    columns: Sequence[Any] = schema.columns
    kept = [i for i, column in enumerate(columns) if column.type == "numeric"]
    kept = kept or list(range(len(columns)))
    values = rows[:, kept].nan_to_num(0.0)
    row, position = divmod(int(values.abs().argmax()), len(kept))
    return columns[kept[position]].name, float(values[row, position])
