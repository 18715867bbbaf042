"""`diagnosis.watch` for all runs of a stack in one pass."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from normlab.diagnosis.probe import NETWORK, Probe, sample_positions
from normlab.diagnosis.watch import SAMPLE, Watch, all_lost, is_due, layer_norms, names_of
from normlab.training.stacked.batches import StackedData
from normlab.training.stacked.member import Member
from normlab.training.stacked.stack import Stack


class StackedWatch:
    """Looks at every run's gradients and units, when its own `Watch` would.

    Args:
        members: with a watch each, of one interval.
        data: of the same runs.
    """

    def __init__(self, members: Sequence[Member], data: StackedData) -> None:
        watches = [member.classifier.watch for member in members]
        known = [watch for watch in watches if isinstance(watch, Watch)]
        self._every_n_epochs = known[0].every_n_epochs
        network = members[0].classifier.network
        self._names = names_of(network)
        self._probe = Probe(copy.deepcopy(network).to("meta").eval())
        self._guesses = torch.tensor([watch.guess for watch in known], dtype=torch.float64)
        index = data.index["train"]
        self._index = index[:, sample_positions(index.shape[1], SAMPLE)]
        self._data = data

    def look(
        self, stack: Stack, epoch: int, max_epochs: int | None, losses: Tensor
    ) -> tuple[list[str], Tensor]:
        """Names and values, float64 (runs, names) on the CPU; no names where no look is due.

        Args:
            epoch: counts from 1.
            losses: training losses of the epoch (runs,), float64 on the CPU.
        """
        if not is_due(epoch, self._every_n_epochs, max_epochs):
            return [], losses.new_empty((len(losses), 0))
        skills = 1 - losses / self._guesses
        norms, lost = self._look(stack)
        values = [skills[:, None], lost.cpu().double(), norms.cpu().double()]
        return self._names, torch.cat(values, 1)

    def _look(self, stack: Stack) -> tuple[Tensor, Tensor]:
        """Gradient norms (runs, layers), and the share of lost units (runs, 1 or none)."""
        network = self._probe.network
        with torch.enable_grad():
            weights = stack.weights.detach().requires_grad_()
            parts = zip(stack.names, weights.split(stack.sizes, 1), stack.shapes, strict=True)
            state = {name: part.reshape(-1, *shape) for name, part, shape in parts}
            state |= stack.buffers_by_name()
            state = {f"{NETWORK}{name}": value for name, value in state.items()}
            rows = self._data.rows[self._index].to(weights)
            labels = self._data.labels[self._index].to(weights)

            def outputs(state: dict[str, Tensor], rows: Tensor) -> list[Tensor]:
                return functional_call(self._probe, state, (rows,))[1]

            every = vmap(outputs)(state, rows)
            loss = stack.loss(every[-1].squeeze(-1), labels).sum()
            (gradient,) = torch.autograd.grad(loss, weights)
        squares = [part.float().square().sum(1) for part in gradient.split(stack.sizes, 1)]
        return layer_norms(stack.names, squares), all_lost(network, every)

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these."""
        runs = runs.to(self._index.device)
        self._index, self._guesses = self._index[runs], self._guesses[runs]
