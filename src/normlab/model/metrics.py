"""Loss, accuracy and AUROC of logits, for one run or for a stack of runs at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

METRICS = ("loss", "accuracy", "auroc")


@torch.no_grad()
def binary_metrics(logits: Tensor, labels: Tensor) -> Tensor:
    """The metrics of `METRICS`, in that order.

    Args:
        logits: (..., n), one row of them for each run.
        labels: (..., n) of 0 and 1.

    Returns:
        (..., 3): unweighted binary cross-entropy in nats, share of rows on the right side of
        logit 0 (a logit of exactly 0 counts as class 0), and AUROC. In float32 at least: a
        bfloat16 has no figure between 0.996 and 1.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype)
    loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(-1)
    right = ((logits > 0) == (labels > 0.5)).to(loss.dtype).mean(-1)
    return torch.stack([loss, right, auroc(logits, labels).to(loss.dtype)], -1)


@torch.no_grad()
def auroc(logits: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve (...,): the chance that a positive row outranks a negative one.

    The Mann-Whitney statistic over mid-ranks, so that ties count half; ranks are summed as
    integers, which float32 could not hold. nan where one class is absent or a logit is nan.
    """
    ordered, order = logits.sort(-1)
    positive = (labels.expand_as(logits) > 0.5).gather(-1, order)
    below = torch.searchsorted(ordered, ordered)
    not_above = torch.searchsorted(ordered, ordered, right=True)
    twice_rank_sum = ((below + not_above + 1) * positive).sum(-1)
    n_positive = positive.sum(-1)
    n_negative = logits.shape[-1] - n_positive
    pairs = 2 * n_positive * n_negative
    area = (twice_rank_sum - n_positive * (n_positive + 1)) / pairs
    return area.masked_fill((pairs == 0) | logits.isnan().any(-1), math.nan)


def label_entropy(labels: Tensor) -> float:
    """Loss in nats of the best model that ignores its input: -(p ln p + (1 - p) ln(1 - p))."""
    share = labels.double().mean().item()
    return -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
