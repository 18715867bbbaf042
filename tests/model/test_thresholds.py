"""Decision thresholds against closed forms, in raw units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from normlab.model.layers import Linear
from normlab.model.network import Network
from normlab.model.scalers import make_scaler
from normlab.model.thresholds import decision_thresholds

W, B = 1.7, -0.4


def thresholds(network: Network, rows: Tensor) -> list[float]:
    """Of a network of one run, on rows (n, 1)."""
    found = decision_thresholds(network, rows[None])
    assert found is not None
    (roots,) = found
    return roots


def heart_rates() -> Tensor:
    values = np.random.default_rng(0).normal(92.6, 5.5, (300, 1))
    return torch.from_numpy(values.astype(np.float32))


BETWEEN = torch.linspace(-4, 4, 90)[:, None]


def logistic(normalization: str, w: float = W, b: float = B, batchnorm: bool = False) -> Network:
    """Logistic regression with the given weight and bias, fitted to the heart rates."""
    network = Network(make_scaler(normalization, 1), hidden=[], batchnorm=batchnorm)
    network.fit(heart_rates())
    return with_weights(network, [[[w]]], [[b]])


def with_weights(network: Network, weights: list, biases: list) -> Network:
    layers = [layer for layer in network.mlp if isinstance(layer, Linear)]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.copy_(torch.tensor([weight]))
            layer.bias.copy_(torch.tensor([bias]))
    return network.eval()


X = heart_rates().double().numpy()[:, 0]
LOGS = np.log1p(X)
ROOT = -B / W
QUARTER, MEDIAN, THREE_QUARTERS = np.quantile(X, [0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    ("normalization", "root"),
    [
        ("center", X.mean() + ROOT),
        ("standardize", X.mean() + ROOT * X.std()),
        ("minmax", X.min() + ROOT * np.ptp(X)),
        ("robust", MEDIAN + ROOT * (THREE_QUARTERS - QUARTER)),
        ("log1p", math.expm1(LOGS.mean() + ROOT * LOGS.std())),
    ],
)
def test_logistic_regressions_root_is_minus_b_over_w(normalization: str, root: float) -> None:
    found = thresholds(logistic(normalization), heart_rates())
    assert found == [pytest.approx(root, abs=2e-4)]


def test_raw_rows() -> None:
    network = logistic("none", w=0.5, b=-46.125)
    assert thresholds(network, heart_rates()) == [pytest.approx(92.25, abs=1e-9)]


def test_quantiles_root_is_a_quantile_of_the_rows() -> None:
    """A logit of z alone changes sign at z = 0, the median; of z - 0.6745 at the third quarter."""
    quarter = -0.6744897501960817
    for b, root in ((0.0, MEDIAN), (quarter, THREE_QUARTERS), (-quarter, QUARTER)):
        found = thresholds(logistic("quantile", 1.0, b), heart_rates())
        assert found == [pytest.approx(root, abs=0.03)]


def test_batchnorms_root() -> None:
    root = X.mean() + ROOT * math.sqrt(X.var(ddof=1) + 1e-5)
    found = thresholds(logistic("none", batchnorm=True), heart_rates())
    assert found == [pytest.approx(root, abs=2e-4)]


def test_several_roots_ascend() -> None:
    """relu(z) + relu(-z) - 1 = |z| - 1; one relu bends again at 2.5: a third root at 2.75."""
    network = with_weights(
        Network(make_scaler("none", 1), hidden=[3], activation="relu"),
        [[[1.0], [-1.0], [1.0]], [[1.0, 1.0, -7.0]]],
        [[0.0, 0.0, -2.5], [-1.0]],
    )
    assert thresholds(network, BETWEEN) == [
        pytest.approx(-1, abs=1e-9),
        pytest.approx(1, abs=1e-9),
        pytest.approx(16.5 / 6, abs=1e-9),
    ]


def test_a_root_on_a_row_is_found_once() -> None:
    rows = torch.tensor([[-1.0], [0.5], [1.0]])
    network = with_weights(Network(make_scaler("none", 1), hidden=[]), [[[1.0]]], [[-0.5]])
    assert thresholds(network, rows) == [0.5]


def test_a_model_with_one_answer_has_no_threshold() -> None:
    assert thresholds(logistic("none", 0.0, 1.0), heart_rates()) == []


def test_no_root_is_sought_beyond_the_rows() -> None:
    """1 bpm above the largest row the model would change its mind, but it has seen none there."""
    beyond = float(X.max()) + 1
    assert thresholds(logistic("none", 1.0, -beyond), heart_rates()) == []


def test_several_inputs_have_no_single_threshold() -> None:
    network = Network(make_scaler("none", 2), hidden=[]).eval()
    assert decision_thresholds(network, torch.randn(1, 10, 2)) is None


# Many runs


def test_each_run_has_its_own_roots_on_its_own_rows() -> None:
    """None, one and three of them, of affine maps that differ; a nan counts for nothing."""
    bent = [[[1.0], [-1.0], [1.0]], [[1.0, 1.0, -7.0]]]
    line = [[[1.0], [0.0], [0.0]], [[1.0, 0.0, 0.0]]]  # relu(x + 9), the others idle
    networks = [
        with_weights(Network(make_scaler(name, 1), hidden=[3]).fit(given), weights, biases)
        for name, given, weights, biases in (
            ("none", BETWEEN, bent, [[0.0, 0.0, -2.5], [-1.0]]),
            ("center", BETWEEN + 50, bent, [[0.0, 0.0, -2.5], [-1.0]]),
            ("standardize", BETWEEN, line, [[9.0, 0.0, 0.0], [-9.0]]),
            ("none", BETWEEN, line, [[9.0, 0.0, 0.0], [5.0]]),
        )
    ]
    rows = torch.stack([BETWEEN, BETWEEN + 50, BETWEEN + 1, BETWEEN])
    for given in (rows, torch.cat([rows, torch.full((4, 1, 1), torch.nan)], 1)):
        found = decision_thresholds(Network.stack(networks).eval(), given)
        assert found is not None
        third = 16.5 / 6
        near = [pytest.approx(root, abs=1e-5) for root in (-1, 1, third, 49, 51, 50 + third, 0)]
        assert found == [near[:3], near[3:6], near[6:], []]


def test_rows_that_are_all_missing_have_no_root() -> None:
    assert thresholds(logistic("none"), torch.full((5, 1), torch.nan)) == []


def test_the_network_is_left_as_it_was() -> None:
    """The roots are computed in float64, on a copy."""
    network = logistic("standardize")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    thresholds(network, heart_rates())
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype == torch.float32
        assert torch.equal(value, before[name])
