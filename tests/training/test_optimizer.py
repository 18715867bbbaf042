"""The stacked optimizer against torch.optim, a run in each row, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from normlab.training.stacked.optimizer import StackedOptimizer

SHAPES = [torch.Size((3, 2)), torch.Size((3,)), torch.Size(())]
SIZES = [shape.numel() for shape in SHAPES]
LR = (0.1, 0.003, 1.0, 0.02)
WEIGHT_DECAY = (0.0, 0.3, 0.01, 0.7)
N_STEPS = 40
TORCH = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

pytestmark = pytest.mark.parametrize("kind", TORCH)


def exactly(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def starting_weights() -> Tensor:
    return torch.randn(len(LR), sum(SIZES), dtype=torch.float64)


def gradients() -> Tensor:
    """(steps, runs, parameters), of sizes that differ a million times; some are exactly 0."""
    sizes = 10.0 ** torch.arange(sum(SIZES), dtype=torch.float64).sub(7)
    values = torch.randn(N_STEPS, len(LR), sum(SIZES), dtype=torch.float64) * sizes
    values[:, :, 4] = 0
    values[10:20, 2] = 0
    return values


def alone(kind: str, weights: Tensor, run: int) -> tuple[list[nn.Parameter], Optimizer]:
    """torch's own over the parameters of one run."""
    parts = weights[run].clone().split(SIZES)
    parameters = [nn.Parameter(part.reshape(s)) for part, s in zip(parts, SHAPES, strict=True)]
    return parameters, TORCH[kind](parameters, lr=LR[run], weight_decay=WEIGHT_DECAY[run])


def step_alone(parameters: list[nn.Parameter], optimizer: Optimizer, gradient: Tensor) -> None:
    for parameter, part in zip(parameters, gradient.split(SIZES), strict=True):
        parameter.grad = part.reshape(parameter.shape).clone()
    optimizer.step()


def flat(parameters: list[nn.Parameter]) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def stacked(kind: str, weights: Tensor) -> tuple[nn.Parameter, StackedOptimizer]:
    parameter = nn.Parameter(weights.clone())
    return parameter, StackedOptimizer(parameter, kind, column(LR), column(WEIGHT_DECAY))


def assert_same_state(optimizer: StackedOptimizer, row: int, reference: Optimizer) -> None:
    """`state_of` is what torch's own state_dict has, entry by entry."""
    expected: dict[int, dict[str, Any]] = reference.state_dict()["state"]
    found = optimizer.state_of(row, SIZES, SHAPES)
    if optimizer.kind == "sgd":
        assert found == {}
        return
    assert found.keys() == expected.keys()
    for i, entry in expected.items():
        assert found[i].keys() == entry.keys()
        for name, value in entry.items():
            assert found[i][name].shape == value.shape
            exactly(found[i][name], value)


def test_every_row_is_torchs_own_optimizer(kind: str) -> None:
    """Every run at its own rate and decay, whichever gradients the others have."""
    start = starting_weights()
    weights, optimizer = stacked(kind, start)
    references = [alone(kind, start, run) for run in range(len(LR))]
    for gradient in gradients():
        weights.grad = gradient.clone()
        optimizer.step()
        for run, (parameters, reference) in enumerate(references):
            step_alone(parameters, reference, gradient[run])
            exactly(weights[run].detach(), flat(parameters))
    for run, (_, reference) in enumerate(references):
        assert_same_state(optimizer, run, reference)
    assert not torch.equal(weights.detach(), start)


def test_learning_rates_may_change_between_steps(kind: str) -> None:
    """As a scheduler does: each run's own way."""
    start = starting_weights()
    weights, optimizer = stacked(kind, start)
    references = [alone(kind, start, run) for run in range(len(LR))]
    for step, gradient in enumerate(gradients()):
        rates = tuple(lr * (0.9 - 0.1 * run) ** step for run, lr in enumerate(LR))
        optimizer.lr = column(rates)
        weights.grad = gradient.clone()
        optimizer.step()
        for run, (parameters, reference) in enumerate(references):
            reference.param_groups[0]["lr"] = rates[run]
            step_alone(parameters, reference, gradient[run])
            exactly(weights[run].detach(), flat(parameters))


def test_rows_that_leave_take_only_their_own_moments(kind: str) -> None:
    start = starting_weights()
    weights, optimizer = stacked(kind, start)
    references = [alone(kind, start, run) for run in range(len(LR))]
    here = torch.arange(len(LR))
    for step, gradient in enumerate(gradients()):
        if step in (7, 23):  # the runs 0 and then 2 leave
            staying = torch.arange(len(here))[here != {7: 0, 23: 2}[step]]
            here = here[staying]
            weights.data = weights.data[staying]
            optimizer.keep(staying)
        weights.grad = gradient[here].clone()
        optimizer.step()
        for row, run in enumerate(here.tolist()):
            parameters, reference = references[run]
            step_alone(parameters, reference, gradient[run])
            exactly(weights[row].detach(), flat(parameters))
    assert here.tolist() == [1, 3]
    for row, run in enumerate(here.tolist()):
        assert_same_state(optimizer, row, references[run][1])


def test_a_run_with_nan_spoils_no_other(kind: str) -> None:
    start = starting_weights()
    (weights, optimizer), (clean, reference) = stacked(kind, start), stacked(kind, start)
    for gradient in gradients():
        clean.grad = gradient.clone()
        reference.step()
        gradient[1, 3] = torch.nan
        weights.grad = gradient
        optimizer.step()
    assert weights[1, 3].isnan()
    assert torch.equal(weights[[0, 2, 3]], clean[[0, 2, 3]])


def test_the_closure_gives_gradient_and_loss(kind: str) -> None:
    """Lightning steps with a closure that runs forward and backward."""
    start = starting_weights()
    weights, optimizer = stacked(kind, start)
    by_hand, reference = stacked(kind, start)

    def closure() -> Tensor:
        loss = weights.square().sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.item() == pytest.approx(start.square().sum().item())
    by_hand.grad = 2 * start
    reference.step()
    exactly(weights.detach(), by_hand.detach())


def test_the_state_of_a_run_is_a_copy(kind: str) -> None:
    """It is saved after the run has left, when the moments have moved on."""
    weights, optimizer = stacked(kind, starting_weights())
    first, second, *_ = gradients()
    weights.grad = first
    optimizer.step()
    state = optimizer.state_of(1, SIZES, SHAPES)
    kept = {(i, name): value.clone() for i, e in state.items() for name, value in e.items()}
    weights.grad = second
    optimizer.step()
    assert all(torch.equal(state[i][name], value) for (i, name), value in kept.items())
