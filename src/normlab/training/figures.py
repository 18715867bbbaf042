"""An epoch's figures of all runs: of its own forward passes, and of the validation rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from lightning import Trainer
from torch import Tensor

from normlab.data.serve.module import TableDataModule
from normlab.model.network import Network
from normlab.model.tasks import Task
from normlab.training.outputs import Outputs
from normlab.training.ranks import gathered

KEPT_NUMBERS = 2**22  # of validation inputs that are kept from epoch to epoch, 16 MB


@dataclass(frozen=True, eq=False)
class Figures:
    """Of an epoch and the k runs that train, on the CPU.

    Attributes:
        names: of the metrics.
        values: float64 (k, metrics).
        validation_loss: the loss that is trained, on the validation rows: float64 (k,), nan
            without such rows. The metrics' losses are unweighted.
        finite: bool (k,), false where a run has diverged: its losses are no numbers, or, where
            nothing is held out, its weights after the last of them.
    """

    names: list[str]
    values: Tensor
    validation_loss: Tensor
    finite: Tensor


class Measures:
    """Collects an epoch's outputs, and makes its figures of them.

    Where several processes train (DDP), the figures are those of the rows of all of them.

    Args:
        data: of all runs.
        task: what the outputs mean.

    Attributes:
        train: outputs of the training steps, as they were taken.
    """

    def __init__(self, data: TableDataModule, task: Task) -> None:
        self._data = data
        self._task = task
        self.train = Outputs(data.n_rows("train"))
        self._val = Outputs(data.n_rows("val"))
        self._val_batches: list[tuple[Tensor, Tensor]] | None = None

    @torch.no_grad()
    def of_epoch(
        self, network: Network, runs: Tensor, weight: Tensor | None, trainer: Trainer
    ) -> Figures:
        """To be called when the last step has been taken.

        Args:
            network: of the runs that train, in training mode, in which it is left.
            runs: their positions among all (k,).
            weight: of the rows of class 1 in the loss that is trained (k, 1); None: all 1.
        """
        loss = self._validate(network, runs, weight, trainer)
        names, values = self._metrics(trainer)
        finite = values[:, [i for i, name in enumerate(names) if name.endswith("/loss")]]
        finite = finite.isfinite().all(1)
        if not self._data.n_rows("val"):
            for parameter in network.parameters():
                finite &= parameter.flatten(1).isfinite().all(1).cpu()
        return Figures(names, values, loss, finite)

    def training_losses(self, place: int) -> Tensor:
        """The loss of each row (n,) of one of the runs, in this process's steps of the epoch."""
        outputs, labels = (part[place : place + 1] for part in self.train.joined())
        return self._task.losses(outputs, labels, None)[0]

    def clear(self) -> None:
        """Forgets the epoch."""
        self.train.clear()
        self._val.clear()

    def release(self) -> None:
        """Forgets all that is of the runs that have trained: others go on."""
        self.train.release()
        self._val.release()
        self._val_batches = None

    def _validate(
        self, network: Network, runs: Tensor, weight: Tensor | None, trainer: Trainer
    ) -> Tensor:
        if not self._data.n_rows("val"):
            return torch.full((len(runs),), math.nan, dtype=torch.float64)
        if network.has_modes:  # else the change would take as long as the validation
            network.eval()
        with trainer.precision_plugin.val_step_context():
            for inputs, labels in self._validation(network, runs):
                self._val.add(network.logits(inputs), labels)
        if network.has_modes:
            network.train()
        outputs, labels = of_all_ranks(self._val, trainer)
        return self._task.losses(outputs, labels, weight).mean(-1).double().cpu()

    def _validation(self, network: Network, runs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels of the validation rows; few are prepared once for all epochs."""
        if self._val_batches is not None:
            yield from self._val_batches
            return
        kept = []
        size = len(runs) * self._data.n_rows("val") * network.n_inputs
        for rows, labels in self._data.evaluation("val", runs, shared=True):
            batch = prepared(network, rows, labels)
            if size <= KEPT_NUMBERS:
                kept.append(batch)
            yield batch
        self._val_batches = kept or None

    def _metrics(self, trainer: Trainer) -> tuple[list[str], Tensor]:
        names, columns = [], []
        for split, outputs in (("train", self.train), ("val", self._val)):
            if self._data.n_rows(split):
                names += [f"{split}/{metric}" for metric in self._task.metrics]
                values = self._task.evaluate(*of_all_ranks(outputs, trainer))
                columns.append(values.double().cpu())
        return names, torch.cat(columns, 1)


def prepared(network: Network, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The network's inputs and the labels, as every step reads them: in its precision and order.

    Args:
        rows: (runs, n, columns).
        labels: (runs, n).
    """
    like = next(network.parameters())
    return network.inputs(rows.to(like)).contiguous(), labels.to(like.dtype)


def of_all_ranks(outputs: Outputs, trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Outputs and labels of this process, or of all that train."""
    return gathered(*outputs.joined()) if trainer.world_size > 1 else outputs.joined()
