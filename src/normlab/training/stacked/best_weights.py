"""`BestWeights` for all runs of a stack at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normlab.training.stacked.stack import Stack


class BestOfRuns:
    """Every run's weights of its lowest val/loss; of its last epoch where none is held out.

    Args:
        has_validation: whether rows are held out for validation.

    Attributes:
        weights: as of `Stack.snapshot`; none before the first epoch.
        loss: val/loss of these weights (runs,), float64 on the CPU.
        epoch: theirs (runs,), counted from 1.
    """

    def __init__(self, stack: Stack, has_validation: bool) -> None:
        self._stack = stack
        self._has_validation = has_validation
        self.weights: list[Tensor] = []
        self.loss = torch.zeros(len(stack))
        self.epoch = torch.zeros(len(stack))

    def update(self, epoch: int, loss: Tensor, finite: Tensor) -> None:
        """Takes the weights that the stack has after an epoch, of the runs where they are better.

        Args:
            loss: val/loss (runs,); nan without validation.
            finite: (runs,), false where a run has diverged.
        """
        if not self.weights:
            self.weights = self._stack.snapshot()
            self.loss, self.epoch = loss.clone(), torch.ones_like(loss, dtype=torch.int64)
            return
        first = self.loss.isnan() & ~loss.isnan()
        better = ((loss < self.loss) | first | (not self._has_validation)) & finite
        self.loss[better] = loss[better]
        self.epoch[better] = epoch
        self._stack.update(self.weights, better.to(self._stack.weights.device))

    def state(self) -> dict[str, Any]:
        """What is remembered, (runs, ...) each; for `restore`."""
        return {"best": self.weights, "best_loss": self.loss, "best_epoch": self.epoch}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave, to the device of the stack."""
        self.weights = [value.to(self._stack.weights.device) for value in state["best"]]
        self.loss, self.epoch = state["best_loss"], state["best_epoch"]

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these, int64 indices on the CPU."""
        self.loss, self.epoch = self.loss[runs], self.epoch[runs]
        runs = runs.to(self._stack.weights.device)
        self.weights = [value[runs] for value in self.weights]
