"""The split: every row in one part, sizes that ignore the seed, both classes in their shares."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from normlab.data.serve.split import Split, SplitMethod, split_rows
from normlab.errors import UserError

seeds = st.integers(0, 2**32)
fractions = st.floats(0, 0.45)


def labels_of(negatives: int, positives: int, seed: int = 0) -> NDArray[np.float32]:
    labels = np.repeat(np.array([0, 1], np.float32), [negatives, positives])
    return np.random.default_rng(seed).permutation(labels)


def parts(split: Split) -> tuple[NDArray[np.integer], ...]:
    return split.train, split.val, split.test


@settings(deadline=None)  # a shared machine may pause
@given(st.integers(1, 200), st.integers(1, 200), fractions, fractions, seeds)
def test_random_split(
    negatives: int, positives: int, val_fraction: float, test_fraction: float, seed: int
) -> None:
    labels = labels_of(negatives, positives, seed)
    try:
        split = split_rows(labels, "random", val_fraction, test_fraction, seed)
    except UserError:
        assume(False)
        raise
    n_rows = negatives + positives
    np.testing.assert_array_equal(np.sort(np.concatenate(parts(split))), np.arange(n_rows))
    assert len(split.val) == round(n_rows * val_fraction)
    assert len(split.test) == round(n_rows * test_fraction)
    for part in parts(split):
        assert part.dtype == np.int64
        assert np.all(np.diff(part) > 0)
        assert abs(labels[part].sum() - len(part) * positives / n_rows) <= 1
    again = split_rows(labels, "random", val_fraction, test_fraction, seed)
    for one, other in zip(parts(split), parts(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert set(labels[split.train]) == {0, 1}
    for part, fraction in ((split.val, val_fraction), (split.test, test_fraction)):
        assert set(labels[part]) == ({0, 1} if fraction > 0 else set())


@settings(deadline=None)  # a shared machine may pause
@given(st.integers(20, 200), st.integers(20, 200), st.floats(0.1, 0.4), st.floats(0.1, 0.4), seeds)
def test_a_table_with_enough_rows_is_never_refused(
    negatives: int, positives: int, val_fraction: float, test_fraction: float, seed: int
) -> None:
    assume(min(negatives, positives) / (negatives + positives) > 0.2)
    split_rows(labels_of(negatives, positives), "random", val_fraction, test_fraction, seed)


def test_random_split_differs_between_seeds_in_rows_but_not_in_sizes() -> None:
    labels = labels_of(60, 37)
    one, other = (split_rows(labels, "random", 0.2, 0.25, seed) for seed in (1, 2))
    assert [len(part) for part in parts(one)] == [len(part) for part in parts(other)]
    assert not np.array_equal(one.val, other.val)
    assert not np.array_equal(one.test, other.test)


def test_every_row_is_drawn_equally_often() -> None:
    labels, draws = labels_of(12, 8), 2000
    counts = np.zeros(20)
    for seed in range(draws):
        counts[split_rows(labels, "random", 0.25, 0.25, seed).test] += 1
    # Binomial(2000, 1/4): a standard deviation of 19.4 around 500.
    assert np.abs(counts - draws / 4).max() < 4.5 * 19.4


@settings(deadline=None)  # a shared machine may pause
@given(st.integers(2, 200), fractions, fractions)
def test_chronological_split_keeps_the_order(
    n_rows: int, val_fraction: float, test_fraction: float
) -> None:
    labels = np.arange(n_rows, dtype=np.float32) % 2
    try:
        split = split_rows(labels, "chronological", val_fraction, test_fraction, 0)
    except UserError:
        assume(False)
        raise
    np.testing.assert_array_equal(np.concatenate(parts(split)), np.arange(n_rows))
    assert len(split.val) == round(n_rows * val_fraction)
    assert len(split.test) == round(n_rows * test_fraction)


def test_chronological_split_by_hand() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1, 1, 1, 1, 1], np.float32)
    split = split_rows(labels, "chronological", 0.2, 0.3, seed=0)
    # The validation part's last and the whole test part are of class 1: accepted.
    assert [part.tolist() for part in parts(split)] == [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]]


def test_none_trains_on_every_row_in_order_whatever_the_fractions() -> None:
    split = split_rows(labels_of(3, 2), "none", 0.2, 0.9, seed=0)
    assert split.train.tolist() == [0, 1, 2, 3, 4]
    assert len(split.val) == len(split.test) == 0
    assert split.val.dtype == split.test.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "method", "val_fraction", "test_fraction", "message"),
    [
        ([0, 1, 0, 1], "random", 0.5, 0.5, "leave none of 4 rows"),
        ([0, 1] * 3, "chronological", 0.6, 0.9, "leave none of 6 rows"),
        ([0] * 8 + [1] * 2, "random", 0.1, 0.0, "validation part .* 1 rows of class 0 and 0 of"),
        ([0] * 8 + [1] * 2, "random", 0.0, 0.1, "test part .*data.test_fraction"),
        ([0, 1] * 5, "random", 0.01, 0.2, "validation part would be empty: data.val_fraction"),
        ([0, 1] * 5, "chronological", 0.2, 0.01, "test part would be empty: data.test_fraction"),
        ([0] * 8 + [1] * 2, "chronological", 0.1, 0.1, "training part .*data.split=random"),
        ([0] * 9, "random", 0.0, 0.0, "training part .* holds 9 and 0"),
        ([1] * 9, "none", 0.0, 0.0, "training part .* 0 rows of class 0 and 9 of class 1"),
        ([0, 0, 1], "random", 0.4, 0.0, "part .* needs both"),
    ],
)
def test_too_few_rows_are_refused(
    labels: list[int], method: SplitMethod, val_fraction: float, test_fraction: float, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        split_rows(np.array(labels, np.float32), method, val_fraction, test_fraction, seed=0)


def test_both_parts_cannot_take_the_last_row_of_a_class() -> None:
    # Half a positive row is due to each part and both round up to the table's only one.
    with pytest.raises(UserError, match=r"part .* needs both"):
        split_rows(labels_of(19, 1), "random", 0.5, 0.45, seed=0)
