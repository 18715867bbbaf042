"""The statistics against NumPy, SciPy, brute force and cases counted by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from normlab.insight.comparison import (
    FEWEST_TO_WIN,
    duel,
    first_at_most,
    learnt_nothing,
    median_interval,
    quantile,
    share,
    summarize,
)

losses = st.floats(0.0, 10.0, allow_subnormal=False)


@given(st.lists(losses, min_size=1, max_size=30), st.sampled_from([0.0, 0.025, 0.25, 0.5, 0.75, 1]))
def test_quantile_is_numpys(values: list[float], q: float) -> None:
    assert quantile(values, q) == pytest.approx(np.quantile(values, q), rel=1e-12)


def test_quantile_leaves_missing_values_out_column_by_column() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [2.0, np.nan, np.nan]])
    np.testing.assert_array_equal(quantile(values, 0.5), [2.0, 5.0, np.nan])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, np.inf], 2.0),
        ([1.0, np.inf, np.inf], np.inf),
        ([1.0, np.inf], np.inf),  # half of the runs reached it: the median run did not
        ([np.inf, np.inf], np.inf),
        ([], np.nan),
    ],
)
def test_quantile_takes_never_as_larger_than_all(values: list[float], expected: float) -> None:
    np.testing.assert_equal(float(quantile(values, 0.5)), expected)


def test_summary_against_scipy() -> None:
    sample = np.random.default_rng(1).lognormal(size=25)
    summary = summarize([*sample, np.nan])
    assert summary.n == 25
    assert summary.median == np.median(sample)
    assert summary.q3 - summary.q1 == pytest.approx(stats.iqr(sample))
    theirs = stats.bootstrap(
        (sample,), np.median, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    # The bootstrap medians are values of the sample: near ends mean the same or the next value.
    spacing = np.max(np.diff(np.sort(sample)[4:20]))
    assert summary.low == pytest.approx(theirs.low, abs=spacing)
    assert summary.high == pytest.approx(theirs.high, abs=spacing)


def test_bootstrap_of_three_against_all_27_resamples() -> None:
    sample = np.array([1.0, 2.0, 4.0])
    medians = [np.median(resample) for resample in itertools.product(sample, repeat=3)]
    assert median_interval(sample) == (np.quantile(medians, 0.025), np.quantile(medians, 0.975))


def test_bootstrap_covers_the_median_of_skewed_samples() -> None:
    rng = np.random.default_rng(0)
    samples = rng.lognormal(size=(400, 15))  # whose median is 1
    intervals = np.array([median_interval(sample) for sample in samples])
    covered = np.mean((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1))
    assert 0.91 < covered < 0.99


def test_intervals_repeat_and_degenerate_samples_are_points() -> None:
    sample = np.random.default_rng(2).normal(size=9)
    assert median_interval(sample) == median_interval(sample.copy())
    same = summarize([0.678627] * 6)
    assert (same.low, same.median, same.high) == (0.678627,) * 3
    assert math.isnan(summarize([1.0, 2.0]).low)
    assert summarize([]).n == 0


@given(st.integers(3, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_share_is_clopper_and_pearsons(case: tuple[int, int]) -> None:
    count, n = case
    theirs = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    ours = share(count, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_fewest_to_win_is_the_sign_tests() -> None:
    assert share(FEWEST_TO_WIN - 1, FEWEST_TO_WIN - 1).low < 0.5 < share(*[FEWEST_TO_WIN] * 2).low
    assert stats.binomtest(5, 5).pvalue > 0.05 > stats.binomtest(6, 6).pvalue


@given(
    st.dictionaries(st.integers(0, 9), st.sampled_from([0.1, 0.2, 0.3, math.inf])),
    st.dictionaries(st.integers(0, 9), st.sampled_from([0.1, 0.2, 0.3, math.inf])),
)
def test_duel_against_brute_force(ours: dict[int, float], theirs: dict[int, float]) -> None:
    points = []
    for seed in range(10):
        if seed in ours and seed in theirs:
            a, b = ours[seed], theirs[seed]
            points.append(1.0 if a < b else 0.5 if a == b else 0.0)
    result = duel(ours, theirs)
    assert (result.wins.count, result.wins.n) == (sum(points), len(points))
    assert result.wins.count + duel(theirs, ours).wins.count == len(points)


def test_duel_pairs_by_seed_and_not_by_position() -> None:
    # Unpaired, the two are alike; seed by seed the first is always a little lower.
    ours = {seed: float(seed) for seed in range(1, 8)}
    theirs = {seed: seed + 0.01 for seed in (3, 1, 2, 7, 6, 5, 4)}
    result = duel(ours, theirs)
    assert result.wins.count == result.wins.n == 7
    assert result.difference.median == pytest.approx(-0.01)
    assert result.wins.low > 0.5


def test_rounding_is_a_tie() -> None:
    result = duel({0: 0.67862701}, {0: 0.67862702})
    assert (result.wins.count, result.difference.median) == (0.5, 0.0)


@pytest.mark.parametrize(("target", "epoch"), [(0.5, 2), (0.4, 2), (0.3, 4), (0.01, math.inf)])
def test_first_epoch_at_the_target(target: float, epoch: float) -> None:
    assert first_at_most(np.array([np.nan, 0.4, np.inf, 0.2, 0.3]), target) == epoch


def test_learnt_nothing_begins_two_percent_below_the_entropy() -> None:
    h = 0.6786
    result = learnt_nothing([0.979 * h, 0.981 * h, h, 2.0, math.inf, 0.0], [h] * 5 + [0.0])
    assert (result.count, result.n) == (4, 5)  # one kind of label alone: nothing to learn
