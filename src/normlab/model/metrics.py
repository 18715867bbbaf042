"""Loss, accuracy and AUROC of logits, for one run or for a stack of runs at once."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

MANY = 2**18  # rows whose places in the order, 8 bytes each and several times, are too many
CHUNK = 2**16

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

    Ties count half. Pairs are counted as integers, which float32 could not hold. nan where one
    class is absent or a logit is nan.
    """
    if logits.ndim == 1 and logits.device.type == "cpu" and len(logits) > MANY:
        return torch.tensor(_auroc_of_many(logits.numpy(), labels.numpy() > 0.5))
    ordered, positive = _by_logit(logits, (labels > 0.5).expand_as(logits))
    n_rows = logits.shape[-1]
    positives = positive.sum(-1)
    pairs = positives * (n_rows - positives)
    # The sum of the positives' ranks, of which they themselves are a fixed part (Mann and Whitney).
    ranks = torch.arange(n_rows, device=logits.device)
    twice_area = 2 * (positive * ranks).sum(-1) - positives * (positives - 1)
    tied = (ordered[..., 1:] == ordered[..., :-1]).any(-1)
    if tied.any():
        twice_area[tied] = _twice_area_with_ties(ordered[tied], positive[tied])
    unknown = (pairs == 0) | ordered[..., -1].isnan()  # nan is sorted behind all numbers
    return (twice_area / (2 * pairs)).masked_fill(unknown, math.nan)


def _auroc_of_many(logits: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """As `auroc`, of logits (n,), in a copy of them beside some thousands at a time.

    Each positive row outranks the negative rows below its place among them.
    """
    above, below = logits[positive], logits[~positive]
    if not len(above) or not len(below) or np.isnan(logits).any():
        return math.nan
    above.sort()
    below.sort()
    twice = 0
    for start in range(0, len(above), CHUNK):
        part = above[start : start + CHUNK]
        for side in ("left", "right"):  # ties count half
            twice += int(np.searchsorted(below, part, side).sum())
    return twice / (2 * len(above) * len(below))


def _by_logit(logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of each row in rising order, and 1 or 0 for the class of each."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        return _sorted_as_one(logits, positive)
    ordered, order = logits.sort(-1)
    return ordered, positive.gather(-1, order).long()


def _sorted_as_one(logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """The class rides on the lowest bit of its logit, which in float64 has 29 to spare.

    NumPy sorts values with vector instructions, ten times as fast as torch finds their order, and
    nothing needs to be gathered afterwards.
    """
    finite = logits.double().clamp(-(2.0**1000), 2.0**1000)  # with a bit set, inf would be nan
    packed = (finite.view(torch.int64) | positive).view(torch.float64)
    packed = torch.from_numpy(np.sort(packed.numpy(), -1)).view(torch.int64)
    return (packed & ~1).view(torch.float64), packed & 1


def _twice_area_with_ties(ordered: Tensor, positive: Tensor) -> Tensor:
    """Twice the pairs in order: the area, by trapezoids between the ends of equal logits."""
    positives, negatives = positive.cumsum(-1), (1 - positive).cumsum(-1)
    last_of_ties = F.pad(ordered[..., 1:] != ordered[..., :-1], (0, 1), value=True)
    width, height = (_since_last(count, last_of_ties) for count in (negatives, positives))
    return ((2 * negatives - width) * height).sum(-1)


def _since_last(count: Tensor, ends: Tensor) -> Tensor:
    """At each end, by how much a running count has grown since the end before; elsewhere 0."""
    before = F.pad(count.where(ends, 0).cummax(-1).values[..., :-1], (1, 0))
    return (count - before).where(ends, 0)


def guess_loss(labels: Tensor, pos_weight: float = 1.0) -> float:
    """Unweighted loss in nats of the model that ignores its input and has the least weighted loss.

    Without a weight this is the label entropy, -(p ln p + (1 - p) ln(1 - p)). With one, such a
    model says w p / (w p + 1 - p) of every row.
    """
    share = labels.double().mean().item()
    said = pos_weight * share / (pos_weight * share + 1 - share)
    return -sum(p * math.log(q) for p, q in ((share, said), (1 - share, 1 - said)) if p > 0)
