"""Decision thresholds against closed forms, in raw units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normlab.model.network import Network
from normlab.model.normalization import make_normalizer
from normlab.model.threshold import decision_thresholds

W, B = 1.7, -0.4


def heart_rates() -> Tensor:
    values = np.random.default_rng(0).normal(92.6, 5.5, (300, 1))
    return torch.from_numpy(values.astype(np.float32))


def logistic(normalization: str, w: float = W, b: float = B, batchnorm: bool = False) -> Network:
    """Logistic regression with the given weight and bias, fitted to the heart rates."""
    network = Network(make_normalizer(normalization, 1), hidden=[], batchnorm=batchnorm)
    network.fit(heart_rates())
    return with_weights(network, [[[w]]], [[b]])


def with_weights(network: Network, weights: list, biases: list) -> Network:
    layers = [layer for layer in network.mlp if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
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
    found = decision_thresholds(logistic(normalization), heart_rates())
    assert found == [pytest.approx(root, abs=2e-4)]


def test_raw_rows() -> None:
    network = logistic("none", w=0.5, b=-46.125)
    assert decision_thresholds(network, heart_rates()) == [pytest.approx(92.25, abs=1e-9)]


def test_quantiles_root_is_a_quantile_of_the_rows() -> None:
    """A logit of z alone changes sign at z = 0, the median; of z - 0.6745 at the third quarter."""
    quarter = -0.6744897501960817
    for b, root in ((0.0, MEDIAN), (quarter, THREE_QUARTERS), (-quarter, QUARTER)):
        found = decision_thresholds(logistic("quantile", 1.0, b), heart_rates())
        assert found is not None
        assert found == [pytest.approx(root, abs=0.03)]


def test_batchnorms_root() -> None:
    root = X.mean() + ROOT * math.sqrt(X.var(ddof=1) + 1e-5)
    found = decision_thresholds(logistic("none", batchnorm=True), heart_rates())
    assert found == [pytest.approx(root, abs=2e-4)]


def test_several_roots_ascend() -> None:
    """relu(z) + relu(-z) - 1 = |z| - 1; one relu bends again at 2.5: a third root at 2.75."""
    rows = torch.linspace(-4, 4, 90)[:, None]
    network = with_weights(
        Network(make_normalizer("none", 1), hidden=[3], activation="relu"),
        [[[1.0], [-1.0], [1.0]], [[1.0, 1.0, -7.0]]],
        [[0.0, 0.0, -2.5], [-1.0]],
    )
    assert decision_thresholds(network, rows) == [
        pytest.approx(-1, abs=1e-9),
        pytest.approx(1, abs=1e-9),
        pytest.approx(16.5 / 6, abs=1e-9),
    ]


def test_a_root_on_a_row_is_found_once() -> None:
    rows = torch.tensor([[-1.0], [0.5], [1.0]])
    network = with_weights(Network(make_normalizer("none", 1), hidden=[]), [[[1.0]]], [[-0.5]])
    assert decision_thresholds(network, rows) == [0.5]


def test_a_model_with_one_answer_has_no_threshold() -> None:
    assert decision_thresholds(logistic("none", 0.0, 1.0), heart_rates()) == []


def test_no_root_is_sought_beyond_the_rows() -> None:
    """1 bpm above the largest row the model would change its mind, but it has seen none there."""
    beyond = float(X.max()) + 1
    assert decision_thresholds(logistic("none", 1.0, -beyond), heart_rates()) == []


def test_several_inputs_have_no_single_threshold() -> None:
    network = Network(make_normalizer("none", 2), hidden=[]).eval()
    assert decision_thresholds(network, torch.randn(10, 2)) is None


def test_the_network_is_left_as_it_was() -> None:
    """The roots are computed in float64, on a copy."""
    network = logistic("standardize")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    decision_thresholds(network, heart_rates())
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype == torch.float32
        assert torch.equal(value, before[name])
