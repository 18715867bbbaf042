"""The network: each of its runs is torch's own layers, and joining and parting keep the bits."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from learners import AFFINE
from normlab.model.layers import BatchNorm, Dropout, Linear
from normlab.model.network import ACTIVATIONS, Network
from normlab.model.scalers import SCALERS, make_scaler


def rows(n: int = 60, n_features: int = 3, seed: int = 0) -> Tensor:
    values = np.random.default_rng(seed).normal(92.6, 5.5, (n, n_features))
    return torch.from_numpy(values.astype(np.float32))


def built(normalization: str = "standardize", seed: int = 0, **options: Any) -> Network:
    """Of one run, fitted to rows of its own."""
    network = Network(make_scaler(normalization, 3), seed=seed, **options)
    return network.fit(rows(seed=seed))


def linears(network: Network) -> list[Linear]:
    return [layer for layer in network.mlp if isinstance(layer, Linear)]


def assert_close(one: Any, other: Any, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert_close(dict(one), dict(other))


# One run


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"batchnorm": True}], ids=str)
@pytest.mark.parametrize("normalization", ["none", "quantile"])
def test_first_weights_are_those_of_the_layers_written_by_hand(
    normalization: str, options: dict[str, Any]
) -> None:
    """torch.manual_seed(seed), then the layers in order: the baselines of FACTS.md."""
    network = built(normalization, seed=2, hidden=[4, 5], **options)
    torch.manual_seed(2)
    by_hand = [nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 1)]
    for layer, expected in zip(linears(network), by_hand, strict=True):
        assert torch.equal(layer.weight[0], expected.weight)
        assert torch.equal(layer.bias[0], expected.bias)


@pytest.mark.parametrize(
    ("init", "variance", "last"),
    [("he", 2 / 300, 1 / 500), ("xavier", 2 / 800, 2 / 2500), ("torch", 1 / 900, 1 / 1500)],
)
def test_variance_of_the_first_weights(init: str, variance: float, last: float) -> None:
    """Of 150,000 and more weights: a sample's variance is within 2 % of its law's."""
    network = built(hidden=[300, 500], init=init, n_outputs=2_000)
    _, wide, output = linears(network)
    for layer, expected in ((wide, variance), (output, last)):
        weights = layer.weight.double()
        assert weights.var().item() == pytest.approx(expected, rel=0.02)
        assert abs(weights.mean().item()) < 5 * math.sqrt(expected / weights.numel())
        kurtosis = (weights**4).mean() / weights.var() ** 2  # 3 of a normal law, 1.8 of a uniform
        assert kurtosis.item() == pytest.approx(3 if init == "he" else 1.8, rel=0.05)
        assert (layer.bias == 0).all() == (init != "torch")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [[], [4], [4, 2]])
def test_forward_is_the_formula(activation: str, hidden: list[int]) -> None:
    network = built(hidden=hidden, activation=activation)
    x = rows().double().numpy()
    values = (x - x.mean(0)) / x.std(0)
    bend = {
        "sigmoid": lambda h: 1 / (1 + np.exp(-h)),
        "tanh": np.tanh,
        "relu": lambda h: h * (h > 0),
        "gelu": lambda h: h * (1 + np.vectorize(math.erf)(h / math.sqrt(2))) / 2,
    }[activation]
    for i, layer in enumerate(linears(network)):
        weight, bias = (p[0].detach().double().numpy() for p in (layer.weight, layer.bias))
        values = (bend(values) if i else values) @ weight.T + bias
    logits = network(rows())
    assert logits.shape == (1, 60)
    np.testing.assert_allclose(logits[0].detach(), values[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("normalization", ["none", "standardize", "minmax"])
def test_batchnorm_starts_at_the_rows_that_it_sees(normalization: str) -> None:
    network = built(normalization, hidden=[4], batchnorm=True)
    assert isinstance(network.batchnorm, BatchNorm)
    x = rows().double().numpy()
    if normalization == "standardize":
        x = (x - x.mean(0)) / x.std(0)
    elif normalization == "minmax":
        x = (x - x.min(0)) / np.ptp(x, 0)
    mean, var = network.batchnorm.running_mean[0], network.batchnorm.running_var[0]
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(var, x.var(0, ddof=1), rtol=1e-5)  # torch keeps the unbiased one
    # So that an evaluation before the first step is of the function that trains.
    evaluated, trained = network.eval()(rows()), network.train()(rows())
    torch.testing.assert_close(evaluated, trained, atol=0.02, rtol=0.02)


def test_dropout_follows_each_hidden_layer_and_acts_in_training_alone() -> None:
    network = built(hidden=[64, 64], dropout=0.4)
    block = [Linear, nn.ReLU, Dropout]
    assert [type(layer) for layer in network.mlp] == [*block, *block, Linear]
    network.seed_dropout([5])
    first = network(rows())
    assert not torch.equal(network(rows()), first)
    network.seed_dropout([5])
    assert torch.equal(network(rows()), first)
    network.eval()
    assert torch.equal(network(rows()), network(rows()))
    assert not any(isinstance(layer, Dropout) for layer in built(dropout=0.0).mlp)


def test_few_rows_or_none() -> None:
    network = built(hidden=[4]).eval()
    assert network(rows()[:0]).shape == (1, 0)
    torch.testing.assert_close(network(rows()[:1])[:, 0], network(rows())[:, 0])


def test_several_outputs_keep_their_axis() -> None:
    network = built(hidden=[4], n_outputs=3)
    assert network(rows()).shape == (1, 3, 60)
    again = Network.from_settings(network.settings())
    assert again.n_outputs == 3


@pytest.mark.parametrize("normalization", SCALERS)
@pytest.mark.parametrize("batchnorm", [False, True])
def test_settings_rebuild_the_network(normalization: str, batchnorm: bool) -> None:
    network = built(normalization, hidden=[4, 2], activation="tanh", dropout=0.3,
                    batchnorm=batchnorm, seed=4).eval()  # fmt: skip
    again = Network.from_settings(network.settings()).eval()
    again.hold(network.state_dict())
    assert torch.equal(network(rows()), again(rows()))
    assert again.settings() == network.settings()


def test_layer_outputs_are_those_before_the_activations() -> None:
    network = built(hidden=[4, 2], activation="tanh", batchnorm=True).eval()
    first, outputs = network.layer_outputs(network.inputs(rows()))
    assert [tuple(values.shape) for values in (first, *outputs)] == [
        (1, 3, 60), (1, 4, 60), (1, 2, 60), (1, 1, 60)
    ]  # fmt: skip
    assert torch.equal(outputs[-1][:, 0], network(rows()))
    assert torch.equal(outputs[1], linears(network)[1](outputs[0].tanh()))
    assert torch.equal(outputs[0], linears(network)[0](first))


# Many runs


def stacked(normalizations: Sequence[str] = tuple(AFFINE), **options: Any) -> list[Network]:
    return [built(name, seed, **options) for seed, name in enumerate(normalizations)]


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (tuple(AFFINE), {"hidden": [4, 3]}),
        (tuple(AFFINE) * 4, {"hidden": [1], "batchnorm": True}),
        (("log1p",) * 3, {"hidden": []}),
        (("quantile",) * 3, {"hidden": [4], "activation": "sigmoid"}),
    ],
    ids=str,
)
def test_every_run_of_a_stack_is_itself(names: tuple[str, ...], options: dict[str, Any]) -> None:
    singles = stacked(names, **options)
    together = Network.stack(singles).double().eval()
    assert together.n_runs == len(names)
    own = torch.stack([rows(seed=seed) for seed in range(len(names))]).double()
    of_own, of_shared = together(own), together(own[0])
    for run, single in enumerate(singles):
        exact = copy.deepcopy(single).double().eval()
        assert_close(of_own[run], exact(own[run])[0], 1e-12)
        assert_close(of_shared[run], exact(own[0])[0], 1e-12)


def test_stacking_and_parting_are_exact_and_of_copies() -> None:
    singles = stacked(hidden=[4], batchnorm=True)
    together = Network.stack(singles)
    for run, single in enumerate(singles):
        assert_equal(together.of_runs([run]).state_dict(), single.state_dict())
    some = together.eval().of_runs([3, 1])
    assert not some.training
    assert_equal(some.state_dict(), Network.stack([singles[3], singles[1]]).state_dict())
    before = {name: value.clone() for name, value in together.state_dict().items()}
    for value in (*some.state_dict().values(), *singles[0].state_dict().values()):
        value += 1
    assert_equal(together.state_dict(), before)


def test_runs_leave_the_buffers_and_the_parameters_stay_the_same_objects() -> None:
    network = Network.stack(stacked(hidden=[4], batchnorm=True))
    expected = network.of_runs([4, 0])
    parameters = list(network.parameters())
    network.keep_statistics(torch.tensor([4, 0]))
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, expected.get_buffer(name)), name
    network.hold(expected.state_dict())
    assert_equal(network.state_dict(), expected.state_dict())
    assert network.n_runs == 2
    assert all(one is other for one, other in zip(parameters, network.parameters(), strict=True))


def test_trained_state_is_what_training_moves() -> None:
    network = Network.stack(stacked(hidden=[4], batchnorm=True))
    network(rows())  # in training mode
    weights = {name for name, _ in network.named_parameters()}
    moved = network.trained_state()
    assert moved.keys() == weights | {"batchnorm.running_mean", "batchnorm.running_var"}
    assert_equal(moved, {name: network.state_dict()[name] for name in moved})
