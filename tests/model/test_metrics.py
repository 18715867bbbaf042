"""AUROC of many runs at once, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from normlab.model import metrics
from normlab.model.metrics import MANY, auroc


def expected(logits: Tensor, labels: Tensor) -> list[float]:
    labels = labels.expand_as(logits)
    return [float(roc_auc_score(y, z)) for y, z in zip(labels, logits, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(deadline=None, max_examples=100)
@given(st.integers(1, 5), st.integers(2, 60), st.integers(0, 99), st.sampled_from([1, 3, 10**6]))
def test_runs_with_ties_or_none(
    dtype: torch.dtype, n_runs: int, n_rows: int, seed: int, levels: int
) -> None:
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.integers(-levels, levels + 1, (n_runs, n_rows)) / levels)
    labels = torch.from_numpy((random.random((n_runs, n_rows)) < 0.4).astype(np.float32))
    labels[:, :2] = torch.tensor([0.0, 1.0])
    found = auroc(logits.to(dtype), labels)
    assert found.tolist() == pytest.approx(expected(logits.to(dtype), labels), abs=1e-6)


def test_labels_of_one_run_serve_all() -> None:
    logits, labels = torch.randn(3, 20), (torch.arange(20) % 3 == 0).float()
    assert auroc(logits, labels).tolist() == pytest.approx(expected(logits, labels), abs=1e-6)


@pytest.mark.parametrize("n_rows", [MANY, MANY + 1])
def test_many_rows_are_counted_exactly(n_rows: int) -> None:
    """Ranks sum to 3e10, far beyond the whole numbers of float32 and int32; above, in parts."""
    random = np.random.default_rng(0)
    labels = torch.from_numpy((random.random((2, n_rows)) < 0.5).astype(np.float32))
    noise = torch.from_numpy(random.standard_normal((2, n_rows)).astype(np.float32))
    logits = (noise + labels).round(decimals=2)
    assert auroc(logits, labels).tolist() == pytest.approx(expected(logits, labels), abs=1e-7)


@pytest.mark.parametrize("levels", [3, 10_000])
def test_the_way_of_many_rows_is_that_of_few(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randint(levels, (2, 5_000)) / levels
    labels = (torch.rand(2, 5_000) < logits).float()
    few = auroc(logits, labels)
    monkeypatch.setattr(metrics, "MANY", 100)
    monkeypatch.setattr(metrics, "CHUNK", 64)
    torch.testing.assert_close(auroc(logits, labels), few, rtol=1e-6, atol=0)
    torch.testing.assert_close(auroc(logits[0], labels[0]), few[0], rtol=1e-6, atol=0)
    logits[1, 7] = math.nan
    assert auroc(logits, labels).isnan().tolist() == [False, True]
    assert auroc(logits, torch.ones(5_000)).isnan().all()


def test_the_extremes() -> None:
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0])
    logits = torch.stack([labels, -labels, torch.zeros(4)])
    assert auroc(logits, labels).tolist() == [1, 0, 0.5]
    assert auroc(logits, torch.zeros(4)).isnan().all()
    assert auroc(logits, torch.ones(4)).isnan().all()


def test_infinities_and_both_zeros_are_ranked() -> None:
    logits = torch.tensor([-math.inf, -math.inf, -0.0, 0.0, 3e38, math.inf, math.inf])
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    ranks = torch.tensor([-1.0, -1.0, 0.0, 0.0, 1.0, 2.0, 2.0])
    area = roc_auc_score(labels, ranks)
    assert auroc(logits, labels).item() == pytest.approx(area)
    assert auroc(logits.double(), labels).item() == pytest.approx(area)
