"""What can be said of a net before it trains: flat units, the loss's curvature; and plain PyTorch.

No sweep is needed for these figures: they take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from page import of_share
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.data.synthetic import heart_rate
from normlab.insight.canvas import INK, MUTED, OKABE_ITO, canvas, label
from normlab.insight.comparison import learnt_nothing
from normlab.model.network import Network
from normlab.model.scalers import make_scaler

ROWS, THRESHOLD = 500, 91.0
N_SEEDS = 30
FLAT = 0.01  # of the sigmoid's slope, which is 0.25 at most
SHOWN = ("none", "center", "standardize", "batchnorm")


def first_layers(strategy: str, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each seed's untrained net: the units' inputs (n, 4) and the logits (n,)."""
    for seed in range(N_SEEDS):
        normalizer = make_scaler(name=strategy if strategy != "batchnorm" else "none", n_features=1)
        batchnorm = strategy == "batchnorm"
        network = Network(normalizer, [4], "sigmoid", batchnorm=batchnorm, seed=seed).fit(rows)
        with torch.no_grad():
            _, (units, logits) = network.layer_outputs(network.inputs(rows))
            yield units[0].T, logits.flatten()


def of_units(strategy: str, rows: Tensor) -> dict[str, float]:
    """How much the first layer of an untrained net tells its rows apart.

    flat: share of (row, unit) where the sigmoid's slope is below FLAT.
    inside: share of units that are at 0.5 somewhere among the rows.
    spread: the median net's standard deviation of the logits over the rows.
    """
    slopes, inside, spreads = [], [], []
    for z, logits in first_layers(strategy, rows):
        outputs = z.sigmoid()
        slopes.append(outputs * (1 - outputs))
        inside.append((z.amin(0) < 0) & (z.amax(0) > 0))
        spreads.append(logits.std().item())
    return {
        "flat": (torch.cat(slopes) < FLAT).double().mean().item(),
        "inside": torch.cat(inside).double().mean().item(),
        "spread": float(np.median(spreads)),
    }


def condition(x: NDArray[np.float64]) -> float:
    """Largest by smallest curvature of the logistic loss over (weight, bias) at 0, in closed form.

    The Hessian is the rows' mean of p (1 - p) [x, 1]' [x, 1], and p is 1/2 in the beginning.
    """
    inputs = np.stack([x, np.ones_like(x)], axis=1)
    return float(np.linalg.cond(0.25 * inputs.T @ inputs / len(x)))


def stuck(logits: bool, rows: Tensor, labels: Tensor, rate: float = 0.01) -> list[float]:
    """Share of nets stuck after 1,000 epochs of Adam, with its interval; normlab trains none here.

    The nets of all seeds are trained side by side: Adam treats every number by itself.

    Args:
        logits: whether to train by `binary_cross_entropy_with_logits`, or else by a sigmoid and
            `binary_cross_entropy`.
    """
    drawn = []
    for seed in range(N_SEEDS):
        torch.manual_seed(seed)
        drawn.append([*nn.Linear(1, 4).parameters(), *nn.Linear(4, 1).parameters()])
    w1, b1, w2, b2 = (
        torch.stack(one).detach().requires_grad_() for one in zip(*drawn, strict=True)
    )
    optimizer = torch.optim.Adam([w1, b1, w2, b2], rate)
    targets = labels.expand(N_SEEDS, -1)
    finals = torch.zeros(N_SEEDS)
    for _ in range(1000):
        hidden = (rows @ w1.mT + b1[:, None]).sigmoid()
        outputs = (hidden @ w2.mT + b2[:, None]).squeeze(2)
        if logits:
            losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        else:
            losses = F.binary_cross_entropy(outputs.sigmoid(), targets, reduction="none")
        finals = losses.mean(1)
        optimizer.zero_grad()
        finals.sum().backward()
        optimizer.step()
    share = labels.double().mean().item()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    return of_share(learnt_nothing(finals.tolist(), [entropy] * N_SEEDS))


def table() -> tuple[Tensor, Tensor]:
    """The heart rates (n, 1) and labels (n,) of the page."""
    drawn = heart_rate(ROWS, threshold=THRESHOLD)
    return torch.from_numpy(drawn.rows), torch.from_numpy(drawn.labels)


def measure() -> dict[str, Any]:
    """What takes seconds."""
    rows, labels = table()
    x = rows[:, 0].double().numpy()
    return {
        "rows": {
            "n": len(x),
            "mean": x.mean(),
            "std": x.std(),
            "mean_by_std": x.mean() / x.std(),
            "positive": labels.double().mean().item(),
        },
        "units": {strategy: of_units(strategy, rows) for strategy in SHOWN}
        | {"scaled": of_units("none", rows / rows.std())},
        "condition": {
            "none": condition(x),
            "scaled": condition(x / x.std()),
            "center": condition(x - x.mean()),
            "standardize": condition((x - x.mean()) / x.std()),
        },
    }


def first_outputs() -> Figure:
    """Outputs of the first units of untrained nets over the rates, raw and treated."""
    rows, _ = table()
    ordered = rows.sort(dim=0).values
    figure, panels = canvas(3, width=3.5, height=3.2)
    for panel, strategy in zip(panels, ("none", "center", "standardize"), strict=True):
        for seed, (z, _) in enumerate(first_layers(strategy, ordered)):
            if seed < 10:
                panel.plot(ordered, z.sigmoid(), color=OKABE_ITO[0], lw=1.1, alpha=0.6)
        panel.axvline(THRESHOLD, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.4)
        panel.set_ylim(-0.05, 1.05)
        panel.set_title(strategy, color=INK, fontsize=10)
        label(panel, "heart rate, beats per minute", "")
    label(panels[0], "heart rate, beats per minute", "output of a first unit")
    figure.suptitle(
        "Before training: the units of ten nets over the rows; dotted, where the label changes",
        color=INK,
        size=11,
    )
    return figure
