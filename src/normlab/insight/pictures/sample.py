"""The rows that a run's pictures show, and what the network says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.data.serve.module import SplitTable
from normlab.model.network import Network

MOST_ROWS = 2_000  # more points than that hide one another


@dataclass(frozen=True, eq=False)
class Sample:
    """Some labelled rows of one part of the data.

    Attributes:
        rows: (n, columns) in raw units, as in `Table.rows`.
        labels: (n,), each 0 or 1, both of them present.
        words: which rows they are, for a picture's caption.
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.float32]
    words: str


def sample_of(data: SplitTable) -> Sample:
    """Validation rows where there are any, else training rows; the same ones at every call.

    At most `MOST_ROWS`, the classes in proportion.
    """
    part, name = (data.split.val, "validation") if len(data.split.val) else (data.split.train, "")
    labels = data.table.labels[part]
    words = f"{len(part):,} {name or 'training'} rows"
    if len(part) > MOST_ROWS:
        random = np.random.default_rng(0)
        kept = [
            random.choice(rows, max(1, len(rows) * MOST_ROWS // len(part)), replace=False)
            for rows in (np.flatnonzero(labels == label) for label in (0, 1))
            if len(rows)
        ]
        chosen = np.sort(np.concatenate(kept))
        words = f"{len(chosen):,} of {words}"
        part, labels = part[chosen], labels[chosen]
    return Sample(data.table.rows[part], labels, words)


@torch.no_grad()
def logits(network: Network, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits (n,) of raw rows (n, columns), on the network's device and in its precision."""
    weight = next(network.parameters())
    return network(torch.from_numpy(rows).to(weight))[0].double().cpu().numpy()


def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logits' sigmoid, without overflow."""
    return torch.from_numpy(logits).sigmoid().numpy()
