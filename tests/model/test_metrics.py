"""Loss, accuracy and AUROC against scikit-learn and NumPy, and why the loss is one of logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from torch import nn

from normlab.model.metrics import METRICS, auroc, binary_metrics, guess_loss

few = settings(deadline=None, max_examples=150)


@st.composite
def scored(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with many ties or none, and labels of both classes."""
    n = draw(st.integers(2, 60))
    values = draw(st.sampled_from([st.integers(-2, 2).map(float), st.floats(-50, 50, width=32)]))
    logits = draw(st.lists(values, min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    labels[:2] = [0, 1]
    return torch.tensor(logits), torch.tensor(labels, dtype=torch.float32)


@few
@given(scored())
def test_auroc_is_scikit_learns(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = case
    assert auroc(logits, labels).item() == pytest.approx(roc_auc_score(labels, logits), abs=1e-6)


@few
@given(scored())
def test_loss_and_accuracy(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = case
    z, y = logits.double().numpy(), labels.double().numpy()
    loss, accuracy, area = binary_metrics(logits, labels).tolist()
    assert METRICS == ("loss", "accuracy", "auroc")
    expected = np.mean(np.logaddexp(0, z) - y * z)
    assert loss == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert accuracy == pytest.approx(accuracy_score(y, z > 0), abs=1e-6)
    assert area == pytest.approx(roc_auc_score(y, z), abs=1e-6)


def test_loss_is_scikit_learns_log_loss() -> None:
    random = np.random.default_rng(0)
    z, y = random.normal(0, 3, 500), random.integers(0, 2, 500)
    loss = binary_metrics(torch.from_numpy(z), torch.from_numpy(y).double())[0]
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(log_loss(y, 1 / (1 + np.exp(-z))), rel=1e-12)


def test_low_precision_logits_give_full_precision_figures() -> None:
    """Under precision=bf16-true the logits are coarse, their mean need not be."""
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(0, 3, 1000)).bfloat16()
    labels = torch.from_numpy((random.random(1000) < 0.4) * 1.0).bfloat16()
    metrics = binary_metrics(logits, labels)
    assert metrics.dtype == torch.float32
    torch.testing.assert_close(metrics, binary_metrics(logits.float(), labels.float()))


def test_a_stack_of_runs_is_a_loop_over_them() -> None:
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.integers(-3, 4, (2, 5, 40)).astype(np.float32))
    labels = torch.from_numpy(random.integers(0, 2, (2, 5, 40)).astype(np.float32))
    labels[1, 2] = 1  # one class alone: nan there, and nowhere else
    logits[0, 3, 7] = math.nan
    stacked = binary_metrics(logits, labels)
    assert stacked.shape == (2, 5, 3)
    for i in range(2):
        for j in range(5):
            alone = binary_metrics(logits[i, j], labels[i, j])
            torch.testing.assert_close(stacked[i, j], alone, equal_nan=True)
            assert alone[2].isnan() == ((i, j) in {(1, 2), (0, 3)})


def test_labels_of_one_run_serve_a_stack() -> None:
    logits = torch.randn(3, 20)
    labels = (torch.rand(20) < 0.5).float()
    expected = torch.stack([auroc(row, labels) for row in logits])
    torch.testing.assert_close(auroc(logits, labels), expected)


def test_auroc_of_many_rows_is_exact() -> None:
    """Ranks up to 400,000 sum to 4e10, far beyond the whole numbers of float32 and int32."""
    n = 400_000
    random = np.random.default_rng(0)
    labels = (random.random(n) < 0.5).astype(np.float32)
    logits = (random.standard_normal(n) + labels).round(2).astype(np.float32)
    area = auroc(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert area == pytest.approx(roc_auc_score(labels, logits), abs=1e-7)


def test_auroc_of_the_extremes() -> None:
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert auroc(labels, labels) == 1
    assert auroc(-labels, labels) == 0
    assert auroc(torch.zeros(4), labels) == 0.5
    assert auroc(labels, torch.zeros(4)).isnan()
    assert auroc(labels, torch.ones(4)).isnan()


def test_a_logit_of_zero_counts_as_class_0() -> None:
    metrics = binary_metrics(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert metrics[1] == 0.5
    assert metrics[0].item() == pytest.approx(math.log(2))


@given(st.integers(0, 50), st.integers(0, 50))
def test_label_entropy_is_the_least_loss_without_inputs(n0: int, n1: int) -> None:
    if n0 + n1 == 0:
        return
    labels = torch.tensor([0.0] * n0 + [1.0] * n1)
    entropy = guess_loss(labels)
    p = n1 / (n0 + n1)
    expected = -sum(q * np.log(q) for q in (p, 1 - p) if q > 0)
    assert entropy == pytest.approx(expected, abs=1e-12)
    if 0 < p < 1:
        for logit in (0.0, 1.0, math.log(p / (1 - p))):
            constant = torch.full((n0 + n1,), logit, dtype=torch.float64)
            assert binary_metrics(constant, labels.double())[0].item() >= entropy - 1e-12


def test_label_entropy_of_the_heart_rates() -> None:
    labels = torch.zeros(1800)
    labels[:1053] = 1  # 58.5 %
    assert guess_loss(labels) == pytest.approx(0.6786, abs=5e-5)


@pytest.mark.parametrize("sign", [-1, 1])
def test_why_the_loss_is_one_of_logits(sign: int) -> None:
    """At |logit| = 200, and wrong, a sigmoid followed by a logarithm has lost the error."""
    label = torch.tensor([0.0 if sign > 0 else 1.0])

    logit = torch.tensor([200.0 * sign], requires_grad=True)
    loss = nn.BCEWithLogitsLoss()(logit, label)
    loss.backward()
    assert loss.item() == 200
    assert logit.grad is not None
    assert logit.grad.item() == sign  # sigmoid(200) - 0

    logit = torch.tensor([200.0 * sign], requires_grad=True)
    p = torch.sigmoid(logit)
    loss = -(label * torch.log(p) + (1 - label) * torch.log(1 - p)).sum()
    loss.backward()
    assert logit.grad is not None
    assert not loss.isfinite()
    assert not logit.grad.isfinite()

    # The metric of this program stays right, too.
    metric = binary_metrics(torch.tensor([200.0 * sign]), label)[0]
    assert metric.item() == 200


def test_auroc_ranks_infinities_and_both_zeros() -> None:
    logits = torch.tensor([-math.inf, -math.inf, -0.0, 0.0, 3e38, math.inf, math.inf])
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    ranks = torch.tensor([-1.0, -1.0, 0.0, 0.0, 1.0, 2.0, 2.0])
    expected = roc_auc_score(labels, ranks)
    assert auroc(logits, labels).item() == pytest.approx(expected)
    assert auroc(logits.double(), labels).item() == pytest.approx(expected)
