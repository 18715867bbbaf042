"""The layers of R networks of one shape: every parameter has a leading axis of runs.

Values are (runs, features, n): the rows lie along the last axis, which keeps a step's products wide
however narrow the layers are. The axis of members of TabM (Gorishniy et al. 2024) is the same idea.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

# A batched product starts a small product for each run, which for few rows costs more than its
# numbers: below so many rows a side that is one wide is multiplied elementwise.
FEW_ROWS = 256
MANY_RUNS = 16


class Linear(nn.Module):
    """The `nn.Linear` of each run: weight (runs, outputs, inputs), bias (runs, outputs).

    Args:
        generators: draw the initial weights, one for each run; each draws the numbers that
            `nn.Linear` would draw from it.
        init: "torch", "he" or "xavier"; see `Network`.
        gain: of the activation that follows, for "he"; 1 for the last layer, which has none.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        generators: Sequence[torch.Generator],
        init: str = "torch",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        n_runs = len(generators)
        self.weight = nn.Parameter(torch.empty(n_runs, n_outputs, n_inputs))
        self.bias = nn.Parameter(torch.zeros(n_runs, n_outputs))
        with torch.no_grad():
            for weight, bias, generator in zip(self.weight, self.bias, generators, strict=True):
                if init == "torch":  # as nn.Linear.reset_parameters
                    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
                    bound = 1 / math.sqrt(n_inputs) if n_inputs else 0.0
                    bias.uniform_(-bound, bound, generator=generator)
                elif init == "he":
                    std = gain / math.sqrt(max(1, n_inputs))
                    weight.normal_(0.0, std, generator=generator)
                else:
                    nn.init.xavier_uniform_(weight, generator=generator)

    def forward(self, values: Tensor) -> Tensor:
        """(runs, inputs, n) -> (runs, outputs, n)."""
        weight, bias = self.weight, self.bias[:, :, None]
        if len(weight) >= MANY_RUNS and values.shape[2] <= FEW_ROWS:
            if weight.shape[2] == 1:
                return torch.addcmul(bias, weight, values)
            if weight.shape[1] == 1:
                return (weight.mT * values).sum(1, keepdim=True) + bias
        return torch.baddbmm(bias, weight, values)

    def extra_repr(self) -> str:
        _, n_outputs, n_inputs = self.weight.shape
        return f"in_features={n_inputs}, out_features={n_outputs}"


class BatchNorm(nn.Module):
    """The `nn.BatchNorm1d` of each run, over all processes that share its batches.

    Attributes:
        weight, bias: (runs, features).
        running_mean, running_var: (runs, features), as `nn.BatchNorm1d` keeps them.
    """

    momentum = 0.1  # torch's defaults
    eps = 1e-5
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_runs: int, n_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_runs, n_features))
        self.bias = nn.Parameter(torch.zeros(n_runs, n_features))
        self.register_buffer("running_mean", torch.zeros(n_runs, n_features))
        self.register_buffer("running_var", torch.ones(n_runs, n_features))

    def forward(self, values: Tensor) -> Tensor:
        """(runs, features, n) to the same shape."""
        if self.training and distributed.is_initialized() and distributed.get_world_size() > 1:
            return self._over_all_ranks(values)
        # All features of all runs are channels of one batch.
        n_runs, n_features, n_rows = values.shape
        mean, var = self.running_mean.view(-1), self.running_var.view(-1)
        flat = F.batch_norm(
            values.reshape(1, n_runs * n_features, n_rows),
            mean,
            var,
            self.weight.reshape(-1),
            self.bias.reshape(-1),
            self.training,
            self.momentum,
            self.eps,
        )
        return flat.view(n_runs, n_features, n_rows)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, eps={self.eps}, momentum={self.momentum}"

    def _over_all_ranks(self, values: Tensor) -> Tensor:
        """By the statistics of all processes' rows, of which one may have none."""
        n_rows = _sum_of_ranks(values.new_tensor(float(values.shape[2])))
        mean = _sum_of_ranks(values.sum(2)) / n_rows
        centred = values - mean[:, :, None]
        var = _sum_of_ranks(centred.square().sum(2)) / n_rows
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (n_rows / (n_rows - 1)), self.momentum)
        scale = self.weight / (var + self.eps).sqrt()
        return centred * scale[:, :, None] + self.bias[:, :, None]


class _SumOfRanks(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since each process's loss depends on it."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _sum_of_ranks(value: Tensor) -> Tensor:
    return _SumOfRanks.apply(value)  # type: ignore[return-value]


class Dropout(nn.Module):
    """`nn.Dropout` with a generator for each run: a run's masks do not depend on its company.

    Attributes:
        generators: of the runs, on the device of the values; set anew at each epoch.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generators: list[torch.Generator] = []

    def forward(self, values: Tensor) -> Tensor:
        """(runs, units, n) to the same shape."""
        if not self.training or self.rate == 0:
            return values
        mask = torch.empty_like(values)
        for run, generator in zip(mask, self.generators, strict=True):
            run.bernoulli_(1 - self.rate, generator=generator)
        return values * mask.div_(1 - self.rate)

    def extra_repr(self) -> str:
        return f"p={self.rate}"
