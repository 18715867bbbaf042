"""Which rows train, which choose, which judge: decided once, repeatable, refused when too few.

The parts' sizes follow from the number of rows and the fractions alone, so that runs that differ
in their seed hold parts of one shape and can be stacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from normlab.errors import UserError

CHUNK = 2**20  # rows

SplitMethod = Literal["random", "chronological", "none"]


@dataclass(frozen=True, eq=False)
class Split:
    """Row indices of the three parts, each ascending; `val` and `test` may be empty."""

    train: NDArray[np.integer]
    val: NDArray[np.integer]
    test: NDArray[np.integer]


def split_rows(
    labels: NDArray[np.floating],
    method: SplitMethod,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    index: type[np.integer] = np.int64,
) -> Split:
    """Divide the rows into a training, a validation and a test part.

    Args:
        labels: (n,), each 0 or 1.
        method: "random" draws each part with the table's share of both classes. "chronological"
            trains on the first rows and tests on the last, for rows in order of time, where a
            random split would put a row's near twin into another part. "none" trains on all rows
            and ignores the fractions.
        val_fraction: the validation part's share of all rows, in [0, 1).
        test_fraction: the test part's share, likewise; the two leave some rows to train on.
        seed: of the random draw, at least 0. It seeds a stream of its own (the first child of
            NumPy's SeedSequence), apart from other uses of the same number.
        index: type of the indices, where that of tables in memory would take too much of it.

    Raises:
        UserError: the training part lacks a class, or a part that was asked for has no rows, or
            under "random" lacks a class.
    """
    n_rows = len(labels)
    if method == "none":
        val_fraction = test_fraction = 0.0
    n_val, n_test = round(n_rows * val_fraction), round(n_rows * test_fraction)
    n_train = n_rows - n_val - n_test
    if n_train < 1:
        raise UserError(
            f"data.val_fraction={val_fraction} and data.test_fraction={test_fraction} leave none "
            f"of {n_rows} rows to train on. Lower the fractions."
        )
    match method:
        case "random":
            split = _stratified(labels, n_val, n_test, seed, index)
        case "chronological" | "none":
            rows = np.arange(n_rows, dtype=index)
            split = Split(rows[:n_train], rows[n_train : n_train + n_val], rows[n_train + n_val :])
        case _:
            assert_never(method)

    _require_both_classes("training", labels[split.train], labels, method)
    for part, rows, fraction in (
        ("validation", split.val, val_fraction),
        ("test", split.test, test_fraction),
    ):
        if fraction > 0 and len(rows) == 0:
            key = "val_fraction" if part == "validation" else "test_fraction"
            raise UserError(
                f"The {part} part would be empty: data.{key}={fraction} of {n_rows} rows rounds "
                f"to 0. Raise data.{key}, set it to 0, or add rows."
            )
        if fraction > 0 and method == "random":
            _require_both_classes(part, labels[rows], labels, method)
    return split


def _stratified(
    labels: NDArray[np.floating], n_val: int, n_test: int, seed: int, index: type[np.integer]
) -> Split:
    """Permute the rows of each class; the first go to validation, the next to test."""
    stream = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    positive = labels == 1
    n_rows, n_positive = len(labels), int(positive.sum())
    val_positive = _rounded_share(n_val, n_positive, n_rows)
    test_positive = _rounded_share(n_test, n_positive, n_rows)
    parts = np.zeros(n_rows, np.uint8)
    for members, val_count, test_count in (
        (~positive, n_val - val_positive, n_test - test_positive),
        (positive, val_positive, test_positive),
    ):
        rows = _places(members, index)
        stream.shuffle(rows)
        parts[rows[:val_count]] = 1
        parts[rows[val_count : val_count + test_count]] = 2
    train, val, test = (_places(parts == part, index) for part in range(3))
    return Split(train, val, test)


def _places(chosen: NDArray[np.bool_], index: type[np.integer]) -> NDArray[np.integer]:
    """Where it is true, as `np.flatnonzero`, but without a copy in int64 of all of them."""
    places = np.empty(np.count_nonzero(chosen), index)
    stop = 0
    for first in range(0, len(chosen), CHUNK):
        found = np.flatnonzero(chosen[first : first + CHUNK])
        start, stop = stop, stop + len(found)
        np.add(found, first, out=places[start:stop], casting="same_kind")
    return places


def _rounded_share(size: int, n_class: int, n_rows: int) -> int:
    """round(size * n_class / n_rows) in whole numbers: with two classes, the largest remainder."""
    return (2 * size * n_class + n_rows) // (2 * n_rows)


def _require_both_classes(
    part: str, chosen: NDArray[np.floating], labels: NDArray[np.floating], method: SplitMethod
) -> None:
    n_positive = int((chosen == 1).sum())
    if 0 < n_positive < len(chosen):
        return
    all_positive = int((labels == 1).sum())
    remedies = {
        "random": "Change data.val_fraction and data.test_fraction, or add rows of that class.",
        "chronological": "Lower data.val_fraction and data.test_fraction, or set "
        "data.split=random (rows close in time then leak between the parts).",
        "none": "Add rows of that class.",
    }
    raise UserError(
        f"The {part} part (data.split={method}) would hold {len(chosen) - n_positive} rows of "
        f"class 0 and {n_positive} of class 1, and it needs both; the table holds "
        f"{len(labels) - all_positive} and {all_positive}. {remedies[method]}"
    )
