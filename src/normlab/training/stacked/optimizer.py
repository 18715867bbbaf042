"""Adam, AdamW and SGD over a matrix with a run in each row, every run at its own rates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults


class StackedOptimizer(Optimizer):
    """The update of `torch.optim` row by row: rows never meet, so stacking changes nothing.

    Args:
        weights: (runs, parameters).
        kind: "adam", "adamw" or "sgd".
        lr: (runs, 1), changed in place by whoever schedules it.
        weight_decay: (runs, 1).

    References:
        Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2 (AdamW).
    """

    def __init__(self, weights: nn.Parameter, kind: str, lr: Tensor, weight_decay: Tensor) -> None:
        super().__init__([weights], {"lr": 0.0})
        self.kind = kind
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        zeros = torch.zeros_like(weights)
        self.moments = [] if kind == "sgd" else [zeros, zeros.clone()]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        (weights,) = self.param_groups[0]["params"]
        gradient = weights.grad
        self.steps += 1
        if self.kind == "adamw":
            weights.mul_(1 - self.lr * self.weight_decay)
        else:
            gradient = gradient + self.weight_decay * weights
        if self.kind == "sgd":
            weights.sub_(self.lr * gradient)
            return loss
        mean, square = self.moments
        mean.lerp_(gradient, 1 - BETA1)
        square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = (square.sqrt() / math.sqrt(1 - BETA2**self.steps)).add_(EPSILON)
        weights.sub_(self.lr / (1 - BETA1**self.steps) * mean.div(root))
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What a stack goes on from; rates and decays are the runs' settings."""
        return {"steps": self.steps, "moments": self.moments}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]
        weights = self.param_groups[0]["params"][0]
        self.moments = [moment.to(weights) for moment in state_dict["moments"]]

    def state_of(self, run: int, sizes: list[int], shapes: list[torch.Size]) -> dict[int, Any]:
        """A run's entry "state", as `torch.optim` has it for the parameters one by one."""
        if self.kind == "sgd":
            return {}
        names = ("exp_avg", "exp_avg_sq")
        parts = [moment[run].split(sizes) for moment in self.moments]
        return {
            i: {
                "step": torch.tensor(float(self.steps)),
                **{
                    name: part[i].reshape(shape).clone()
                    for name, part in zip(names, parts, strict=True)
                },
            }
            for i, shape in enumerate(shapes)
        }

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these."""
        self.lr, self.weight_decay = self.lr[runs], self.weight_decay[runs]
        self.moments = [moment[runs] for moment in self.moments]
