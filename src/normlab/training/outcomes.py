"""What becomes of each run: its best weights, whether it stops early, whether it diverged.

Of R runs at once, by masks over the axis of runs. A run that has ended leaves the training, and
what became of it stays here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
        # NumPy: of a few runs its operations take a third of torch's time, at every epoch.
        self.best_loss = np.full(n_runs, np.nan)
        self.best_epoch = np.zeros(n_runs, np.int64)
        self.lowest = np.full(n_runs, np.inf)
        self.waited = np.zeros(n_runs, np.int64)
        self.epochs = np.zeros(n_runs, np.int64)
        self.stopped = np.zeros(n_runs, bool)
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
        active, now, whole = self.active.numpy(), loss.numpy(), finite.numpy()
        best = self.best_loss[active]
        first = self.best_epoch[active] == 0
        better = (now < best) | (np.isnan(best) & ~np.isnan(now)) | (not validated)
        self._take(network, first | (better & whole), epoch, now)
        self.epochs[active] = epoch
        ends = ~whole
        if validated and self.patience is not None:
            ends |= self._runs_out_of_patience(active, now, self.patience)
        self.stopped[active] = ends
        return torch.from_numpy(~ends)

    def _take(
        self, network: Network, better: NDArray[np.bool_], epoch: int, loss: NDArray[np.float64]
    ) -> None:
        runs = self.active.numpy()[better]
        if not len(runs):
            return
        self.best_loss[runs] = loss[better]
        self.best_epoch[runs] = epoch
        for name, value in network.trained_state().items():
            if len(runs) == len(self.diverged):
                self.best[name].copy_(value)
            else:
                places = torch.from_numpy(better.nonzero()[0]).to(value.device)
                self.best[name][torch.from_numpy(runs).to(value.device)] = value[places]

    def _runs_out_of_patience(
        self, active: NDArray[np.int64], loss: NDArray[np.float64], patience: int
    ) -> NDArray[np.bool_]:
        improved = loss + self.min_delta < self.lowest[active]
        self.lowest[active] = np.where(improved, loss, self.lowest[active])
        finite = np.isfinite(loss)
        self.waited[active] = np.where(improved, 0, self.waited[active] + finite)
        return (self.waited[active] >= patience) | ~finite

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
        numbers = {name: torch.from_numpy(getattr(self, name).copy()) for name in STATE}
        return {**numbers, "best": self.best, "diverged": self.diverged, "active": self.active}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value.numpy().copy() if name in STATE else value)
