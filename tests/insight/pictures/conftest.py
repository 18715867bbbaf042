"""Tables and fitted networks to be pictured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from normlab.data.schema import Column, Schema
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.model.encoder import Encoder
from normlab.model.layers import Linear
from normlab.model.network import Network
from normlab.model.scalers import make_scaler

Pictured = tuple[Network, SplitTable]


@pytest.fixture
def fitted(blobs: Callable[..., Table]) -> Callable[..., Pictured]:
    """A network with random weights, its normalization fitted, and its data."""

    def make(n_features: int = 3, n_rows: int = 150, batchnorm: bool = False) -> Pictured:
        data = SplitTable(blobs(n_rows, n_features))
        network = Network(make_scaler("standardize", n_features), [8], batchnorm=batchnorm)
        return network.fit(data.training_rows), data

    return make


@pytest.fixture
def mixed() -> Pictured:
    """A category, a number with gaps, a boolean and another number; the category decides."""
    random = np.random.default_rng(0)
    n = 200
    town = random.integers(0, 4, n)
    age = random.normal(50, 9, n)
    age[:20] = np.nan
    rows = np.stack([town, age, random.integers(0, 2, n), random.normal(size=n)], 1)
    columns = (
        Column("town $1", "categorical", ("Aachen", "Bonn | Beuel", "Köln", "$5")),
        Column("age", "numeric", missing=True),
        Column("smokes", "boolean", ("no", "yes")),
        Column("noise", "numeric"),
    )
    schema = Schema(
        tuple(c.name for c in columns), "ill*", ("no", "yes"), columns, missing="impute"
    )
    labels = ((town == 1) ^ (random.random(n) < 0.1)).astype(np.float32)
    data = SplitTable(Table(rows.astype(np.float32), labels, schema, "people.csv"))
    encoder = Encoder([c.type for c in columns], [4, 0, 2, 0], 30, [1], True)
    network = Network(make_scaler("robust", 2), [8], encoder=encoder).fit(data.training_rows)
    first, last = network.mlp[0], network.mlp[-1]
    assert isinstance(first, Linear)
    assert isinstance(last, Linear)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.01)
        # The towns' inputs follow the numbers and the boolean.
        first.weight[0, 0, 3 + encoder.places[0, 1]] = 1
        last.weight[0, 0, 0], last.bias[0] = 8, -4
    return network.eval(), data
