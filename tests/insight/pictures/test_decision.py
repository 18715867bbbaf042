"""What is asked of a network for its decision's picture, and which inputs it is asked over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance

from normlab.data.schema import Schema
from normlab.insight.pictures.decision import BANDWIDTH, Axis, axis_of, curve, surface
from normlab.insight.pictures.importance import most_important
from normlab.insight.pictures.sample import MOST_ROWS, logits, sample_of
from normlab.model.network import Network
from normlab.model.scalers import make_scaler

from .conftest import Pictured

Fitted = Callable[..., Pictured]


def linear(weights: list[float]) -> Network:
    """A logit that is a weighted sum of raw columns."""
    network = Network(make_scaler("none", len(weights)), [])
    with torch.no_grad():
        network.mlp[0].weight.copy_(torch.tensor([weights]))  # type: ignore[operator]
        network.mlp[0].bias.zero_()  # type: ignore[operator]
    return network.eval()


# Importance


def test_the_columns_that_decide_are_the_most_important() -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((400, 6)).astype(np.float32)
    network = linear([0.0, 3.0, 0.0, 0.5, -1.5, 0.0])
    labels = (logits(network, rows) > 0).astype(np.float32)
    found = most_important(network, rows, labels, 3)
    assert [column for column, _ in found] == [1, 4, 3]

    class Theirs(ClassifierMixin, BaseEstimator):
        classes_ = np.array([0, 1])

        def fit(self, *_: object) -> None: ...

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            positive = 1 / (1 + np.exp(-logits(network, x)))
            return np.stack([1 - positive, positive], 1)

    expected = permutation_importance(
        Theirs(), rows, labels, scoring="neg_log_loss", n_repeats=10, random_state=0
    )
    for column, rise in found:
        # One shuffling against the mean of ten.
        assert rise == pytest.approx(expected["importances_mean"][column], rel=0.25)


def test_of_a_thousand_columns_the_two_that_decide_are_found() -> None:
    random = np.random.default_rng(1)
    rows = random.standard_normal((300, 1000)).astype(np.float32)
    weights = [0.0] * 1000
    weights[17], weights[801] = 2.0, -3.0
    network = linear(weights)
    labels = (logits(network, rows) > 0).astype(np.float32)
    assert [column for column, _ in most_important(network, rows, labels, 2)] == [801, 17]


# Axes


def test_an_axis_of_numbers_is_as_wide_as_nearly_all_rows() -> None:
    rows = np.arange(1001, dtype=np.float32)[:, None]
    rows[-1] = 1e6
    axis = axis_of(Schema(("x",), "y", (0, 1)), rows, 0, 11)
    assert axis.grid[0] < 5
    assert 995 < axis.grid[-1] < 1100
    assert (np.diff(axis.grid) > 0).all()


def test_a_column_of_one_value_has_an_axis() -> None:
    axis = axis_of(Schema(("x",), "y", (0, 1)), np.full((9, 1), 7, np.float32), 0, 11)
    assert axis.grid[0] < 7 < axis.grid[-1]


def test_categories_stand_by_their_frequency(mixed: Pictured) -> None:
    _, data = mixed
    rows = data.table.rows
    axis = axis_of(data.table.schema, rows, 0, 11)
    counts = [np.sum(rows[:, 0] == code) for code in axis.grid]
    assert counts == sorted(counts, reverse=True)
    names = data.table.schema.columns[0].categories
    assert axis.values == tuple(names[int(code)] for code in axis.grid)
    np.testing.assert_array_equal(axis.grid[axis.places(rows).astype(int)], rows[:, 0])
    boolean = axis_of(data.table.schema, rows, 2, 11)
    assert boolean.values == ("no", "yes")


# Answers


def test_a_curve_and_a_plane_are_the_sigmoid_of_the_logit() -> None:
    grid = np.linspace(-2, 2, 5).astype(np.float32)
    x, y = Axis(0, "x", grid), Axis(1, "y", grid[:3])
    np.testing.assert_allclose(curve(linear([3.0]), x), 1 / (1 + np.exp(-3.0 * grid)))
    rows = np.zeros((4, 2), np.float32)
    schema = Schema(("x", "y"), "label", (0, 1))
    shade = surface(linear([3.0, -1.0]), schema, x, y, rows)
    expected = 1 / (1 + np.exp(-(3.0 * grid[None, :] - grid[:3, None])))
    np.testing.assert_allclose(shade, expected, rtol=1e-6)


def test_other_inputs_are_those_of_rows_nearby() -> None:
    """Nadaraya and Watson's estimate in float64, by loops."""
    random = np.random.default_rng(0)
    rows = random.uniform(-1, 1, (40, 3)).astype(np.float32)
    rows[:, 2] = rows[:, 0] * 5
    grid = np.linspace(-1, 1, 7).astype(np.float32)
    x, y = Axis(0, "a", grid), Axis(1, "b", grid)
    schema = Schema(("a", "b", "c"), "label", (0, 1))
    shade = surface(linear([0.0, 0.0, 1.0]), schema, x, y, rows)
    for j, b in enumerate(grid):
        for i, a in enumerate(grid):
            squares = ((rows[:, 0] - a) / 2.0) ** 2 + ((rows[:, 1] - b) / 2.0) ** 2
            weights = np.exp(-squares.astype(np.float64) / (2 * BANDWIDTH**2))
            mean = np.sum(weights * rows[:, 2]) / weights.sum()
            assert shade[j, i] == pytest.approx(1 / (1 + np.exp(-mean)), rel=1e-4)


def test_gaps_and_categories_nearby(mixed: Pictured) -> None:
    network, data = mixed
    axes = [axis_of(data.table.schema, data.table.rows, column, 9) for column in (0, 2)]
    shade = surface(network, data.table.schema, axes[0], axes[1], data.table.rows)
    assert shade.shape == (2, 4)
    assert np.isfinite(shade).all()


# Rows


def test_the_sample_is_validation_rows_in_proportion(fitted: Fitted) -> None:
    _, data = fitted(n_rows=200)
    sample = sample_of(data)
    np.testing.assert_array_equal(sample.rows, data.table.rows[data.split.val])
    np.testing.assert_array_equal(sample.labels, data.table.labels[data.split.val])
    assert sample.words == "30 validation rows"
    _, data = fitted(n_rows=20_000)
    sample = sample_of(data)
    assert MOST_ROWS - 2 <= len(sample.labels) <= MOST_ROWS
    share = data.table.labels[data.split.val].mean()
    assert sample.labels.mean() == pytest.approx(share, abs=2 / MOST_ROWS)
    assert sample.words == f"{len(sample.labels):,} of 3,000 validation rows"
    np.testing.assert_array_equal(sample_of(data).rows, sample.rows)
