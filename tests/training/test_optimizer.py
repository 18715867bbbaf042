"""The optimizer of all runs against torch.optim, a run in each row, in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from normlab.config.model import CosineSettings, NoSchedulerSettings, StepSettings
from normlab.training.optimizer import RunsOptimizer, scheduled_rates

SHAPES = [(3, 2), (3,), (1,)]
LR = (0.1, 0.003, 1.0, 0.02)
WEIGHT_DECAY = (0.0, 0.3, 0.01, 0.7)
MOMENTUM = (0.9, 0.0, 0.5, 0.99)
N_RUNS = len(LR)
N_STEPS = 300
KINDS = ("adam", "adamw", "sgd", "sgd with momentum")

kinds = pytest.mark.parametrize("kind", KINDS)


def exactly(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def first_weights() -> list[Tensor]:
    """(runs, ...) each."""
    return [torch.randn(N_RUNS, *shape, dtype=torch.float64) for shape in SHAPES]


def gradients(n_steps: int = N_STEPS) -> list[list[Tensor]]:
    """Of each step and parameter, of sizes that differ a million times; some are exactly 0."""
    steps = []
    for step in range(n_steps):
        parts = [torch.randn(N_RUNS, *s, dtype=torch.float64) * 10.0 ** (-3 * i)
                 for i, s in enumerate(SHAPES)]  # fmt: skip
        parts[0][:, 1, 0] = 0
        if 10 <= step < 20:
            parts[1][2] = 0
        steps.append(parts)
    return steps


def momenta(kind: str) -> tuple[float, ...]:
    return MOMENTUM if "momentum" in kind else (0.0,) * N_RUNS


def together(
    kind: str, weights: Sequence[Tensor], dtype: torch.dtype = torch.float64
) -> tuple[list[nn.Parameter], RunsOptimizer]:
    parameters = [nn.Parameter(part.clone().to(dtype)) for part in weights]
    name = kind.split(maxsplit=1)[0]
    return parameters, RunsOptimizer(parameters, name, LR, WEIGHT_DECAY, momenta(kind))


def alone(kind: str, weights: Sequence[Tensor], run: int) -> tuple[list[nn.Parameter], Optimizer]:
    """torch's own over the parameters of one run."""
    parameters = [nn.Parameter(part[run].clone()) for part in weights]
    how: dict[str, Any] = {"lr": LR[run], "weight_decay": WEIGHT_DECAY[run]}
    if kind == "adam":
        return parameters, torch.optim.Adam(parameters, **how)
    if kind == "adamw":
        return parameters, torch.optim.AdamW(parameters, **how)
    return parameters, torch.optim.SGD(parameters, momentum=momenta(kind)[run], **how)


def step(
    parameters: Sequence[nn.Parameter], optimizer: Optimizer, gradient: Sequence[Tensor]
) -> None:
    for parameter, part in zip(parameters, gradient, strict=True):
        parameter.grad = part.to(parameter.dtype, copy=True)
    optimizer.step()


def of_run(parts: Sequence[Tensor], run: int | Sequence[int]) -> list[Tensor]:
    return [part.detach()[run] for part in parts]


@kinds
def test_every_run_is_torchs_own_optimizer(kind: str) -> None:
    """At its own rate, which may change between steps, decay and momentum."""
    start = first_weights()
    weights, optimizer = together(kind, start)
    references = [alone(kind, start, run) for run in range(N_RUNS)]
    for i, gradient in enumerate(gradients()):
        rates = [lr * (0.99 - 0.01 * run) ** i for run, lr in enumerate(LR)]
        optimizer.lr = torch.tensor(rates, dtype=torch.float64)[:, None]
        step(weights, optimizer, gradient)
        for run, (parameters, reference) in enumerate(references):
            reference.param_groups[0]["lr"] = rates[run]
            step(parameters, reference, of_run(gradient, run))
            exactly(of_run(weights, run), [p.detach() for p in parameters])
    assert optimizer.steps == N_STEPS
    assert not any(torch.equal(one, other) for one, other in zip(weights, start, strict=True))


