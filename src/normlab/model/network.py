"""Raw rows in, a logit out: encoder, normalization and MLP in one plain `nn.Module`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from normlab.data.rows import Rows, as_rows
from normlab.model.affine import mean_and_std
from normlab.model.encoder import Encoder
from normlab.model.normalization import Normalizer, make_normalizer

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
}


class Network(nn.Module):
    """normalizer -> BatchNorm1d (if asked for) -> [Linear, activation, Dropout] ... -> Linear.

    With an encoder, normalizer and BatchNorm1d get the numeric columns alone, and the first Linear
    the encoder's other inputs after them.

    The weights are drawn layer by layer, in order, from torch's global generator: after
    `torch.manual_seed(seed)` they are those of the same layers written by hand.

    Args:
        normalizer: maps the numbers (n, features) of raw rows; fitted by `fit`.
        hidden: units of each hidden layer; none is logistic regression.
        activation: a key of `ACTIVATIONS`.
        dropout: rate after each hidden layer.
        batchnorm: whether BatchNorm1d follows the normalizer.
        init: "torch" keeps PyTorch's own; "he" draws N(0, 2 / fan_in) with zero biases (He et al.
            2015, section 2.2); "xavier" draws U(-a, a), a = sqrt(6 / (fan_in + fan_out)), with
            zero biases (Glorot and Bengio 2010, equation 16).
        encoder: for tables with more than plain numbers; fitted by `fit`.
    """

    encoder: Encoder | None

    def __init__(
        self,
        normalizer: Normalizer,
        hidden: Sequence[int] = (16,),
        activation: str = "relu",
        dropout: float = 0.0,
        batchnorm: bool = False,
        init: str = "torch",
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.hidden = list(hidden)
        self.activation = activation
        self.dropout = dropout
        self.encoder = encoder
        self.normalizer = normalizer
        n_numeric = normalizer.n_features
        self.batchnorm = nn.BatchNorm1d(n_numeric) if batchnorm and n_numeric else nn.Identity()
        layers: list[nn.Module] = []
        width = self.n_inputs
        for units in hidden:
            layers += [nn.Linear(width, units), ACTIVATIONS[activation]()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = units
        layers.append(nn.Linear(width, 1))
        self.mlp = nn.Sequential(*layers)
        _initialize(self.mlp, init)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (n,) of raw rows (n, columns)."""
        return self.logits(self.inputs(rows))

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits (n,) of what the first Linear is given (n, n_inputs)."""
        return self.mlp(inputs).squeeze(-1)

    def inputs(self, rows: Tensor) -> Tensor:
        """What the first Linear is given (n, n_inputs) of raw rows (n, columns)."""
        if self.encoder is None:
            return self.batchnorm(self.normalizer(rows))
        numbers, others = self.encoder(rows)
        if not self.encoder.n_numeric:
            return others
        return torch.cat([self.batchnorm(self.normalizer(numbers)), others], 1)

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
        """Fits encoder and normalizer on the training rows (n, columns), in raw units.

        BatchNorm's running statistics start at those of the rows that it will see, in place of 0
        and 1: they move by a tenth of the way a step, so that with inputs far from 0 an early
        evaluation would be of another function than the one that trains.

        An input that is 0 in all training rows never trains. Its first weights are set to 0, so
        that it adds no noise where it first appears.
        """
        if self.encoder is not None:
            unused = self.encoder.fit(rows).never_seen(rows)
            first = next(layer for layer in self.mlp if isinstance(layer, nn.Linear))
            first.weight[:, self.normalizer.n_features :][:, unused.to(first.weight.device)] = 0
            rows = self.encoder.numbers(rows)
            if not self.encoder.n_numeric:
                return self
        self.normalizer.fit(rows)
        if isinstance(self.batchnorm, nn.BatchNorm1d):
            weight = self.batchnorm.weight
            seen = as_rows(rows).map(lambda rows: self.normalizer(rows.to(weight)).double())
            mean, std = mean_and_std(seen)
            assert self.batchnorm.running_mean is not None
            assert self.batchnorm.running_var is not None
            self.batchnorm.running_mean.copy_(mean)
            self.batchnorm.running_var.copy_(std**2 * (len(seen) / max(1, len(seen) - 1)))
        return self

    def settings(self) -> dict[str, Any]:
        """Plain types from which `from_settings` builds a network of the same shapes."""
        return {
            "normalizer": self.normalizer.settings(),
            "hidden": self.hidden,
            "activation": self.activation,
            "dropout": self.dropout,
            # Over several GPUs it is a SyncBatchNorm.
            "batchnorm": not isinstance(self.batchnorm, nn.Identity),
            **({} if self.encoder is None else {"encoder": self.encoder.settings()}),
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Network:
        """A network with weights and statistics yet to be loaded."""
        normalizer = make_normalizer(**settings["normalizer"])
        encoder = Encoder(**settings["encoder"]) if "encoder" in settings else None
        return cls(**{**settings, "normalizer": normalizer, "encoder": encoder})


def _initialize(mlp: nn.Sequential, init: str) -> None:
    if init == "torch":
        return
    for layer in mlp:
        if isinstance(layer, nn.Linear):
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
