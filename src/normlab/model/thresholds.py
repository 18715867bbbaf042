"""Where a model of one input changes its mind, in the raw unit."""

from __future__ import annotations

import torch
from torch import Tensor

from normlab.model.network import Network

GRID = 1_001  # points between the smallest and the largest row, beside the rows themselves
CLOSER = 129  # points of each step of the bisection: a hundred are passed as fast as one
ZOOMS = 8  # each 128 times closer: to the last digits of float64
NUMBERS = 2**20  # of a layer's outputs at once, 8 MB


@torch.no_grad()
def decision_thresholds(network: Network, rows: Tensor) -> list[list[float]] | None:
    """The roots of each run's logit between the smallest and the largest of its rows, ascending.

    Beyond the rows a model is a guess, so no root is sought there. Roots closer to each other
    than the grid's step may be missed in pairs.

    Args:
        network: in evaluation mode, of one input.
        rows: (runs, n, 1), in the raw unit; a missing value counts for nothing.

    Returns:
        None for a network of several inputs, or of one that is no number; an empty list where the
        logit keeps its sign.
    """
    if rows.shape[2] != 1 or network.normalizer.n_features != 1:
        return None
    some = max(1, NUMBERS // ((rows.shape[1] + GRID) * max(network.hidden, default=1)))
    roots = []
    for runs in torch.arange(network.n_runs).split(some):
        exact = network.of_runs(runs.tolist()).cpu().double().eval()
        roots += _of_runs(exact, rows[runs.to(rows.device)].cpu().double().squeeze(2))
    return roots


def _of_runs(exact: Network, values: Tensor) -> list[list[float]]:
    """The roots of each run among its values (runs, n), float64."""
    known = ~values.isnan()
    low = values.where(known, torch.inf).amin(1, keepdim=True)
    high = values.where(known, -torch.inf).amax(1, keepdim=True)
    values = values.where(known, low)
    steps = torch.linspace(0, 1, GRID, dtype=torch.float64)
    grid = torch.cat([values, low + steps * (high - low)], 1).sort(1).values
    logits = exact(grid[..., None])
    roots = [{float(x) for x in grid[run][logits[run] == 0]} for run in range(len(grid))]
    changes = [torch.nonzero(row < 0).flatten() for row in logits[:, :-1] * logits[:, 1:]]
    for k in range(max(map(len, changes), default=0)):  # the k-th root of all runs at once
        has = [len(places) > k for places in changes]
        at = torch.tensor([int(places[k]) if len(places) > k else 0 for places in changes])
        low, high = (grid.gather(1, (at + i)[:, None]) for i in (0, 1))
        for found, root, there in zip(roots, _roots(exact, low, high), has, strict=True):
            if there:
                found.add(root)
    return [sorted(found) for found in roots]


def _roots(network: Network, low: Tensor, high: Tensor) -> list[float]:
    """A root of each run between two inputs (runs, 1) each whose logits differ in sign."""
    steps = torch.linspace(0, 1, CLOSER, dtype=torch.float64)
    for _ in range(ZOOMS):
        grid = low + steps * (high - low)
        grid[:, -1:] = high
        logits = network(grid[..., None])
        changes = logits[:, :-1] * logits[:, 1:] <= 0
        at = changes.int().argmax(1, keepdim=True)  # the first change
        low, high = grid.gather(1, at), grid.gather(1, at + 1)
    return ((low + high) / 2).flatten().tolist()
