"""Where a model of one input changes its mind, in the raw unit."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from normlab.model.network import Network

GRID = 1_001  # points between the smallest and the largest row, beside the rows themselves


@torch.no_grad()
def decision_thresholds(network: Network, rows: Tensor) -> list[float] | None:
    """The roots of the logit between the smallest and the largest of the rows, ascending.

    Beyond the rows a model is a guess, so no root is sought there. Roots closer to each other
    than the grid's step may be missed in pairs.

    Args:
        network: in evaluation mode, of one input.
        rows: (n, 1), in the raw unit.

    Returns:
        None for a network of several inputs; an empty list where the logit keeps its sign.
    """
    if rows.shape[1] != 1:
        return None
    exact = Network.from_settings(network.settings()).double().eval()
    exact.load_state_dict(network.state_dict())

    def logit(x: float) -> float:
        return exact(torch.tensor([[x]], dtype=torch.float64)).item()

    values = rows.cpu().double().numpy().ravel()
    grid = np.union1d(np.linspace(values.min(), values.max(), GRID), values)
    logits = exact(torch.from_numpy(grid)[:, None]).numpy()
    roots = [float(x) for x in grid[logits == 0]]
    changes = np.flatnonzero(logits[:-1] * logits[1:] < 0)
    roots += [float(brentq(logit, grid[i], grid[i + 1])) for i in changes]
    return sorted(roots)
