"""Which hidden units have stopped to matter: saturated ones and dead ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Fault = Literal["saturated", "dead"]

LARGE = 100.0  # normalized inputs lie around 1: weights of usual size cannot bear so much more

# An activation passes a row's gradient on times its derivative, and counts as flat where that is
# below 5 % of its largest. Saturation has no sharp border: this one is a convention.
SIGMOID_FLAT = 4.3565  # |z| beyond: s(z) (1 - s(z)) < 0.05 / 4
TANH_FLAT = SIGMOID_FLAT / 2  # tanh(z) = 2 s(2 z) - 1
GELU_FLAT = -2.3486  # z below: Phi(z) + z phi(z) lies between -0.05 and 0
RELU_FLAT = 0.0  # z at or below: no gradient at all
# A unit is lost where it is flat on so many rows; a few outliers do not keep it alive.
SATURATED_ROWS = 0.95
DEAD_ROWS = 1.0  # one row is enough for a relu to learn from


def fault_of(activation: str) -> Fault:
    """How units of this activation are lost."""
    return "saturated" if activation in ("sigmoid", "tanh") else "dead"


def lost_units(outputs: Sequence[Tensor], activation: str) -> Tensor:
    """The share of each hidden layer's units that are lost (..., layers).

    Args:
        outputs: of each hidden layer, before the activation (..., units, n).
    """
    needed = SATURATED_ROWS if fault_of(activation) == "saturated" else DEAD_ROWS
    shares = []
    for values in outputs:
        flat = _flat(values, activation).double().mean(-1)
        shares.append((flat >= needed).double().mean(-1))
    return torch.stack(shares, -1) if shares else torch.empty(0)


def share_of_all(shares: Tensor, hidden: Sequence[int]) -> Tensor:
    """The share (...) of all hidden units, from those of the layers (..., layers)."""
    return shares @ (shares.new_tensor(hidden) / sum(hidden))


def _flat(values: Tensor, activation: str) -> Tensor:
    match activation:
        case "sigmoid":
            return values.abs() > SIGMOID_FLAT
        case "tanh":
            return values.abs() > TANH_FLAT
        case "relu":
            return values <= RELU_FLAT
        case "gelu":
            return values < GELU_FLAT
        case _:
            raise ValueError(f"unknown activation {activation!r}")
