"""Which inputs a network relies on: permutation importance (Breiman 2001, section 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from normlab.insight.pictures.sample import logits
from normlab.model.network import Network

MOST_ROWS = 500
GROUPS = 64  # above so many columns, they are first shuffled together in so many groups
KEPT = 4  # groups that a wide table's columns are then looked for in


def most_important(
    network: Network, rows: NDArray[np.float32], labels: NDArray[np.float32], n: int
) -> list[tuple[int, float]]:
    """The `n` columns that the loss rises most without, and by how much (nats); largest first.

    A column's values are dealt out anew among the rows, which keeps its distribution and breaks
    what it says of the label. Of a wide table the columns are halved down by groups, so that the
    cost grows with the logarithm of their number; a column whose group did badly may be missed.

    Args:
        network: in evaluation mode.
        rows: (m, columns) in raw units; the first `MOST_ROWS` of a random order count.
        labels: (m,).
    """
    order = np.random.default_rng(0).permutation(len(rows))
    rows, labels = rows[order[:MOST_ROWS]], labels[order[:MOST_ROWS]]
    shuffled = rows[np.random.default_rng(1).permutation(len(rows))]
    before = _loss(logits(network, rows), labels)

    def rise(columns: Sequence[int] | NDArray[np.int64]) -> float:
        changed = rows.copy()
        changed[:, columns] = shuffled[:, columns]
        return _loss(logits(network, changed), labels) - before

    candidates = np.arange(rows.shape[1])
    while len(candidates) > GROUPS:
        groups = np.array_split(candidates, GROUPS)
        rises = [rise(group) for group in groups]
        candidates = np.concatenate([groups[i] for i in np.argsort(rises)[::-1][:KEPT]])
    found = [(int(column), rise([column])) for column in candidates]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:n]


def _loss(scores: NDArray[np.float64], labels: NDArray[np.float32]) -> float:
    """Mean binary cross-entropy of logits: log(1 + exp(-score)) of positive rows, and so on."""
    return float(np.mean(np.logaddexp(0, np.where(labels > 0.5, -scores, scores))))
