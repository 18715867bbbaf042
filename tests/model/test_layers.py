"""Layers with an axis of runs, each run against torch's own layer of it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from normlab.model.layers import FEW_ROWS, MANY_RUNS, BatchNorm, Dropout, Linear

N_RUNS = 24
SIDES = [(1, 4), (4, 1), (1, 1), (3, 5), (30, 64)]


def close(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def generators(n_runs: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(n_runs)]


# Linear


@pytest.mark.parametrize("sides", SIDES)
def test_initial_weights_are_torchs_to_the_bit(sides: tuple[int, int]) -> None:
    """Two layers in order: the second draws from where the first has left the generator."""
    drawing = generators(N_RUNS)
    layers = [Linear(*sides, drawing), Linear(sides[1], 3, drawing)]
    for seed in range(N_RUNS):
        torch.manual_seed(seed)
        for layer, expected in zip(
            layers, (nn.Linear(*sides), nn.Linear(sides[1], 3)), strict=True
        ):
            assert torch.equal(layer.weight[seed], expected.weight)
            assert torch.equal(layer.bias[seed], expected.bias)


@pytest.mark.parametrize("gain", ["relu", "linear"])
def test_he_and_xavier_are_torchs_own(gain: Any) -> None:
    he = Linear(7, 5, generators(3), "he", nn.init.calculate_gain(gain))
    xavier = Linear(7, 5, generators(3), "xavier")
    for seed in range(3):
        for layer, draw in (
            (he, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity=gain)),
            (xavier, nn.init.xavier_uniform_),
        ):
            torch.manual_seed(seed)
            torch.testing.assert_close(layer.weight[seed], draw(torch.empty(5, 7)))
            assert not layer.bias.any()


@pytest.mark.parametrize("n_rows", [1, 7, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("n_runs", [1, MANY_RUNS - 1, N_RUNS])
@pytest.mark.parametrize("sides", SIDES)
def test_values_and_gradients_are_those_of_each_run(
    sides: tuple[int, int], n_runs: int, n_rows: int
) -> None:
    """The wide product, and for few rows of many runs the one of sides that are one wide."""
    layer = Linear(*sides, generators(n_runs)).double()
    values = torch.randn(n_runs, sides[0], n_rows, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(n_runs, sides[1], n_rows, dtype=torch.float64)
    made = layer(values)
    made.backward(upstream)
    for run in range(n_runs):
        alone = nn.Linear(*sides).double()
        alone.weight.data, alone.bias.data = layer.weight[run].detach(), layer.bias[run].detach()
        rows = values[run].detach().T.clone().requires_grad_()
        expected = alone(rows)
        expected.backward(upstream[run].T)
        close(made[run].T, expected)
        assert alone.weight.grad is not None
        for found, gradient in (
            (layer.weight.grad, alone.weight.grad),
            (layer.bias.grad, alone.bias.grad),
            (values.grad, rows.grad.T),  # type: ignore[union-attr]
        ):
            assert found is not None
            close(found[run], gradient)  # type: ignore[arg-type]


# BatchNorm


@pytest.mark.parametrize("n_runs", [1, 6])
def test_batchnorm_is_torchs_in_training_and_evaluation(n_runs: int) -> None:
    torch.manual_seed(1)
    layer = BatchNorm(n_runs, 3).double()
    singles = [nn.BatchNorm1d(3).double() for _ in range(n_runs)]
    for run, single in enumerate(singles):
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(layer, name).data[run] = torch.rand(3) + 0.5
            getattr(single, name).data.copy_(getattr(layer, name)[run])
    for step in range(5):
        layer.zero_grad()
        shift = 100 * torch.arange(n_runs)[:, None, None]
        values = torch.randn(n_runs, 3, 8 + step, dtype=torch.float64) * 3 + shift
        values.requires_grad_()
        made = layer(values)
        made.square().sum().backward()
        for run, single in enumerate(singles):
            single.zero_grad()
            rows = values[run].detach().T.clone().requires_grad_()
            expected = single(rows)
            expected.square().sum().backward()
            close(made[run].T, expected)
            close(values.grad[run].T, rows.grad)  # type: ignore[index, arg-type]
            for name in ("weight", "bias"):
                close(getattr(layer, name).grad[run], getattr(single, name).grad)
            for name in ("running_mean", "running_var"):
                close(getattr(layer, name)[run], getattr(single, name))
    before = layer.running_mean.clone()
    values = torch.randn(n_runs, 3, 9, dtype=torch.float64)
    made = layer.eval()(values)
    for run, single in enumerate(singles):
        close(made[run].T, single.eval()(values[run].T))
    assert torch.equal(layer.running_mean, before)


@pytest.mark.parametrize("twins", [1, 3])
def test_batchnorm_over_processes_is_that_of_all_their_rows(
    twins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many processes with the same rows, and one with none: sums are multiples of one's own."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: twins + 1)
    monkeypatch.setattr(distributed, "all_reduce", lambda value: value.mul_(twins))
    layer, single = BatchNorm(1, 3).double(), nn.BatchNorm1d(3).double()
    values = (torch.randn(1, 3, 8, dtype=torch.float64) + 5).requires_grad_()
    rows = values[0].detach().T.clone().requires_grad_()
    made, expected = layer(values), single(torch.cat([rows] * twins))
    close(made[0].T, expected[:8])
    made.square().mul(torch.arange(8)).sum().backward()
    expected.square().mul(torch.arange(8).repeat(twins)[:, None]).sum().backward()
    assert rows.grad is not None
    close(values.grad[0].T * twins, rows.grad)  # type: ignore[index]
    close(layer.running_mean[0], single.running_mean)
    close(layer.running_var[0], single.running_var)


# Dropout


def dropped(layer: Dropout, values: Tensor, seeds: list[int]) -> Tensor:
    layer.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return layer(values)


def test_a_runs_masks_do_not_depend_on_its_company() -> None:
    layer, values = Dropout(0.4), torch.rand(5, 7, 33) + 1
    together = dropped(layer, values, [0, 1, 2, 3, 4])
    for runs in ([0], [3, 1], [4, 2, 0]):
        assert torch.equal(dropped(layer, values[runs], runs), together[runs])
    assert not torch.equal(together[0] == 0, together[1] == 0)
    first = dropped(layer, values, [0, 1, 2, 3, 4])
    assert not torch.equal(layer(values) == 0, first == 0), "the generators have moved on"


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_respects_its_rate_and_keeps_the_mean(rate: float) -> None:
    values = torch.full((3, 100, 100), 2.0)
    made = dropped(Dropout(rate), values, [0, 1, 2])
    kept = made[made != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 2 / (1 - rate)))
    for run in made:  # 10,000 coins: a standard deviation of 0.005 at most
        assert (run == 0).double().mean().item() == pytest.approx(rate, abs=0.02)
    # A coin for each row of each unit: shares of units and of rows spread as a binomial's.
    shares = (made == 0).double().mean(2)
    assert shares.std().item() == pytest.approx(math.sqrt(rate * (1 - rate) / 100), rel=0.2)


def test_dropout_acts_in_training_alone_and_its_gradient_is_the_mask() -> None:
    values = torch.rand(2, 3, 50, requires_grad=True)
    layer = Dropout(0.3)
    made = dropped(layer, values, [0, 1])
    made.sum().backward()
    torch.testing.assert_close(values.grad, (made != 0) / 0.7)
    assert layer.eval()(values) is values
    assert Dropout(0.0)(values) is values
