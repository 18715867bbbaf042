"""Lost units, counted by hand and by torch's own derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normlab.diagnosis.units import fault_of, lost_units, share_of_all
from normlab.model.network import ACTIVATIONS

N = 200


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_unit_is_lost_where_its_derivative_is_gone(activation: str) -> None:
    """Two borders found by autograd: 5 % of the largest derivative, on enough of the rows."""
    z = torch.linspace(-8, 8, 16_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(ACTIVATIONS[activation]()(z).sum(), z)
    largest = {"sigmoid": 0.25, "tanh": 1.0, "relu": 1.0, "gelu": 1.0}[activation]
    flat = slope.abs() < 0.05 * largest
    for value, is_flat in zip(z.detach()[::10], flat[::10], strict=True):
        near_zero = -1 < value < 0 and activation == "gelu"  # where its slope changes sign
        unit = torch.full((1, 1, N), float(value), dtype=torch.float64)
        if not near_zero and abs(abs(value) - 2.3486) > 0.02:
            assert bool(lost_units([unit], activation)[0, 0]) == bool(is_flat), value


def test_most_rows_saturate_a_unit_and_one_keeps_a_relu_alive() -> None:
    values = torch.full((3, N), 9.0)
    values[0, : N // 20] = 0  # flat on 95 % of the rows
    values[1, : N // 20 + 1] = 0
    assert lost_units([values], "sigmoid").tolist() == [pytest.approx(2 / 3)]
    values = -values
    values[2, 0] = 1e-9
    assert lost_units([values], "relu").tolist() == [pytest.approx(2 / 3)]
    assert fault_of("tanh") == "saturated"
    assert fault_of("gelu") == "dead"


def test_layers_and_runs_keep_apart() -> None:
    random = np.random.default_rng(0)
    layers = [torch.tensor(random.normal(-2, 2, (5, units, N))) for units in (4, 7)]
    shares = lost_units(layers, "relu")
    assert shares.shape == (5, 2)
    for run in range(5):
        counts = [(layer[run].numpy() <= 0).all(1).sum() for layer in layers]
        np.testing.assert_allclose(shares[run], np.array(counts) / [4, 7])
        assert share_of_all(shares, [4, 7])[run].item() == pytest.approx(sum(counts) / 11)


def test_no_hidden_layer_has_no_unit() -> None:
    assert lost_units([], "relu").shape == (0,)
    assert isinstance(ACTIVATIONS["relu"](), nn.ReLU)
