"""R networks of one shape as one `nn.Module`: raw rows in, logits out.

A run by itself is R = 1, a group of a sweep R = hundreds. Every parameter and every statistic has a
leading axis of runs, and no run's values meet another's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from normlab.data.serve.rows import Rows, as_rows
from normlab.model.encoder import Encoder
from normlab.model.layers import BatchNorm, Dropout, Linear
from normlab.model.scaler import Scaler
from normlab.model.scalers import make_scaler, mean_and_std

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
}


class Network(nn.Module):
    """normalizer -> BatchNorm (if asked for) -> [Linear, activation, Dropout] ... -> Linear.

    With an encoder, normalizer and BatchNorm get the numeric columns alone, and the first Linear
    the encoder's other inputs after them.

    It is made for one run, its weights drawn layer by layer from a generator of this run's seed:
    those of the same `nn.Linear` layers built in order after `torch.manual_seed(seed)`. `stack`
    joins the networks of many runs.

    Args:
        normalizer: maps the numbers of raw rows; fitted by `fit`.
        hidden: units of each hidden layer; none is logistic regression.
        activation: a key of `ACTIVATIONS`.
        dropout: rate after each hidden layer.
        batchnorm: whether BatchNorm follows the normalizer.
        init: "torch" keeps PyTorch's own; "he" draws N(0, 2 / fan_in), of the last layer
            N(0, 1 / fan_in), with zero biases (He et al. 2015, section 2.2); "xavier" draws
            U(-a, a), a = sqrt(6 / (fan_in + fan_out)), with zero biases (Glorot and Bengio 2010,
            equation 16).
        encoder: for tables with more than plain numbers; fitted by `fit`.
        seed: makes the initial weights.
        n_outputs: logits of a row.
    """

    encoder: Encoder | None

    def __init__(
        self,
        normalizer: Scaler,
        hidden: Sequence[int] = (16,),
        activation: str = "relu",
        dropout: float = 0.0,
        batchnorm: bool = False,
        init: str = "torch",
        encoder: Encoder | None = None,
        seed: int = 0,
        n_outputs: int = 1,
    ) -> None:
        super().__init__()
        self.hidden = list(hidden)
        self.activation = activation
        self.dropout = dropout
        self.n_outputs = n_outputs
        self.encoder = encoder
        self.normalizer = normalizer
        n_numeric = normalizer.n_features
        self.batchnorm = BatchNorm(1, n_numeric) if batchnorm and n_numeric else None
        generators = [torch.Generator().manual_seed(seed)]
        layers: list[nn.Module] = []
        width = self.n_inputs
        for units in hidden:
            layers.append(Linear(width, units, generators, init, gain=math.sqrt(2)))
            layers.append(ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(Dropout(dropout))
            width = units
        layers.append(Linear(width, n_outputs, generators, init))
        self.mlp = nn.Sequential(*layers)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (runs, outputs, n) of raw rows (runs, n, columns), or (n, columns) for all runs.

        Of one output (runs, n).
        """
        return self.logits(self.inputs(rows))

    def inputs(self, rows: Tensor) -> Tensor:
        """What training leaves as it is: normalized rows and categories (runs, inputs, n).

        They lie in memory as the rows do, which costs nothing where they are used once. Training
        uses them often, and copies them.
        """
        if rows.ndim == 2:
            rows = rows.expand(self.n_runs, *rows.shape)
        if self.encoder is None:
            return self.normalizer(rows).mT
        numbers, others = self.encoder(rows)
        if self.encoder.n_numeric:
            others = torch.cat([self.normalizer(numbers), others], 2)
        return others.mT

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits, as of `forward`, of what `inputs` gives."""
        logits = self.mlp(self.first_inputs(inputs))
        return logits.squeeze(1) if self.n_outputs == 1 else logits

    def layer_outputs(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The first Linear's inputs (runs, inputs, n), and what each Linear makes of them.

        Outputs (runs, units, n) are those before the activation; the last are logits. In
        evaluation mode, of what `inputs` gives.
        """
        first = values = self.first_inputs(inputs)
        outputs = []
        for layer in self.mlp:
            values = layer(values)
            if isinstance(layer, Linear):
                outputs.append(values)
        return first, outputs

    def first_inputs(self, inputs: Tensor) -> Tensor:
        """What the first Linear is given (runs, inputs, n): past BatchNorm, where there is one."""
        if self.batchnorm is None:
            return inputs
        n_numeric = self.normalizer.n_features
        if n_numeric == inputs.shape[1]:
            return self.batchnorm(inputs)
        return torch.cat([self.batchnorm(inputs[:, :n_numeric]), inputs[:, n_numeric:]], 1)

    @property
    def has_modes(self) -> bool:
        """Whether training and evaluation mode differ."""
        return self.batchnorm is not None or self.dropout > 0

    @property
    def n_runs(self) -> int:
        return len(next(self.parameters()))

    @property
    def n_columns(self) -> int:
        """Columns of the raw rows."""
        return self.normalizer.n_features if self.encoder is None else len(self.encoder.types)

    @property
    def n_inputs(self) -> int:
        """Inputs of the first Linear."""
        return self.normalizer.n_features + (0 if self.encoder is None else self.encoder.n_others)

    @torch.no_grad()
    def fit(self, rows: Tensor | Rows) -> Self:
        """Fits encoder and normalizer of one run on its training rows (n, columns), in raw units.

        BatchNorm's running statistics start at those of the rows that it will see, in place of 0
        and 1: they move by a tenth of the way a step, so that with inputs far from 0 an early
        evaluation would be of another function than the one that trains.

        An input that is 0 in all training rows never trains. Its first weights are set to 0, so
        that it adds no noise where it first appears.
        """
        if self.encoder is not None:
            unused = self.encoder.fit(rows).never_seen(rows)
            first = next(layer for layer in self.mlp if isinstance(layer, Linear))
            others = first.weight[..., self.normalizer.n_features :]
            others[..., unused.to(others.device)] = 0
            rows = self.encoder.numbers(rows)
            if not self.encoder.n_numeric:
                return self
        self.normalizer.fit(rows)
        if self.batchnorm is not None:
            weight = self.batchnorm.weight
            seen = as_rows(rows).map(
                lambda rows: self.normalizer(rows.to(weight)[None])[0].double()
            )
            mean, std = mean_and_std(seen)
            self.batchnorm.running_mean.copy_(mean)
            self.batchnorm.running_var.copy_(std**2 * (len(seen) / max(1, len(seen) - 1)))
        return self

    @classmethod
    def stack(cls, networks: Sequence[Network]) -> Network:
        """One network of all their runs, of copies of their weights and statistics.

        Args:
            networks: of one shape, normalized by one family of scalers.
        """
        states = [network.state_dict() for network in networks]
        joined = {name: torch.cat([state[name] for state in states]) for name in states[0]}
        return networks[0].with_state(joined)

    def of_runs(self, runs: Sequence[int]) -> Network:
        """A network of copies of some runs, in the mode of this one."""
        index = torch.as_tensor(runs, device=next(self.parameters()).device)
        return self.with_state({name: value[index] for name, value in self.state_dict().items()})

    def with_state(self, state: dict[str, Tensor]) -> Network:
        """A network of this shape with this state, of as many runs as the state has."""
        network = Network.from_settings(self.settings()).train(self.training)
        network.hold(state)
        return network

    @torch.no_grad()
    def hold(self, state: dict[str, Tensor]) -> None:
        """Takes the tensors of a state_dict as they are, with their number of runs."""
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            value.data = state[name].detach()
            value.grad = None

    @torch.no_grad()
    def keep_statistics(self, runs: Tensor) -> None:
        """Drops all runs but these from the buffers; the optimizer does so from its parameters."""
        for buffer in self.buffers():
            buffer.data = buffer.data[runs]

    def trained_state(self) -> dict[str, Tensor]:
        """What training moves, by its names in the state_dict: weights, running statistics."""
        moved = {name: parameter.detach() for name, parameter in self.named_parameters()}
        if self.batchnorm is not None:
            buffers = self.batchnorm.named_buffers(prefix="batchnorm")
            moved |= dict(buffers)
        return moved

    def seed_dropout(self, seeds: Sequence[int]) -> None:
        """Lets each run draw its masks from a generator of its own seed."""
        layers = [layer for layer in self.mlp if isinstance(layer, Dropout)]
        if layers:
            device = next(self.parameters()).device
            generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
            for layer in layers:  # one generator a run: its layers draw in turn
                layer.generators = generators

    def settings(self) -> dict[str, Any]:
        """Plain types from which `from_settings` builds a network of the same shapes."""
        return {
            "normalizer": self.normalizer.settings(),
            "hidden": self.hidden,
            "activation": self.activation,
            "dropout": self.dropout,
            "batchnorm": self.batchnorm is not None,
            **({} if self.encoder is None else {"encoder": self.encoder.settings()}),
            **({} if self.n_outputs == 1 else {"n_outputs": self.n_outputs}),
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Network:
        """A network of one run with weights and statistics yet to be loaded."""
        normalizer = make_scaler(**settings["normalizer"])
        encoder = Encoder(**settings["encoder"]) if "encoder" in settings else None
        return cls(**{**settings, "normalizer": normalizer, "encoder": encoder})
