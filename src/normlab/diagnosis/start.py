"""Before training: the rows as the first layer sees them, and what the first weights make of them.

Many runs are measured at once, in float64, so that a sweep pays next to nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from normlab.data.serve.module import TableDataModule
from normlab.diagnosis.units import fault_of, lost_units
from normlab.model.network import Network
from normlab.model.scalers import mean_and_std_of

SAMPLE = 2_000  # training rows looked at: a mean is then known to 0.02 standard deviations
NUMBERS = 2**20  # in one pass of some of the runs: 8 MB
LISTED = 100  # features named in result.json, those farthest from 0


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        features: names of the numeric inputs of the first layer.
        offsets: of each, the distance of its mean from 0 in its standard deviations; nan where
            it is constant.
        scales: of each, the standard deviation.
        fault: how a unit of this activation is lost, "saturated" or "dead".
        lost: of each hidden layer, the share of its units that are.
        hidden: units of each hidden layer.
    """

    features: tuple[str, ...]
    offsets: tuple[float, ...]
    scales: tuple[float, ...]
    fault: str
    lost: tuple[float, ...]
    hidden: tuple[int, ...]

    @property
    def scale_ratio(self) -> float:
        """The largest scale over the smallest, constant features left out."""
        scales = [scale for scale in self.scales if scale > 0]
        return max(scales) / min(scales) if scales else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for result.json.

        Of six digits: the last of float64 depend on how many runs were measured at once.
        """
        pairs = zip(self.features, self.offsets, self.scales, strict=True)
        by_offset = sorted(pairs, key=lambda one: -one[1] if one[1] == one[1] else 0.0)
        return {
            "features": {
                name: {"mean_in_stds_from_zero": _six_digits(offset), "std": _six_digits(scale)}
                for name, offset, scale in by_offset[:LISTED]
            },
            "scale_ratio": _six_digits(self.scale_ratio),
            f"{self.fault}_units": list(self.lost),
        }


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")


def measure_starts(network: Network, data: TableDataModule) -> list[Start]:
    """The start of each run of a network with its first weights, which are kept."""
    positions = sample_positions(data.n_rows("train"), SAMPLE)
    width = network.n_columns + 2 * network.n_inputs + sum(network.hidden)
    some = max(1, NUMBERS // (len(positions) * width))
    starts = []
    for runs in torch.arange(network.n_runs).split(some):
        rows, _ = data.take("train", positions, runs)
        exact = network.of_runs(runs.tolist()).cpu().double().eval()
        starts += _measure(exact, rows.cpu().double(), numeric_features(data))
    return starts


def numeric_features(data: TableDataModule) -> tuple[str, ...]:
    """Names of the columns that a scaler takes, in order."""
    columns = data.runs[0].table.schema.columns
    return tuple(column.name for column in columns if column.type == "numeric")


def sample_positions(n_rows: int, most: int) -> Tensor:
    """int64: at most so many rows of `n_rows`, evenly spread, so that a series is seen whole."""
    # In float64: float32 has no odd numbers above 2^24.
    spread = torch.linspace(0, n_rows - 1, min(n_rows, most), dtype=torch.float64)
    return spread.round().long()


@torch.no_grad()
def _measure(network: Network, rows: Tensor, features: tuple[str, ...]) -> list[Start]:
    """Of raw rows (runs, n, columns).

    In evaluation mode BatchNorm is as in training mode: its running statistics start at those
    of the training rows.
    """
    inputs, outputs = network.layer_outputs(network.inputs(rows))
    means, stds = mean_and_std_of(inputs[:, : len(features)].mT)
    offsets = (means.abs() / stds).masked_fill(stds == 0, math.nan)
    lost = lost_units(outputs[:-1], network.activation)
    return [
        Start(
            features,
            tuple(offsets[run].tolist()),
            tuple(stds[run].tolist()),
            fault_of(network.activation),
            tuple(lost[run].tolist()) if network.hidden else (),
            tuple(network.hidden),
        )
        for run in range(network.n_runs)
    ]
