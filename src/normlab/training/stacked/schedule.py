"""The learning rates of a run of a stack, which has no scheduler of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from normlab.model.classifier import make_scheduler
from normlab.training.stacked.member import Member


def set_schedules(members: Sequence[Member], epochs: int) -> None:
    """Gives each member its `schedule`; most runs of a sweep share theirs."""
    known: dict[Any, list[float]] = {}
    for member in members:
        hparams = member.classifier.hparams
        key = (hparams["lr"], repr(hparams["scheduler"]))
        if key not in known:
            known[key] = schedule(hparams, epochs)
        member.schedule = known[key]


def schedule(hparams: Any, epochs: int) -> list[float]:
    """The learning rate of each epoch and after the last one: a single run's own scheduler's."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], hparams["lr"])
    scheduler = make_scheduler(optimizer, hparams["scheduler"], epochs)
    rates = [float(optimizer.param_groups[0]["lr"])]
    for _ in range(epochs):
        if scheduler is not None:
            optimizer.step()
            scheduler.step()
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates
