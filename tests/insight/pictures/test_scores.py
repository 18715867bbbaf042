"""ROC, precision and recall, calibration and histograms against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from normlab.insight.pictures.scores import (
    average_precision,
    calibration,
    histograms,
    precision_recall,
    roc,
)

Case = tuple[NDArray[np.float64], NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Scores with ties, and labels of both classes."""
    n = draw(st.integers(2, 60))
    scores = draw(arrays.arrays(np.float64, n, elements=st.integers(-4, 4).map(lambda x: x / 4)))
    labels = draw(arrays.arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])))
    labels[:2] = 0, 1
    return scores, labels


@given(cases())
def test_roc_is_scikit_learns(case: Case) -> None:
    scores, labels = case
    expected = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc(scores, labels), expected[:2])


@given(cases())
def test_precision_and_recall_are_scikit_learns(case: Case) -> None:
    scores, labels = case
    precision, recall = precision_recall(scores, labels)
    expected, at, _ = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(precision, expected[:-1][::-1])  # theirs ends in a made-up point
    np.testing.assert_allclose(recall, at[:-1][::-1])
    area = average_precision_score(labels, scores)
    assert average_precision(precision, recall) == pytest.approx(area)


@given(cases())
def test_calibration_is_scikit_learns(case: Case) -> None:
    scores, labels = case
    given_probabilities = (scores + 1) / 2 * 0.98 + 0.005  # on no edge, where conventions differ
    found = calibration(given_probabilities, labels)
    observed, predicted = calibration_curve(labels, given_probabilities, n_bins=10)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.predicted, predicted)
    assert found.rows.sum() == len(labels)
    assert (found.low <= found.observed).all()
    assert (found.observed <= found.high).all()
    assert found.low.min() >= 0
    assert found.high.max() <= 1


def test_the_interval_and_the_error_of_a_case_by_hand() -> None:
    """Wilson (1927): 2 of 10 with z = 1.96 is 0.0567 to 0.5098."""
    probabilities = np.array([0.31] * 10 + [0.95] * 30)
    labels = np.array([1.0] * 2 + [0.0] * 8 + [1.0] * 30)
    found = calibration(probabilities, labels)
    assert (found.low[0], found.high[0]) == pytest.approx((0.0567, 0.5098), abs=1e-4)
    assert found.error == pytest.approx((10 * 0.11 + 30 * 0.05) / 40)


def test_certain_predictions_have_a_bin() -> None:
    found = calibration(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(found.rows, [1, 2])
    edges, negative, positive = histograms(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    assert (edges[0], edges[-1]) == (0, 1)
    np.testing.assert_array_equal(negative[[0, -1]], [1, 1])
    np.testing.assert_array_equal(positive[[0, -1]], [0, 1])
    assert negative.sum() + positive.sum() == 3
