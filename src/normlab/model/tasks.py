"""What the outputs of a network mean: the one place that knows.

All else asks a task: how many outputs a row has, each row's loss, the metrics by their names, the
loss of the best guess that ignores its input, and the decision.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F

from normlab.model.metrics import auroc


class Task(ABC):
    """What is learnt of labels (runs, n) by outputs (runs, n), or (runs, outputs, n) of several."""

    name: ClassVar[str]

    metrics: ClassVar[tuple[str, ...]]
    """Names of what `evaluate` gives; the first is the loss."""

    n_outputs: int
    """Outputs of a row."""

    @abstractmethod
    def losses(self, outputs: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of each row (runs, n).

        Args:
            weight: of the classes, as training has it; None for none.
        """

    @abstractmethod
    def evaluate(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The metrics (runs, metrics), unweighted, in float32 at least.

        A bfloat16 has no figure between 0.996 and 1.
        """

    @abstractmethod
    def guess_loss(self, labels: Tensor, weight: float = 1.0) -> float:
        """Unweighted mean loss of the model that ignores its input and has the least weighted one.

        Args:
            labels: (n,).
            weight: as training has it.
        """

    @abstractmethod
    def decide(self, outputs: Tensor) -> Tensor:
        """The decision for each row, as a label."""


@final
class Binary(Task):
    """One logit, of class 1, with binary cross-entropy in nats (torch's BCEWithLogitsLoss).

    The weight is that of the rows of class 1, `pos_weight` of that loss: (runs, 1).
    """

    name = "binary"
    metrics = ("loss", "accuracy", "auroc")
    n_outputs = 1

    def losses(self, outputs: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            outputs, labels, pos_weight=weight, reduction="none"
        )

    @torch.no_grad()
    def evaluate(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss, share of rows on the right side of logit 0 (0 itself is class 0), and AUROC."""
        dtype = torch.promote_types(outputs.dtype, torch.float32)
        outputs, labels = outputs.to(dtype), labels.to(dtype)
        loss = self.losses(outputs, labels).mean(-1)
        right = (self.decide(outputs) == labels).to(dtype).mean(-1)
        return torch.stack([loss, right, auroc(outputs, labels).to(dtype)], -1)

    def guess_loss(self, labels: Tensor, weight: float = 1.0) -> float:
        """Without a weight the label entropy, -(p ln p + (1 - p) ln(1 - p)).

        With one such a model says w p / (w p + 1 - p).
        """
        share = labels.double().mean().item()
        said = weight * share / (weight * share + 1 - share)
        pairs = ((share, said), (1 - share, 1 - said))
        return -sum(p * math.log(q) for p, q in pairs if p > 0)

    def decide(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).to(outputs.dtype)
