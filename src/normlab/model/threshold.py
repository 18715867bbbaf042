"""Where a model of one input changes its mind, in the raw unit."""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.model.network import Network

GRID = 1_001  # points between the smallest and the largest row, beside the rows themselves
ZOOMS = 5  # each a thousand times closer


@torch.no_grad()
def decision_thresholds(network: Network, rows: Tensor) -> list[float] | None:
    """The roots of the logit between the smallest and the largest of the rows, ascending.

    Beyond the rows a model is a guess, so no root is sought there. Roots closer to each other
    than the grid's step may be missed in pairs.

    Args:
        network: in evaluation mode, of one input.
        rows: (n, 1), in the raw unit; a missing value counts for nothing.

    Returns:
        None for a network of several inputs, or of one that is no number; an empty list where the
        logit keeps its sign.
    """
    if rows.shape[1] != 1 or network.normalizer.n_features != 1:
        return None
    exact = Network.from_settings(network.settings()).double().eval()
    exact.load_state_dict(network.state_dict())
    values = rows.cpu().double().ravel()
    values = values[~values.isnan()].unique()
    if not len(values):
        return []
    grid = torch.linspace(values[0], values[-1], GRID, dtype=torch.float64)
    grid = torch.cat([grid, values]).unique()
    logits = exact(grid[:, None])
    roots = grid[logits == 0].tolist()
    for i in torch.nonzero(logits[:-1] * logits[1:] < 0).ravel():
        roots.append(_root(exact, grid[i], grid[i + 1]))
    return sorted(roots)


def _root(network: Network, low: Tensor, high: Tensor) -> float:
    """A root between two inputs whose logits differ in sign, to the last digits of float64.

    Bisection into many parts at once: a forward pass of 1,001 rows takes no longer than of one.
    """
    for _ in range(ZOOMS):
        grid = torch.linspace(0, 1, GRID, dtype=torch.float64) * (high - low) + low
        logits = network(grid[:, None])
        change = torch.nonzero(logits[:-1] * logits[1:] <= 0)
        i = int(change[0]) if len(change) else 0
        low, high = grid[i], grid[i + 1]
    return float((low + high) / 2)