@kinds
def test_runs_that_leave_take_only_their_own(kind: str) -> None:
    start = first_weights()
    weights, optimizer = together(kind, start)
    objects = list(weights)
    references = [alone(kind, start, run) for run in range(N_RUNS)]
    here = list(range(N_RUNS))
    for i, gradient in enumerate(gradients(40)):
        if i in (7, 23):  # the runs 0 and then 2 leave
            leaves = here.index({7: 0, 23: 2}[i])
            staying = [place for place in range(len(here)) if place != leaves]
            here = [here[place] for place in staying]
            optimizer.keep(torch.tensor(staying))
        step(weights, optimizer, of_run(gradient, here))
        for place, run in enumerate(here):
            step(*references[run], of_run(gradient, run))
            exactly(of_run(weights, place), [p.detach() for p in references[run][0]])
    assert here == [1, 3]
    assert all(one is other for one, other in zip(weights, objects, strict=True))
    assert [tuple(weight.shape) for weight in weights] == [(2, *shape) for shape in SHAPES]


@kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_goes_on_from_its_state_to_the_bit(kind: str, dtype: torch.dtype) -> None:
    weights, optimizer = together(kind, first_weights(), dtype)
    steps = gradients(30)
    for gradient in steps[:11]:
        step(weights, optimizer, gradient)
    saved = copy.deepcopy(optimizer.state_dict())
    others, again = together(kind, [weight.detach() for weight in weights], dtype)
    again.load_state_dict(saved)
    for gradient in steps[11:]:
        step(weights, optimizer, gradient)
        step(others, again, gradient)
    for one, other in zip(weights, others, strict=True):
        assert torch.equal(one, other)


@kinds
def test_a_run_with_nan_spoils_no_other(kind: str) -> None:
    start = first_weights()
    (weights, optimizer), (clean, reference) = together(kind, start), together(kind, start)
    for gradient in gradients(20):
        step(clean, reference, gradient)
        gradient[1][1, 0] = torch.nan
        step(weights, optimizer, gradient)
    assert weights[1][1, 0].isnan()
    others = [0, 2, 3]
    for one, other in zip(of_run(weights, others), of_run(clean, others), strict=True):
        assert torch.equal(one, other)


@kinds
def test_16_bits_are_rounded_copies_of_a_float32_master(kind: str) -> None:
    """The oracle is the optimizer of float32 with the same gradients, of few bits themselves."""
    start = [part.bfloat16().float() for part in first_weights()]
    (weights, optimizer), (exact, reference) = (
        together(kind, start, dtype) for dtype in (torch.bfloat16, torch.float32)
    )
    for gradient in gradients(50):
        few_bits = [part.bfloat16() for part in gradient]
        step(weights, optimizer, few_bits)
        step(exact, reference, few_bits)
        for one, other in zip(weights, exact, strict=True):
            assert one.dtype == torch.bfloat16
            assert torch.equal(one, other.bfloat16())
    optimizer.keep(torch.tensor([2, 0]))
    reference.keep(torch.tensor([2, 0]))
    gradient = [part[[2, 0]].bfloat16() for part in gradients(1)[0]]
    step(weights, optimizer, gradient)
    step(exact, reference, gradient)
    assert torch.equal(weights[0], exact[0].bfloat16())


@kinds
def test_the_closure_gives_gradient_and_loss(kind: str) -> None:
    """Lightning steps with a closure that runs forward and backward."""
    start = first_weights()
    (weights, optimizer), (by_hand, reference) = together(kind, start), together(kind, start)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.stack([weight.square().sum() for weight in weights]).sum()
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.item() == pytest.approx(sum(part.square().sum().item() for part in start))
    step(by_hand, reference, [2 * part for part in start])
    exactly([w.detach() for w in weights], [w.detach() for w in by_hand])


@pytest.mark.parametrize(
    ("settings", "oracle"),
    [
        (StepSettings(name="step", step_size=3, gamma=0.7), lambda o: StepLR(o, 3, 0.7)),
        (CosineSettings(name="cosine", eta_min=0.01), lambda o: CosineAnnealingLR(o, 40, 0.01)),
        (NoSchedulerSettings(name="none"), lambda o: StepLR(o, 1000)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_rates_are_those_of_torchs_schedulers(settings: Any, oracle: Any) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = oracle(optimizer)
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert list(islice(scheduled_rates(0.3, settings, 40), 40)) == expected
