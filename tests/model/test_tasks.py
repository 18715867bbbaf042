"""What a task makes of outputs and labels, against torch, scikit-learn and brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from torch import Tensor, nn

from normlab.model.tasks import Binary

few = settings(deadline=None, max_examples=100)
TASK = Binary()


@st.composite
def scored(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits with many ties or none, and labels of both classes."""
    n = draw(st.integers(2, 60))
    values = draw(st.sampled_from([st.integers(-2, 2).map(float), st.floats(-50, 50, width=32)]))
    logits = draw(st.lists(values, min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    labels[:2] = [0, 1]
    return torch.tensor(logits), torch.tensor(labels, dtype=torch.float32)


@few
@given(scored())
def test_loss_accuracy_and_auroc(case: tuple[Tensor, Tensor]) -> None:
    logits, labels = case
    z, y = logits.double().numpy(), labels.double().numpy()
    loss, accuracy, area = TASK.evaluate(logits, labels).tolist()
    assert TASK.metrics == ("loss", "accuracy", "auroc")
    expected = np.mean(np.logaddexp(0, z) - y * z)
    assert loss == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert accuracy == pytest.approx(accuracy_score(y, z > 0), abs=1e-6)
    assert area == pytest.approx(roc_auc_score(y, z), abs=1e-6)


def test_losses_are_torchs_each_run_by_its_own_weight() -> None:
    logits = 3 * torch.randn(4, 50, dtype=torch.float64)
    labels = (torch.rand(4, 50) < 0.3).double()
    weights = torch.tensor([[1.0], [0.2], [7.0], [3.0]], dtype=torch.float64)
    losses = TASK.losses(logits, labels, weights)
    assert losses.shape == (4, 50)
    for run, weight in enumerate(weights):
        oracle = nn.BCEWithLogitsLoss(pos_weight=weight)
        assert losses[run].mean().item() == pytest.approx(oracle(logits[run], labels[run]).item())
    plain = nn.BCEWithLogitsLoss(reduction="none")
    torch.testing.assert_close(TASK.losses(logits, labels), plain(logits, labels))


def test_the_loss_is_scikit_learns_log_loss_in_float64() -> None:
    random = np.random.default_rng(0)
    z, y = random.normal(0, 3, 500), random.integers(0, 2, 500)
    loss = TASK.evaluate(torch.from_numpy(z), torch.from_numpy(y).double())[0]
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(log_loss(y, 1 / (1 + np.exp(-z))), rel=1e-12)


def test_low_precision_outputs_give_full_precision_figures() -> None:
    """Under precision=bf16-true the logits are coarse, their mean need not be."""
    logits = (3 * torch.randn(1000)).bfloat16()
    labels = (torch.rand(1000) < 0.4).bfloat16()
    metrics = TASK.evaluate(logits, labels)
    assert metrics.dtype == torch.float32
    torch.testing.assert_close(metrics, TASK.evaluate(logits.float(), labels.float()))


def test_runs_at_once_are_a_loop_over_them() -> None:
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.integers(-3, 4, (5, 40)).astype(np.float32))
    labels = torch.from_numpy(random.integers(0, 2, (5, 40)).astype(np.float32))
    labels[2] = 1  # one class alone: nan there, and nowhere else
    logits[3, 7] = math.nan
    together = TASK.evaluate(logits, labels)
    assert together.shape == (5, 3)
    for run in range(5):
        alone = TASK.evaluate(logits[run], labels[run])
        torch.testing.assert_close(together[run], alone, equal_nan=True)
        assert alone[2].isnan() == (run in (2, 3))


def test_a_logit_of_zero_decides_for_class_0() -> None:
    assert TASK.decide(torch.tensor([-1.0, 0.0, 1e-9])).tolist() == [0, 0, 1]
    metrics = TASK.evaluate(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert metrics[1] == 0.5
    assert metrics[0].item() == pytest.approx(math.log(2))


# The best guess


@few
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 20))
def test_the_guess_is_the_constant_of_least_weighted_loss(n0: int, n1: int, weight: float) -> None:
    """Found by trying; its loss is told without the weight."""
    labels = torch.tensor([0.0] * n0 + [1.0] * n1, dtype=torch.float64)

    def loss(logit: float, weight: float) -> float:
        constant = torch.full_like(labels, logit)
        return nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))(constant, labels).item()

    best: Any = minimize_scalar(
        lambda logit: loss(logit, weight), bounds=(-9, 9), method="bounded", options={"xatol": 1e-7}
    )
    assert TASK.guess_loss(labels, weight) == pytest.approx(loss(best.x, 1.0), abs=1e-5)


@given(st.integers(0, 50), st.integers(0, 50))
def test_without_a_weight_it_is_the_label_entropy(n0: int, n1: int) -> None:
    if n0 + n1 == 0:
        return
    p = n1 / (n0 + n1)
    expected = -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)
    labels = torch.tensor([0.0] * n0 + [1.0] * n1)
    assert TASK.guess_loss(labels) == pytest.approx(expected, abs=1e-12)
    if n0 == 0 or n1 == 0:
        assert TASK.guess_loss(labels, 5.0) == 0


def test_the_entropy_of_the_heart_rates() -> None:
    labels = torch.zeros(1800)
    labels[:1053] = 1  # 58.5 %
    assert TASK.guess_loss(labels) == pytest.approx(0.6786, abs=5e-5)


# Why the loss is one of logits


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_sigmoid_before_the_logarithm_loses_what_logits_keep(sign: int) -> None:
    """At |logit| = 200, and wrong."""
    label = torch.tensor([0.0 if sign > 0 else 1.0])
    logit = torch.tensor([200.0 * sign], requires_grad=True)
    loss = TASK.losses(logit, label).sum()
    loss.backward()
    assert loss.item() == 200
    assert logit.grad is not None
    assert logit.grad.item() == sign  # sigmoid(200) - 0
    assert TASK.evaluate(logit, label)[0].item() == 200

    lost = torch.tensor([200.0 * sign], requires_grad=True)
    p = torch.sigmoid(lost)
    naive = -(label * torch.log(p) + (1 - label) * torch.log(1 - p)).sum()
    naive.backward()
    assert lost.grad is not None
    assert not naive.isfinite()
    assert not lost.grad.isfinite()
