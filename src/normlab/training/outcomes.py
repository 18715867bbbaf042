"""What becomes of each run: its best weights, whether it stops early, whether it diverged.

Of R runs at once, by masks over the axis of runs. A run that has ended leaves the training, and
what became of it stays here.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from normlab.model.network import Network

STATE = ("best_loss", "best_epoch", "lowest", "waited", "epochs", "stopped")


class Outcomes:
    """The outcomes of all runs of a network, in the order of its runs.

    The best weights are those of the lowest validation loss, in the loss that is trained; where
    nothing is held out, the last ones. Early stopping is Lightning's EarlyStopping on that loss
    (mode min, check_finite).

    Args:
        network: before the training, of all runs.
        patience: epochs without a better loss after which a run stops; None never stops.
        min_delta: what counts as better for stopping: at least so much lower.

    Attributes:
        best: the state_dict of the best weights (runs, ...).
        best_loss: its validation loss (runs,), float64; nan where there is none.
        best_epoch: number of epochs it was trained for (runs,).
        epochs: number of epochs trained (runs,).
        stopped: whether a run has stopped before the last epoch (runs,).
        diverged: how, for each run whose loss has turned nan or infinite; else None.
        active: positions of the runs that still train, int64 (k,).
    """

    def __init__(self, network: Network, patience: int | None, min_delta: float) -> None:
        n_runs = network.n_runs
        self.patience = patience
        self.min_delta = min_delta
        self.best = {name: value.clone() for name, value in network.state_dict().items()}
        self.best_loss = torch.full((n_runs,), math.nan, dtype=torch.float64)
        self.best_epoch = torch.zeros(n_runs, dtype=torch.int64)
        self.lowest = torch.full((n_runs,), math.inf, dtype=torch.float64)
        self.waited = torch.zeros(n_runs, dtype=torch.int64)
        self.epochs = torch.zeros(n_runs, dtype=torch.int64)
        self.stopped = torch.zeros(n_runs, dtype=torch.bool)
        self.diverged: list[str | None] = [None] * n_runs
        self.active = torch.arange(n_runs)

    @torch.no_grad()
    def update(
        self, network: Network, epoch: int, loss: Tensor, finite: Tensor, validated: bool
    ) -> Tensor:
        """After an epoch: which of the active runs go on, bool (k,).

        Args:
            network: of the active runs, with the weights of this epoch.
            epoch: number of epochs finished.
            loss: the trained loss on the validation rows (k,), float64 on the CPU; nan without.
            finite: (k,), false where a run has diverged.
            validated: whether rows are held out for validation.
        """
        active = self.active
        best = self.best_loss[active]
        first = self.best_epoch[active] == 0
        better = (loss < best) | (best.isnan() & ~loss.isnan()) | (not validated)
        self._take(network, first | (better & finite), epoch, loss)
        self.epochs[active] = epoch
        stops = self._stops(loss) if validated else torch.zeros_like(finite)
        self.stopped[active] = stops | ~finite
        return ~(stops | ~finite)

    def _take(self, network: Network, better: Tensor, epoch: int, loss: Tensor) -> None:
        runs = self.active[better]
        self.best_loss[runs] = loss[better]
        self.best_epoch[runs] = epoch
        whole = len(runs) == len(self.diverged)
        for name, value in network.trained_state().items():
            if whole:
                self.best[name].copy_(value)
            elif len(runs):
                self.best[name][runs.to(value.device)] = value[better.to(value.device)]

    def _stops(self, loss: Tensor) -> Tensor:
        if self.patience is None:
            return torch.zeros(len(loss), dtype=torch.bool)
        lowest = self.lowest[self.active]
        improved = loss + self.min_delta < lowest
        waited = (self.waited[self.active] + loss.isfinite()).where(~improved, 0)
        self.lowest[self.active] = loss.where(improved, lowest)
        self.waited[self.active] = waited
        return (waited >= self.patience) | ~loss.isfinite()

    def never_good(self, run: int) -> bool:
        """Whether a run has diverged before an epoch gave weights to keep."""
        return self.diverged[run] is not None and bool(self.best_epoch[run] == self.epochs[run])

    def to(self, like: Tensor) -> None:
        """Moves the best weights to the device and into the precision of a tensor."""
        self.best = {
            name: value.to(like) if value.is_floating_point() else value.to(like.device)
            for name, value in self.best.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain types and tensors (runs, ...)."""
        numbers = {name: getattr(self, name) for name in STATE}
        return {**numbers, "best": self.best, "diverged": self.diverged, "active": self.active}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
