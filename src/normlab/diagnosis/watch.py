"""During training, every so many epochs: gradients, lost units and skill, on a sample of rows.

The sample's gradient is taken anew, in evaluation mode: a step's own is that of its batch and
masks, and differs from step to step. A sample of this size costs about half a step of a small
net, and is due in few epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from normlab.data.module import TableDataModule
from normlab.diagnosis.probe import Probe, sample_positions
from normlab.diagnosis.tags import GRADIENT_NORM, SKILL, UNITS
from normlab.diagnosis.units import fault_of, lost_units, share_of_all
from normlab.model.metrics import guess_loss
from normlab.model.network import Network

SAMPLE = 128  # training rows: a unit's share of flat rows is then known to 0.04


class Watch:
    """What a classifier's epochs are looked at with.

    Args:
        data: its training rows are sampled.
        every_n_epochs: between two looks; the first and the last epoch are looked at always.
        pos_weight: of the loss that it is trained with.
    """

    def __init__(self, data: TableDataModule, every_n_epochs: int, pos_weight: float = 1.0) -> None:
        self.every_n_epochs = every_n_epochs
        self.guess = guess_loss(data.train_labels, pos_weight)
        self._data = data

    @cached_property
    def _sample(self) -> tuple[Tensor, Tensor]:
        table, train = self._data.table, self._data.split.train
        index = train[sample_positions(len(train), SAMPLE)]
        return torch.from_numpy(table.rows[index]), torch.from_numpy(table.labels[index])

    def record(
        self, network: Network, loss: nn.Module, epoch: int, max_epochs: int | None, now: float
    ) -> dict[str, float]:
        """What goes into the epoch's record; empty where no look is due.

        Args:
            loss: of logits and labels, as it is trained.
            epoch: counts from 1.
            now: the training loss of the epoch.
        """
        if not is_due(epoch, self.every_n_epochs, max_epochs):
            return {}
        norms, lost = self._look(network, loss)
        values = [1 - now / self.guess, *lost.tolist(), *norms.tolist()]
        return dict(zip(names_of(network), values, strict=True))

    def _look(self, network: Network, loss: nn.Module) -> tuple[Tensor, Tensor]:
        rows, labels = (part.to(_weight(network)) for part in self._sample)
        parameters = dict(network.named_parameters())
        mode = network.training
        network.eval()
        with torch.enable_grad():
            _, outputs = Probe(network)(rows)
            value = loss(outputs[-1].squeeze(-1), labels)
            gradients = torch.autograd.grad(value, list(parameters.values()))
        network.train(mode)
        squares = [gradient.float().square().sum() for gradient in gradients]
        return layer_norms(list(parameters), squares), all_lost(network, outputs)


def is_due(epoch: int, every_n_epochs: int, max_epochs: int | None) -> bool:
    """Whether to look after this epoch, counted from 1."""
    return epoch == 1 or epoch % every_n_epochs == 0 or epoch == max_epochs


def _weight(network: Network) -> Tensor:
    return next(network.parameters())


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
        return outputs[-1].new_empty((*outputs[-1].shape[:-2], 0))
    return share_of_all(lost_units(outputs[:-1], network.activation), network.hidden)[..., None]
