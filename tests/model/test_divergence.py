"""The likely cause of a loss that is no number."""

from __future__ import annotations

import pytest
import torch
from normlab.model.divergence import explanation

from normlab.data.schema import Schema
from normlab.model.network import Network
from normlab.model.scalers import make_scaler


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("none", "normalization=standardize"), ("standardize", "normalization=quantile")],
)
def test_the_normalization_in_use_is_no_way_out(name: str, way_out: str) -> None:
    """One row of 40,000 is an outlier: of 200 standard deviations, standardized."""
    rows = torch.zeros(40_000, 1)
    rows[:20_000], rows[7] = 1, 1e6
    network = Network(make_scaler(name, 1), [4]).fit(rows)
    schema = Schema(("pay",), "label", ("no", "yes"))
    said = explanation(network, schema, rows[:9], loss=float("nan"), epoch=1, step=1, lr=0.1)
    assert "column pay" in said
    assert said.endswith(way_out)
