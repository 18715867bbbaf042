"""Many networks of one shape as one module: their weights are the rows of one matrix."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from normlab.data.batches import Batch
from normlab.model.classifier import Classifier
from normlab.training.stacked.rows_last import RowsLast


class Stack(nn.Module):
    """The networks and losses of `Classifier`s, evaluated all at once with `torch.func.vmap`.

    Attributes:
        weights: (runs, parameters of one network), the only parameter. One matrix keeps the
            optimizer to a handful of operations, and dropping a run to a selection of rows.
        names, shapes: of a network's parameters, in the order of its `parameters()`.
    """

    weights: nn.Parameter
    pos_weight: Tensor | None

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        super().__init__()
        networks = [classifier.network for classifier in classifiers]
        parameters, buffers = stack_module_state(networks)  # type: ignore[arg-type]
        self.names = list(parameters)
        self.shapes = [parameter.shape[1:] for parameter in parameters.values()]
        self.sizes = [shape.numel() for shape in self.shapes]
        rows = [parameter.detach().flatten(1) for parameter in parameters.values()]
        self.weights = nn.Parameter(torch.cat(rows, 1))
        self.buffer_names = list(buffers)
        for i, value in enumerate(buffers.values()):
            self.register_buffer(f"buffer_{i}", value)
        losses = [classifier.loss for classifier in classifiers]
        weighted = next((loss for loss in losses if loss.pos_weight is not None), None)
        one = torch.ones(())
        weights = [one if loss.pos_weight is None else loss.pos_weight for loss in losses]
        self.register_buffer("pos_weight", torch.stack(weights) if weighted else None)
        # Templates without memory of their own, and no submodules: their state is given per call.
        template = copy.deepcopy(networks[0]).to("meta")
        template.mlp = RowsLast(*template.mlp)
        self._network = [template]
        self._loss = [copy.deepcopy(weighted or losses[0]).to("meta")]

    def __len__(self) -> int:
        return len(self.weights)

    def _parameters_by_name(self) -> dict[str, Tensor]:
        """Views of the matrix; through `split`, whose backward is one concatenation."""
        parts = self.weights.split(self.sizes, 1)
        return {
            name: part.unflatten(1, shape) if len(shape) else part.squeeze(1)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def buffers_by_name(self) -> dict[str, Tensor]:
        return {name: getattr(self, f"buffer_{i}") for i, name in enumerate(self.buffer_names)}

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (runs, n) of raw rows (runs, n, features)."""

        network = self._network[0]
        if network.training != self.training:  # no submodule: `train` and `eval` pass it by
            network.train(self.training)

        def logits(parameters: dict, buffers: dict, rows: Tensor) -> Tensor:
            return functional_call(network, (parameters, buffers), (rows,))

        each = vmap(logits, randomness="different")
        return each(self._parameters_by_name(), self.buffers_by_name(), rows)

    def converted(self, batch: Batch) -> Batch:
        """Rows and labels in the precision of the weights."""
        rows, labels = batch
        return rows.to(self.weights.dtype), labels.to(self.weights.dtype)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Each run's training loss (runs,) of logits and labels (runs, n)."""
        if self.pos_weight is None:
            return vmap(self._loss[0])(logits, labels)

        def loss(pos_weight: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            return functional_call(self._loss[0], {"pos_weight": pos_weight}, (logits, labels))

        return vmap(loss)(self.pos_weight, logits, labels)

    @torch.no_grad()
    def snapshot(self) -> list[Tensor]:
        """Copies of the weights and of all buffers that training moves, (runs, ...) each."""
        return [value.clone() for value in self._state()]

    @torch.no_grad()
    def update(self, snapshot: list[Tensor], better: Tensor) -> None:
        """Takes the state of the runs where `better` (runs,) is true into the snapshot."""
        for kept, value in zip(snapshot, self._state(), strict=True):
            kept[better] = value[better]

    def _state(self) -> list[Tensor]:
        return [self.weights.detach(), *self.buffers_by_name().values()]

    def state_of(self, run: int, snapshot: list[Tensor] | None = None) -> dict[str, Tensor]:
        """A run's state_dict, as its own network has it; from a snapshot, or as it is now."""
        weights, *buffers = snapshot or self._state()
        parts = weights[run].split(self.sizes)
        state = {
            name: part.reshape(shape).clone()
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }
        values = zip(self.buffer_names, buffers, strict=True)
        return state | {name: value[run].clone() for name, value in values}

    @torch.no_grad()
    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these, int64 indices; the parameter stays the same object."""
        self.weights.data = self.weights.data[runs]
        self.weights.grad = None
        for name, value in list(self.named_buffers()):
            setattr(self, name, value[runs])
