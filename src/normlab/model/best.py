"""The weights of the epoch that validated best, kept in memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class BestWeights:
    """Remembers a network's weights and statistics at the lowest validation loss so far.

    Where there never was a validation loss, the last weights are the best. Copies stay in memory,
    since a file at every better epoch would cost more than the epoch.

    Attributes:
        weights: a copy of the network's state_dict; empty before the first epoch.
        loss: the validation loss of that epoch, nan where there is no validation.
        epoch: number of epochs finished by then.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.loss = math.nan
        self.epoch = 0

    @torch.no_grad()
    def update(self, network: nn.Module, loss: float | None, epoch: int) -> None:
        """Takes the network's weights if they are better: after epoch `epoch`, counted from 0."""
        validated = not math.isnan(self.loss)
        if validated and (loss is None or not loss < self.loss):
            return
        if loss is not None and math.isnan(loss) and self.weights:
            return
        state = network.state_dict()
        if not self.weights:
            self.weights = {name: value.clone() for name, value in state.items()}
        for name, value in state.items():
            self.weights[name].copy_(value)
        self.loss = math.nan if loss is None else loss
        self.epoch = epoch + 1

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights, "loss": self.loss, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights, self.loss, self.epoch = state["weights"], state["loss"], state["epoch"]
