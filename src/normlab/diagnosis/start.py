"""Before training: the rows as the first layer sees them, and what the first weights make of them.

Many runs are measured at once, in float64, so that a sweep pays next to nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from normlab.data.module import TableDataModule
from normlab.diagnosis.probe import NETWORK, Probe, sample_positions
from normlab.diagnosis.units import fault_of, lost_units
from normlab.model.affine import mean_and_std_of
from normlab.model.network import Network

SAMPLE = 2_000  # training rows looked at: a mean is then known to 0.02 standard deviations
NUMBERS = 2**22  # in one pass of a chunk of runs: 32 MB
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


def measure_starts(networks: Sequence[Network], data: Sequence[TableDataModule]) -> list[Start]:
    """The starts of runs of one shape, each with its network and data; their states are kept."""
    positions = sample_positions(len(data[0].split.train), SAMPLE)
    first = networks[0]
    width = first.n_columns + 2 * first.n_inputs + sum(first.hidden)
    chunk = max(1, NUMBERS // (len(positions) * width))
    starts = []
    for i in range(0, len(networks), chunk):
        rows = [one.table.rows[one.split.train[positions]] for one in data[i : i + chunk]]
        stacked = torch.stack([torch.from_numpy(part) for part in rows])
        starts += _measure(networks[i : i + chunk], stacked, numeric_features(data[i]))
    return starts


def numeric_features(data: TableDataModule) -> tuple[str, ...]:
    """Names of the columns that a normalizer takes, in order."""
    columns = data.table.schema.columns
    return tuple(column.name for column in columns if column.type == "numeric")


@torch.no_grad()
def _measure(networks: Sequence[Network], rows: Tensor, features: tuple[str, ...]) -> list[Start]:
    """Of raw rows (runs, n, columns)."""
    inputs, outputs = _pass(networks, rows)
    numeric = inputs[..., : len(features)]
    means, stds = vmap(mean_and_std_of)(numeric)
    offsets = (means.abs() / stds).masked_fill(stds == 0, math.nan)
    lost = lost_units(outputs[:-1], networks[0].activation)
    n_layers = len(networks[0].hidden)
    return [
        Start(
            features,
            tuple(offsets[run].tolist()),
            tuple(stds[run].tolist()),
            fault_of(networks[0].activation),
            tuple(lost[run].tolist()) if n_layers else (),
            tuple(networks[0].hidden),
        )
        for run in range(len(networks))
    ]


def _pass(networks: Sequence[Network], rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Each network's inputs (runs, n, inputs) and outputs (runs, n, units), in float64.

    In evaluation mode BatchNorm is as in training mode: its running statistics start at those
    of the training rows.
    """
    state = {}
    for part in stack_module_state(networks):  # type: ignore[arg-type]
        state |= {f"{NETWORK}{name}": _exact(value) for name, value in part.items()}
    probe = Probe(copy.deepcopy(networks[0]).to("meta").eval())

    def look(state: dict[str, Tensor], rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        return functional_call(probe, state, (rows,))

    return vmap(look)(state, rows.double())


def _exact(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    return value.double() if value.is_floating_point() else value
