"""Early stopping for all runs of a stack at once."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor


class StoppingOfRuns:
    """Lightning's EarlyStopping on val/loss (mode min, check_finite), for each of many runs.

    Args:
        patience, min_delta: as of that callback; a patience of None never stops.
    """

    def __init__(self, n_runs: int, patience: int | None, min_delta: float) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self._waited = torch.zeros(n_runs, dtype=torch.int64)
        self._lowest = torch.full((n_runs,), math.inf, dtype=torch.float64)

    def stopped(self, loss: Tensor) -> Tensor:
        """Whether each run stops (runs,) after an epoch of these val/loss (runs,), float64."""
        if self.patience is None:
            return torch.zeros(len(loss), dtype=torch.bool)
        finite = loss.isfinite()
        improved = loss + self.min_delta < self._lowest
        self._lowest = loss.where(improved, self._lowest)
        self._waited = (self._waited + finite).where(~improved, 0)
        return (self._waited >= self.patience) | ~finite

    def callback_states(self, run: int, loss: float, epoch: int) -> dict[str, Any]:
        """What the callback of a single run would have put into its checkpoint.

        Args:
            loss: its last val/loss.
            epoch: the one that has just ended, counted from 0 as Lightning does.
        """
        if self.patience is None:
            return {}
        callback = EarlyStopping("val/loss", min_delta=self.min_delta, patience=self.patience)
        callback.wait_count = int(self._waited[run])
        if self._lowest[run].isfinite():
            callback.best_score = self._lowest[run].clone()
        if not math.isfinite(loss):
            callback.stopping_reason = EarlyStoppingReason.NON_FINITE_METRIC
        elif callback.wait_count >= self.patience:
            callback.stopping_reason = EarlyStoppingReason.PATIENCE_EXHAUSTED
        if callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            callback.stopped_epoch = epoch
        return {callback.state_key: callback.state_dict()}

    def state(self) -> dict[str, Any]:
        """What is remembered, (runs,) each; for `restore`."""
        return {"waited": self._waited, "awaited": self._lowest}

    def restore(self, state: dict[str, Any]) -> None:
        self._waited, self._lowest = state["waited"], state["awaited"]

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these, int64 indices."""
        self._waited, self._lowest = self._waited[runs], self._lowest[runs]
