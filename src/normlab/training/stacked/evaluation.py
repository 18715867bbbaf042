"""`training.result.evaluate` for all runs of a stack in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from normlab.model.metrics import METRICS, binary_metrics
from normlab.training.result import PARTS, Figures
from normlab.training.stacked.batches import StackedData
from normlab.training.stacked.member import Member
from normlab.training.stacked.stack import Stack


@torch.no_grad()
def evaluate_all(members: Sequence[Member], data: StackedData) -> list[Figures]:
    """The figures of every run, with the weights that its network has.

    Args:
        members: whose networks are of one device and precision.
        data: of the same runs.
    """
    stack = Stack([member.classifier for member in members]).eval()
    figures: list[Figures] = [dict.fromkeys(PARTS) for _ in members]
    for part in PARTS:
        served = data.in_order(part)
        if served is None:
            continue
        batches = map(stack.converted, served.mini_batches())
        outputs = [(stack(rows), labels) for rows, labels in batches]
        logits, labels = (torch.cat(pieces, 1) for pieces in zip(*outputs, strict=True))
        for run, values in zip(figures, binary_metrics(logits, labels).tolist(), strict=True):
            run[part] = dict(zip(METRICS, values, strict=True))
    return figures
