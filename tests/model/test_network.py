"""The network: torch's own draws in torch's own order, and statistics that start where rows are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.assembly import make_network
from normlab.config import Settings
from normlab.model.network import ACTIVATIONS, Network
from normlab.model.normalization import NORMALIZERS, make_normalizer


def rows(n: int = 60, n_features: int = 3) -> Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).normal(92.6, 5.5, (n, n_features)).astype(np.float32)
    )


def built(**options: object) -> Network:
    return Network(make_normalizer("standardize", 3), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("normalization", ["none", "quantile"])
def test_initial_weights_are_those_of_the_layers_written_by_hand(
    settings: Callable[..., Settings], normalization: str, batchnorm: bool
) -> None:
    """torch.manual_seed(seed), then the layers in order: the baselines of FACTS.md."""
    network = make_network(
        settings(
            "seed=2",
            "model.hidden=[4,5]",
            "model.dropout=0.5",
            f"model.batchnorm={str(batchnorm).lower()}",
            f"normalization={normalization}",
        ),
        n_features=3,
    )
    torch.manual_seed(2)
    by_hand = [nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 1)]
    layers = [layer for layer in network.mlp if isinstance(layer, nn.Linear)]
    assert len(layers) == 3
    for layer, expected in zip(layers, by_hand, strict=True):
        assert torch.equal(layer.weight, expected.weight)
        assert torch.equal(layer.bias, expected.bias)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_is_the_formula(activation: str) -> None:
    network = built(hidden=[4], activation=activation).fit(rows())
    x = rows().double().numpy()
    z = torch.from_numpy((x - x.mean(0)) / x.std(0))
    first, last = (layer for layer in network.mlp if isinstance(layer, nn.Linear))
    bend = {
        "sigmoid": lambda h: 1 / (1 + torch.exp(-h)),
        "tanh": lambda h: 1 - 2 / (torch.exp(2 * h) + 1),
        "relu": lambda h: h * (h > 0),
        "gelu": lambda h: h * (1 + torch.erf(h / math.sqrt(2))) / 2,
    }[activation]
    hidden = bend(z @ first.weight.double().T + first.bias.double())
    expected = (hidden @ last.weight.double().T + last.bias.double())[:, 0]
    logits = network(rows())
    assert logits.shape == (60,)
    torch.testing.assert_close(logits.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("init", "variance"), [("he", 2 / 300), ("xavier", 2 / (300 + 500)), ("torch", 1 / (3 * 300))]
)
def test_initial_variance(init: str, variance: float) -> None:
    """Of 150,000 weights: a sample's variance is within 2 % of its law's at 4 sigma and more."""
    torch.manual_seed(0)
    network = built(hidden=[300, 500], activation="tanh", init=init)
    wide = network.mlp[2]
    assert isinstance(wide, nn.Linear)
    weights = wide.weight.double()
    assert weights.var().item() == pytest.approx(variance, rel=0.02)
    assert abs(weights.mean().item()) < 5 * math.sqrt(variance / weights.numel())
    kurtosis = (weights**4).mean() / weights.var() ** 2  # 3 for a normal law, 1.8 for a uniform
    assert kurtosis.item() == pytest.approx(3 if init == "he" else 1.8, rel=0.05)
    for layer in network.mlp:
        if isinstance(layer, nn.Linear):
            assert (layer.bias == 0).all() == (init != "torch")


@pytest.mark.parametrize("normalization", ["none", "standardize", "minmax"])
def test_batchnorm_starts_at_the_rows_that_it_sees(normalization: str) -> None:
    network = Network(make_normalizer(normalization, 3), hidden=[4], batchnorm=True).fit(rows())
    assert isinstance(network.batchnorm, nn.BatchNorm1d)
    x = rows().double().numpy()
    if normalization == "standardize":
        x = (x - x.mean(0)) / x.std(0)
    elif normalization == "minmax":
        x = (x - x.min(0)) / np.ptp(x, 0)
    mean, var = network.batchnorm.running_mean, network.batchnorm.running_var
    assert mean is not None
    assert var is not None
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(var, x.var(0, ddof=1), rtol=1e-5)  # torch keeps the unbiased one
    # So that an evaluation before the first step is of the function that trains.
    evaluated = network.eval()(rows())
    trained = network.train()(rows())
    torch.testing.assert_close(evaluated, trained, atol=0.02, rtol=0.02)


def test_without_batchnorm_rows_pass_unchanged() -> None:
    assert isinstance(built().batchnorm, nn.Identity)


@pytest.mark.parametrize("normalization", NORMALIZERS)
@pytest.mark.parametrize("batchnorm", [False, True])
def test_settings_rebuild_the_network(normalization: str, batchnorm: bool) -> None:
    network = Network(
        make_normalizer(normalization, 3), [4, 2], "tanh", dropout=0.3, batchnorm=batchnorm
    )
    network.fit(rows()).eval()
    again = Network.from_settings(network.settings()).eval()
    again.load_state_dict(network.state_dict())
    assert torch.equal(network(rows()), again(rows()))
    assert again.settings() == network.settings()
    assert str(again) == str(network)


def test_dropout_acts_in_training_mode_alone() -> None:
    network = built(hidden=[64], activation="tanh", dropout=0.4).fit(rows())
    assert not torch.equal(network(rows()), network(rows()))
    network.eval()
    assert torch.equal(network(rows()), network(rows()))

    kept = built(hidden=[64], activation="tanh", dropout=0.0).fit(rows())
    assert not any(isinstance(layer, nn.Dropout) for layer in kept.mlp)
    assert torch.equal(kept(rows()), kept(rows()))


def test_dropout_follows_each_hidden_layer() -> None:
    kinds = [type(layer) for layer in built(hidden=[4, 4], dropout=0.1).mlp]
    block = [nn.Linear, nn.ReLU, nn.Dropout]
    assert kinds == [*block, *block, nn.Linear]


def test_no_hidden_layer_is_logistic_regression() -> None:
    network = built(hidden=[], batchnorm=False, dropout=0.5).fit(rows())
    (layer,) = network.mlp
    assert isinstance(layer, nn.Linear)
    z = network.normalizer(rows())
    torch.testing.assert_close(network(rows()), F.linear(z, layer.weight, layer.bias)[:, 0])
    assert sum(p.numel() for p in network.parameters()) == 4


def test_one_row_gives_one_logit() -> None:
    network = built(hidden=[4]).fit(rows()).eval()
    assert network(rows()[:1]).shape == (1,)
    assert network(rows()[:0]).shape == (0,)
    torch.testing.assert_close(network(rows()[:1])[0], network(rows())[0])
