"""Adam, AdamW and SGD for the runs of a network, each at its own rates, and their schedules.

torch's own optimizers take one rate for a whole tensor. What is written here is their update; the
tests hold it against them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from normlab.config.model import SchedulerSettings

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults


class RunsOptimizer(Optimizer):
    """The update of `torch.optim`, of all runs at once: no run's numbers meet another's.

    The parameters become views of one matrix with a run in each row, which keeps a step to a
    handful of operations however many layers there are. It is kept, like the moments, in float32
    at least: in 16 bits the epsilon would be 0.

    Args:
        parameters: each (runs, ...).
        kind: "adam", "adamw" or "sgd".
        lr, weight_decay, momentum: of each run; momentum is of SGD alone.

    Attributes:
        lr: (runs, 1), set anew by whoever schedules it.
        steps: taken so far.

    References:
        Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2 (AdamW); Sutskever
        et al. 2013 as `torch.optim.SGD` has it (momentum).
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        kind: str,
        lr: Sequence[float],
        weight_decay: Sequence[float],
        momentum: Sequence[float] | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": 0.0})
        self.kind = kind
        self._parameters = list(parameters)
        self._sizes = [parameter[0].numel() for parameter in parameters]
        self._gather()
        momenta = [0.0] * len(lr) if momentum is None else momentum
        self.lr, self.weight_decay, self.momentum = (
            torch.tensor(values, dtype=self._weights.dtype, device=self._weights.device)[:, None]
            for values in (lr, weight_decay, momenta)
        )
        self.steps = 0
        n_moments = 2 if kind != "sgd" else int(any(momenta))
        self.moments = [torch.zeros_like(self._weights) for _ in range(n_moments)]
        self._decays = any(weight_decay)

    @torch.no_grad()
    def _gather(self) -> None:
        """Lays the parameters into one matrix, whose parts they become."""
        parts = [parameter.detach().flatten(1) for parameter in self._parameters]
        self._weights = torch.cat(parts, 1)
        self._in_place = self._weights.dtype not in (torch.float16, torch.bfloat16)
        if not self._in_place:  # the parameters are rounded copies
            self._weights = self._weights.float()
            return
        for parameter, part in zip(
            self._parameters, self._weights.split(self._sizes, 1), strict=True
        ):
            parameter.data = part.view(parameter.shape)
            parameter.grad = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [parameter.grad for parameter in self._parameters]
        gradient = torch.cat([part.flatten(1) for part in gradients if part is not None], 1)
        self._update(gradient.to(self._weights.dtype))
        if not self._in_place:
            parts = self._weights.split(self._sizes, 1)
            for parameter, part in zip(self._parameters, parts, strict=True):
                parameter.copy_(part.view(parameter.shape))
        return loss

    def _update(self, gradient: Tensor) -> None:
        self.steps += 1
        weights = self._weights
        if self._decays and self.kind == "adamw":
            weights.mul_(1 - self.lr * self.weight_decay)
        elif self._decays:
            gradient = gradient.addcmul(self.weight_decay, weights)
        if self.kind == "sgd":
            if self.moments:
                (velocity,) = self.moments
                velocity.mul_(self.momentum).add_(gradient)  # 0 before the first step
                gradient = velocity
            weights.sub_(self.lr * gradient)
            return
        mean, square = self.moments
        mean.lerp_(gradient, 1 - BETA1)
        square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = square.sqrt().div_(math.sqrt(1 - BETA2**self.steps)).add_(EPSILON)
        weights.addcdiv_(mean * (self.lr / -(1 - BETA1**self.steps)), root)

    def state_dict(self) -> dict[str, Any]:
        """What training goes on from; rates and decays are the runs' settings."""
        exact = {} if self._in_place else {"weights": self._weights}
        return {"steps": self.steps, "moments": self.moments, **exact}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]
        self.moments = [moment.to(self._weights) for moment in state_dict["moments"]]
        if "weights" in state_dict:
            self._weights.copy_(state_dict["weights"])

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these (int64 indices) from the parameters and from what belongs here.

        The parameters stay the same objects.
        """
        self.lr, self.weight_decay, self.momentum = (
            value[runs] for value in (self.lr, self.weight_decay, self.momentum)
        )
        self.moments = [moment[runs] for moment in self.moments]
        exact = self._weights[runs]
        for parameter in self._parameters:
            parameter.data = parameter.data[runs]
        self._gather()
        self._weights.copy_(exact)


class Rates:
    """The learning rates of all runs, epoch by epoch; an epoch's are worked out when it comes.

    Args:
        schedules: of each run its learning rate and its schedule.
        epochs: of the training, over which a cosine reaches.
    """

    def __init__(self, schedules: Sequence[tuple[float, SchedulerSettings]], epochs: int) -> None:
        keys = [(lr, repr(scheduler)) for lr, scheduler in schedules]  # many runs share one
        distinct = dict(zip(keys, schedules, strict=True))
        places = {key: place for place, key in enumerate(distinct)}
        self._of_run = torch.tensor([places[key] for key in keys])
        self._coming = [scheduled_rates(*schedule, epochs) for schedule in distinct.values()]
        self._epoch, self._now = -1, torch.empty(0)

    def of(self, epoch: int) -> Tensor:
        """float64 (runs,).

        Args:
            epoch: counted from 0; not before one that was asked for.
        """
        while self._epoch < epoch:
            self._epoch += 1
            self._now = torch.tensor([next(one) for one in self._coming], dtype=torch.float64)
        return self._now[self._of_run]


def scheduled_rates(lr: float, scheduler: SchedulerSettings, epochs: int) -> Iterator[float]:
    """The learning rate of each epoch, without an end.

    The recursions of `torch.optim.lr_scheduler`'s StepLR and CosineAnnealingLR, to the bit. A
    schedule of torch's own would have to be stepped through to be resumed.

    Args:
        epochs: T_max of the cosine.
    """
    for epoch in count(1):
        yield lr
        if scheduler.name == "step" and epoch % scheduler.step_size == 0:
            lr *= scheduler.gamma
        elif scheduler.name == "cosine":
            now, before = (1 + math.cos(math.pi * n / epochs) for n in (epoch, epoch - 1))
            lr = now / before * (lr - scheduler.eta_min) + scheduler.eta_min
