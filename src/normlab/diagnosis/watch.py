"""During training, every so many epochs: gradients, lost units and skill, on a sample of rows.

The sample's gradient is taken anew, in evaluation mode: a step's own is that of its batch and
masks, and differs from step to step. A sample of this size costs about half a step of a small
net, and is due in few epochs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from normlab.data.serve.module import TableDataModule
from normlab.diagnosis.start import sample_positions
from normlab.diagnosis.tags import GRADIENT_NORM, SKILL, UNITS
from normlab.diagnosis.units import fault_of, lost_units, share_of_all
from normlab.model.network import Network
from normlab.model.tasks import Task

SAMPLE = 128  # training rows: a unit's share of flat rows is then known to 0.04


class Watch:
    """What the epochs of some runs are looked at with.

    Args:
        data: of the runs; their training rows are sampled.
        task: what the outputs mean.
        guesses: of each run, the loss of the best guess that ignores its input.
        weights: of each run, that of the rows of class 1 in the training loss.
        every_n_epochs: between two looks; the first and the last epoch are looked at always.
    """

    def __init__(
        self,
        data: TableDataModule,
        task: Task,
        guesses: Sequence[float],
        weights: Sequence[float],
        every_n_epochs: int,
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self._data = data
        self._task = task
        self._guesses = torch.tensor(guesses, dtype=torch.float64)
        self._weights = torch.tensor(weights)
        self._positions = sample_positions(data.n_rows("train"), SAMPLE)

    def look(
        self, network: Network, runs: Tensor, epoch: int, max_epochs: int, losses: Tensor
    ) -> tuple[list[str], Tensor]:
        """Names and values, float64 (k, names) on the CPU; no names where no look is due.

        Args:
            network: of the runs that train.
            runs: their positions among all (k,).
            epoch: counts from 1.
            losses: training losses of the epoch (k,), float64 on the CPU.
        """
        if not is_due(epoch, self.every_n_epochs, max_epochs):
            return [], losses.new_empty((len(losses), 0))
        skills = 1 - losses / self._guesses[runs]
        norms, lost = self._look(network, runs)
        values = [skills[:, None], lost.double().cpu(), norms.double().cpu()]
        return names_of(network), torch.cat(values, 1)

    def _look(self, network: Network, runs: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient norms (k, layers), and the share of lost units (k, 1 or none)."""
        parameters = dict(network.named_parameters())
        like = next(iter(parameters.values()))
        rows, labels = (part.to(like) for part in self._data.take("train", self._positions, runs))
        mode = network.training
        network.eval()
        with torch.enable_grad():
            _, outputs = network.layer_outputs(network.inputs(rows))
            logits = outputs[-1].squeeze(1) if network.n_outputs == 1 else outputs[-1]
            weight = self._weights[runs].to(like)[:, None]
            loss = self._task.losses(logits, labels, weight).mean(-1).sum()
            gradients = torch.autograd.grad(loss, list(parameters.values()))
        network.train(mode)
        squares = [gradient.float().square().flatten(1).sum(1) for gradient in gradients]
        return layer_norms(list(parameters), squares), all_lost(network, outputs)


def is_due(epoch: int, every_n_epochs: int, max_epochs: int | None) -> bool:
    """Whether to look after this epoch, counted from 1."""
    return epoch == 1 or epoch % every_n_epochs == 0 or epoch == max_epochs


def names_of(network: Network) -> list[str]:
    """Names of a record's values: skill, lost units, the gradient of each layer."""
    units = [UNITS + fault_of(network.activation)] if network.hidden else []
    return [SKILL, *units, *layer_names([name for name, _ in network.named_parameters()])]


def layer_names(parameters: Sequence[str]) -> list[str]:
    """Of the layers that the parameters belong to, in their order: batchnorm, layer1, ..."""
    owners = dict.fromkeys(name.rpartition(".")[0] for name in parameters)
    layers = [owner for owner in owners if owner != "batchnorm"]
    return [
        GRADIENT_NORM + (owner if owner == "batchnorm" else f"layer{layers.index(owner) + 1}")
        for owner in owners
    ]


def layer_norms(parameters: Sequence[str], squares: Sequence[Tensor]) -> Tensor:
    """Each layer's gradient norm (..., layers), from its parameters' sums of squares (...)."""
    totals: dict[str, Tensor] = {}
    for name, square in zip(parameters, squares, strict=True):
        owner = name.rpartition(".")[0]
        totals[owner] = totals[owner] + square if owner in totals else square
    return torch.stack(list(totals.values()), -1).sqrt()


@torch.no_grad()
def all_lost(network: Network, outputs: Sequence[Tensor]) -> Tensor:
    """The share of all hidden units that are lost (..., 1); (..., 0) where there are none."""
    if not network.hidden:
        return outputs[-1].new_empty((len(outputs[-1]), 0))
    return share_of_all(lost_units(outputs[:-1], network.activation), network.hidden)[..., None]
