"""Warnings that save a day, each where it is due and not where it is not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from normlab.data.limits import refuse_merged_codes, refuse_overflow
from normlab.data.read import read_table
from normlab.data.schema import Column, Schema
from normlab.data.table import Table
from normlab.errors import UserError

RANDOM = np.random.default_rng(0)
N = 500
LABEL = (RANDOM.random(N) < 0.4).astype(int)


@pytest.fixture
def warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The messages for a table of a column `x`, one of noise, and a label."""

    def read(x: object, label: np.ndarray = LABEL) -> list[str]:
        values = list(x)  # type: ignore[call-overload]
        noise = np.random.default_rng(1).standard_normal(len(values))
        lines = [f"{a},{b!r},{y}" for a, b, y in zip(values, noise.tolist(), label, strict=False)]
        path = tmp_path / "table.csv"
        path.write_text("\n".join(["x,noise,y", *lines]))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            read_table(path, "y")
        return caplog.messages

    return read


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.arange(N), "is different in every row"),
        (RANDOM.permutation(10**6)[:N], "is different in every row"),
        ([f"name {i}" for i in range(N)], "is different in every row"),
        ([7.5] * N, "holds one value, 7.5, in every row"),
        (["same"] * N, "holds one value, 'same', in every row"),
        (LABEL * 2.5 + RANDOM.random(N), "predicts the label by itself (AUROC"),
        (-LABEL * 2.5 + RANDOM.random(N), "predicts the label by itself (AUROC"),
        (LABEL, "predicts the label by itself (AUROC of the column alone: 1)"),
        (["paid" if y else "open" for y in LABEL], "predicts the label by itself"),
    ],
)
def test_a_column_that_needs_a_second_look(warnings, x: object, words: str) -> None:
    (message,) = warnings(x)
    assert message.startswith("table.csv, column 'x': ")
    assert words in message
    assert "data.drop=[x]" in message


@pytest.mark.parametrize(
    "x",
    [
        RANDOM.standard_normal(N).tolist(),  # different in every row, as measurements are
        RANDOM.integers(0, 400, N),
        RANDOM.permutation(10**6)[:50],  # few rows may differ by chance
        (LABEL + RANDOM.normal(0, 0.3, N)).tolist(),  # a good predictor
        np.where(LABEL, "a", np.where(RANDOM.random(N) < 0.9, "b", "a")),
        ["only", "two"] * (N // 2),
    ],
)
def test_other_columns(warnings, x: object) -> None:
    assert warnings(x) == []


def test_a_rare_class(warnings) -> None:
    rare = (np.arange(N) < 20).astype(int)
    (message,) = warnings(RANDOM.standard_normal(N).tolist(), rare)
    assert message.startswith("table.csv: only 4.00% of the rows are 1")
    assert "model.pos_weight=balanced" in message
    assert warnings(RANDOM.standard_normal(N).tolist(), (np.arange(N) < 30).astype(int)) == []


def table(values: np.ndarray) -> Table:
    rows = np.ascontiguousarray(values[:, None], dtype=np.float32)
    labels = (np.arange(len(rows)) % 2).astype(np.float32)
    return Table(rows, labels, Schema(("x",), "y", (0, 1)), "t.csv")


@pytest.mark.parametrize("normalization", ["none", "center", "batchnorm"])
def test_a_variance_beyond_float32(normalization: str) -> None:
    wide = table(RANDOM.standard_normal(N) * 1e25)
    with pytest.raises(UserError, match=r"t\.csv, column 'x'.*overflows float32.*standardize"):
        refuse_overflow(wide, normalization, normalization == "batchnorm")
    refuse_overflow(table(RANDOM.standard_normal(N) * 1e17), normalization, True)
    for other in ("standardize", "robust", "minmax", "log1p", "quantile"):
        refuse_overflow(wide, other, batchnorm=True)


def test_codes_that_a_precision_would_merge() -> None:
    column = Column("c", "categorical", tuple(f"v{i:03}" for i in range(257)))
    schema = Schema(("c",), "y", (0, 1), (column,))
    with pytest.raises(UserError, match=r"257 categories.*256 that trainer\.precision=bf16-true"):
        refuse_merged_codes(schema, "bf16-true")
    for precision in ("16-true", "32-true", "bf16-mixed"):
        refuse_merged_codes(schema, precision)
