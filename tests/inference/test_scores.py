"""The figures of an evaluation: scikit-learn's, SciPy's and torchmetrics', for any rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)
from torchmetrics.functional.classification import binary_calibration_error

from normlab.inference.scores import CALIBRATION_BINS, METRICS, Scores


def drawn(n_rows: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(0.3, 2, n_rows)
    labels = (random.random(n_rows) < 1 / (1 + np.exp(-0.7 * logits))).astype(np.float32)
    return (logits.round() if ties else logits).astype(np.float32), labels


def oracle(
    logits: np.ndarray,
    labels: np.ndarray,
    threshold: float = 0.5,
    weights: np.ndarray | None = None,
) -> list[float]:
    z = logits.astype(np.float64)
    p = 1 / (1 + np.exp(-z))
    weight = np.ones(len(p)) if weights is None else weights
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    error = sum(
        abs((weight * (p - labels))[(low < p) & (p <= high)].sum()) for low, high in pairwise(edges)
    )
    return [
        float(log_loss(labels, p, sample_weight=weight)),
        float(accuracy_score(labels, p > threshold, sample_weight=weight)),
        float(roc_auc_score(labels, z, sample_weight=weight)),
        float(average_precision_score(labels, z, sample_weight=weight)),
        float(brier_score_loss(labels, p, sample_weight=weight)),
        float(error / weight.sum()),
    ]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.9])
def test_the_figures_are_scikit_learns(ties: bool, threshold: float) -> None:
    logits, labels = drawn(1_000, ties=ties)
    found = Scores(logits, labels, threshold).figures()
    np.testing.assert_allclose(found, oracle(logits, labels, threshold), rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n_rows=st.integers(2, 60), ties=st.booleans())
def test_a_resample_is_a_weight_for_each_row(seed: int, n_rows: int, ties: bool) -> None:
    logits, labels = drawn(n_rows, seed, ties)
    counts = np.random.default_rng(seed).integers(0, 4, n_rows)
    kept = labels[counts > 0]
    if len(set(kept)) < 2:
        return
    order = np.argsort(logits, kind="stable")
    found = Scores(logits, labels).figures(counts[order].astype(np.float64))
    np.testing.assert_allclose(found, oracle(logits, labels, weights=counts), rtol=1e-9, atol=1e-12)
    repeated = Scores(np.repeat(logits, counts), np.repeat(labels, counts)).figures()
    np.testing.assert_allclose(found, repeated, rtol=1e-9, atol=1e-12)


def test_the_calibration_error_is_that_of_others() -> None:
    logits, labels = drawn(2_000)
    found = Scores(logits, labels).figures()[METRICS.index("calibration_error")]
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    share, mean = calibration_curve(labels, p, n_bins=CALIBRATION_BINS, strategy="uniform")
    counts = np.histogram(p, CALIBRATION_BINS, (0, 1))[0]
    assert found == pytest.approx(np.abs(share - mean) @ counts[counts > 0] / len(p), rel=1e-9)
    theirs = binary_calibration_error(torch.tensor(p), torch.tensor(labels).long(), n_bins=15)
    assert found == pytest.approx(float(theirs), abs=1e-6)


def test_intervals_are_scipys() -> None:
    """Percentile intervals of the same kind, from other random numbers."""
    logits, labels = drawn(400)
    found = Scores(logits, labels).with_intervals(4_000, seed=1)

    def figure(index: int):
        return lambda z, y: Scores(z, y).figures()[index]

    for index, name in enumerate(METRICS):
        method = "basic" if name == "calibration_error" else "percentile"
        low, high = bootstrap(
            (logits, labels), figure(index), n_resamples=2_000, paired=True, vectorized=False,
            method=method, rng=np.random.default_rng(2),
        ).confidence_interval  # fmt: skip
        score = found[name]
        if name == "calibration_error":
            low, high = max(min(low, score.value), 0), max(high, score.value)
        assert score.low <= score.value <= score.high
        width = high - low
        assert score.low == pytest.approx(low, abs=0.12 * width)
        assert score.high == pytest.approx(high, abs=0.12 * width)


def test_intervals_cover_the_truth() -> None:
    """Of a Bernoulli rate that is known: near 95 % of 200 tables."""
    covered = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        labels = (random.random(150) < 0.7).astype(np.float32)  # an answer of 1 is right for 70 %
        score = Scores(np.ones(150), labels).with_intervals(300, seed)["accuracy"]
        covered += score.low <= 0.7 <= score.high
    assert 0.89 < covered / 200 < 0.99


def test_one_class_has_no_ranking() -> None:
    logits = np.array([0.5, -1.0, 2.0])
    for label in (0, 1):
        found = Scores(logits, np.full(3, label, np.float32)).with_intervals(50)
        assert np.isnan(found["auroc"].value)
        assert np.isnan(found["auroc"].low)
        assert np.isnan(found["average_precision"].value) == (label == 0)
        assert np.isfinite([found["loss"].low, found["brier"].high]).all()


def test_logits_beyond_any_probability_stay_finite() -> None:
    found = Scores(np.array([1e4, -1e4, 800.0, -800.0]), np.array([1, 0, 0, 1])).figures()
    np.testing.assert_allclose(found, [400, 0.5, 0.75, 5 / 6, 0.5, 0.5], atol=1e-12)


def test_a_seed_repeats_the_intervals() -> None:
    scores = Scores(*drawn(200))
    assert scores.with_intervals(100, 3) == scores.with_intervals(100, 3)
    assert scores.with_intervals(100, 3) != scores.with_intervals(100, 4)
    assert np.isnan(scores.with_intervals(0)["loss"].low)
