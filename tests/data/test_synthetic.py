"""The data sets that need no file, against scikit-learn and against the law they claim."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, make_circles

from normlab.data.synthetic import breast_cancer, circles, heart_rate
from normlab.data.table import Table
from normlab.errors import UserError


def assert_fit_for_training(table: Table) -> None:
    assert table.rows.dtype == table.labels.dtype == np.float32
    assert table.rows.flags.c_contiguous
    assert table.rows.shape == (len(table), len(table.schema.features))
    assert set(table.labels) == {0, 1}
    assert table.sha256 is None


@pytest.mark.parametrize("seed", [0, 123])
def test_circles_are_those_of_scikit_learn(seed: int) -> None:
    table = circles(rows=61, noise=0.05, factor=0.4, seed=seed)
    points, inner = make_circles(n_samples=61, noise=0.05, factor=0.4, random_state=seed)
    assert_fit_for_training(table)
    np.testing.assert_array_equal(table.rows, np.asarray(points, np.float32))
    np.testing.assert_array_equal(table.labels, inner)
    assert (table.schema.features, table.schema.target) == (("x1", "x2"), "label")
    assert (table.schema.classes, table.source) == ((0, 1), "circles")


def test_circles_defaults() -> None:
    points, _ = make_circles(n_samples=500, noise=0.1, factor=0.2, random_state=123)
    np.testing.assert_array_equal(circles().rows, np.asarray(points, np.float32))


def test_heart_rate_follows_its_law() -> None:
    rows, mean, std, rho = 400_000, 92.6, 5.49, 0.967
    table = heart_rate(rows=rows, mean=mean, std=std, autocorrelation=rho, seed=5)
    assert_fit_for_training(table)
    series = table.rows[:, 0].astype(np.float64)
    # Standard errors of an AR(1) series, from its long-run variances.
    independent = rows * (1 - rho) / (1 + rho)
    independent_squares = rows * (1 - rho**2) / (1 + rho**2)
    assert abs(series.mean() - mean) < 4 * std / np.sqrt(independent)
    assert abs(series.std() - std) < 4 * std / np.sqrt(2 * independent_squares)
    centred = series - series.mean()
    for lag in (1, 2, 10):
        measured = np.mean(centred[lag:] * centred[:-lag]) / centred.var()
        assert measured == pytest.approx(rho**lag, abs=0.01)
    # What is new in each row is white: nothing is left to predict it from.
    shocks = centred[1:] - rho * centred[:-1]
    assert abs(np.corrcoef(shocks[1:], shocks[:-1])[0, 1]) < 4 / np.sqrt(rows)


def test_heart_rate_is_stationary_from_its_first_row() -> None:
    firsts = [heart_rate(rows=300, threshold=92.6, seed=seed).rows[0, 0] for seed in range(1000)]
    assert np.mean(firsts) == pytest.approx(92.6, abs=4 * 5.49 / np.sqrt(1000))
    assert np.std(firsts) == pytest.approx(5.49, abs=4 * 5.49 / np.sqrt(2000))


def test_heart_rate_label_is_decided_on_the_stored_value() -> None:
    first = heart_rate(rows=50)
    # A threshold that equals a stored value: "above" must leave that row out.
    threshold = float(np.sort(first.rows[:, 0])[25])
    table = heart_rate(rows=50, threshold=threshold)
    np.testing.assert_array_equal(table.rows, first.rows)
    assert table.labels.sum() == 50 - 26
    assert (table.schema.features, table.schema.target) == (("heart_rate",), "label")


def test_heart_rate_depends_on_its_seed_alone() -> None:
    np.testing.assert_array_equal(heart_rate(seed=4).rows, heart_rate(seed=4).rows)
    assert not np.array_equal(heart_rate(seed=4).rows, heart_rate(seed=5).rows)


@pytest.mark.parametrize(("threshold", "side"), [(300.0, "at or below"), (0.0, "above")])
def test_heart_rate_of_one_class_is_refused(threshold: float, side: str) -> None:
    with pytest.raises(UserError, match=f"lie {side} the threshold .*data.threshold"):
        heart_rate(threshold=threshold)


def test_breast_cancer_is_that_of_scikit_learn() -> None:
    table = breast_cancer()
    bunch: Any = load_breast_cancer()
    assert_fit_for_training(table)
    assert table.rows.shape == (569, 30)
    np.testing.assert_array_equal(table.rows, bunch.data.astype(np.float32))
    np.testing.assert_array_equal(table.labels, bunch.target)
    assert table.labels.sum() == 357  # benign, says the data set's description
    assert table.schema.classes == ("malignant", "benign")
    assert table.schema.features == tuple(bunch.feature_names)
    assert table.schema.to_dict()["features"][0] == "mean radius"
