"""The tables of the study: each as the settings that `python train.py` reads it by.

All can be had without a network: three come with the program, three with scikit-learn, and three
are drawn here with one fault each that a normalization may or may not undo. The last six are
written as CSV files, in raw units, and read like a user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn import datasets
from sweeps import ROOT

Columns = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Rows (n, features) and which of them are class 1."""

ROWS = 400  # of a drawn table, and at most of a shipped one
BUILT_IN = {
    "heart_rate": [f"data.rows={ROWS}"],
    "circles": [f"data.rows={ROWS}"],
    "breast_cancer": [],
}


def wine() -> Columns:
    """178 wines, 13 measurements between 0.1 and 1,700; class 1 is the second cultivar."""
    data: Any = datasets.load_wine()
    cultivars: NDArray[np.int64] = data.target
    return data.data, cultivars == 1


def diabetes() -> Columns:
    """442 patients, 10 measurements as taken; class 1 is a progression above the median."""
    data: Any = datasets.load_diabetes(scaled=False)
    progression: NDArray[np.float64] = data.target
    return data.data, progression > np.median(progression)


def digits() -> Columns:
    """The first rows of 8 x 8 digits, pixels of 0 to 16; class 1 is an odd digit."""
    data: Any = datasets.load_digits()
    digits: NDArray[np.int64] = data.target[:ROWS]
    return data.data[:ROWS], digits % 2 == 1


def scales() -> Columns:
    """Twelve columns, eight of which matter, with scales from a thousandth to a thousand."""
    drawn: Any = datasets.make_classification(
        ROWS, n_features=12, n_informative=8, class_sep=1.5, random_state=0
    )
    rows, labels = drawn
    return rows * np.logspace(-3, 3, 12), labels == 1


def skewed() -> Columns:
    """Six log-normal columns; the label depends on their logarithms, with noise."""
    random = np.random.default_rng(0)
    logs = random.standard_normal((ROWS, 6))
    labels = logs @ [1, -1, 1, -1, 1, -1] + 0.5 * random.standard_normal(ROWS) > 0
    return 100 * np.exp(2 * logs), labels


def outliers() -> Columns:
    """Six columns around 50; three cells in a hundred are off by a Cauchy's draw times 100."""
    random = np.random.default_rng(0)
    clean = random.standard_normal((ROWS, 6))
    labels = clean @ [1, -1, 1, -1, 1, -1] + 0.5 * random.standard_normal(ROWS) > 0
    wrong = random.random((ROWS, 6)) < 0.03
    return 50 + 5 * clean + 100 * wrong * random.standard_cauchy((ROWS, 6)), labels


FILES: dict[str, Callable[[], Columns]] = {
    table.__name__: table for table in (wine, diabetes, digits, scales, skewed, outliers)
}
TABLES = (*BUILT_IN, *FILES)


def settings(name: str, folder: Path) -> list[str]:
    """The overrides that train on this table; writes its file where it has one.

    `folder` is relative to the repository's root.
    """
    if name in BUILT_IN:
        return [f"data={name}", *BUILT_IN[name]]
    path = folder / f"{name}.csv"
    (ROOT / folder).mkdir(parents=True, exist_ok=True)
    rows, labels = FILES[name]()
    frame = pl.DataFrame({f"x{i}": column for i, column in enumerate(rows.T, 1)})
    frame.with_columns(label=labels.astype(np.int64)).write_csv(ROOT / path)
    # A pixel of few values is still a number.
    return ["data=csv", f"data.path={path}", "data.target=label", "data.integer_categories=0"]
