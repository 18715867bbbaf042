"""Columns: their types, what the user says of them, missing values, and the label's two classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normlab.data.file.columns import Selection
from normlab.data.read import read_table
from normlab.data.schema import Column, Schema
from normlab.data.table import Table
from normlab.errors import UserError

Read = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """A table of columns given as lists, with a label `y`; keywords are of `Selection`."""

    def make(columns: dict[str, list], y: list | None = None, **selection: Any) -> Table:
        n_rows = len(next(iter(columns.values())))
        columns = {**columns, "y": y or ["no", "yes"] * (n_rows // 2) + ["no"] * (n_rows % 2)}
        lines = [columns.keys(), *zip(*columns.values(), strict=True)]
        path = tmp_path / "table.csv"
        path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
        return read_table(path, "y", selection=Selection(**selection))

    return make


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1.5, 2, 3], Column("x")),
        ([1, 2, 3], Column("x")),  # whole numbers are numbers, however few
        ([0, 1], Column("x")),
        ([1, 2], Column("x")),
        ([7], Column("x")),  # constant
        (["no", "yes"], Column("x", "boolean", ("no", "yes"))),
        (["TRUE", "False"], Column("x", "boolean", ("false", "true"))),
        (["f", "m"], Column("x", "categorical", ("f", "m"))),
        (["b", "a", "b", "C"], Column("x", "categorical", ("C", "a", "b"))),
        (["Yes"], Column("x", "categorical", ("Yes",))),
    ],
)
def test_types_that_cells_show(read: Read, values: list, column: Column) -> None:
    values = (values * 300)[:300]
    table = read({"x": values, "z": np.arange(300) / 7})
    assert table.schema.columns[0] == column
    if column.categories:
        wanted = {str(v).lower(): i for i, v in enumerate(column.categories)}
        keys = [str(v).removesuffix(".0").lower() for v in values]
        assert table.rows[:, 0].tolist() == [wanted[key] for key in keys]
    else:
        assert table.rows[:, 0].tolist() == [float(v) for v in values]


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, 2, 3], Column("x", "categorical", (1, 2, 3))),
        ([3, "2.0", 1], Column("x", "categorical", (1, 2, 3))),
        ([0, 1], Column("x", "boolean", (0, 1))),
        (list(range(11)), Column("x")),  # more than 10
        ([1, 2, 2.5], Column("x")),
    ],
)
def test_few_whole_numbers_as_categories(read: Read, values: list, column: Column) -> None:
    """Where the user says up to how many."""
    cells = (values * 300)[:300]
    table = read({"x": cells, "z": np.arange(300) / 7}, integer_categories=10)
    assert table.schema.columns[0] == column
    if column.type == "categorical":
        assert table.rows[:, 0].tolist() == [float(value) - 1 for value in cells]


def test_few_rows_make_no_categories_of_numbers(read: Read) -> None:
    few = read({"x": [1, 2, 3] * 19, "z": [0.5] * 57}, integer_categories=10)
    many = read({"x": [1, 2, 3] * 20, "z": [0.5] * 60}, integer_categories=10)
    assert few.schema.is_numeric
    assert not many.schema.is_numeric


def test_what_the_user_says(read: Read) -> None:
    columns = {
        "id": list(range(300)),
        "zip": ["01234", "1234", "99999"] * 100,
        "grade": [1, 2, 3] * 100,
        "x": (np.arange(300) / 7).tolist(),
        "mixed": ["1", "2", "3+"] * 100,
    }
    table = read(columns, drop=["id"], categorical=["zip", "mixed"], numeric=["grade"])
    assert table.schema.features == ("zip", "grade", "x", "mixed")
    types = [column.type for column in table.schema.columns]
    assert types == ["categorical", "numeric", "numeric", "categorical"]
    assert table.schema.columns[0].categories == ("01234", "1234", "99999")  # as they stand
    assert table.schema.columns[3].categories == ("1", "2", "3+")
    assert table.schema.file_columns == ("id", "zip", "grade", "x", "mixed", "y")
    chosen = read(columns, features=["x", "grade"], integer_categories=0)
    assert chosen.schema.features == ("grade", "x")
    assert chosen.schema.is_numeric


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"drop": ["ix"]}, r"no column 'ix' for data\.drop\. Did you mean 'x'\?"),
        ({"drop": ["x", "z"]}, "no column is left as an input"),
        ({"drop": ["y"]}, "data.drop holds the target 'y'"),
        ({"features": ["x", "y"]}, "column 'y' is in data.features and in data.target"),
        ({"features": ["x"], "drop": ["x"]}, "column 'x' is in data.features and in data.drop"),
        ({"numeric": ["x"], "categorical": ["x"]}, "also in data.categorical"),
        ({"categorical": ["y"]}, "column 'y' in data.categorical is the target"),
        ({"numeric": ["x"]}, r"line 2, column 'x': 'a' is text.*data\.categorical=\[x\]"),
    ],
)
def test_what_the_user_cannot_mean(read: Read, selection: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read({"x": ["a", "b"], "z": [1, 2]}, **selection)


def test_too_many_categories(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normlab.data.meaning.facts.MOST_CATEGORIES", 9)
    with pytest.raises(UserError, match=r"'x': more than .* different values.*data\.drop=\[x\]"):
        read({"x": list("abcdefghij"), "z": [0] * 10})


GAPS = {"x": [1.5, "", 3.25, "NA"], "c": ["a", "b", "?", "a"], "z": [1, 2, 3, 4]}


def test_missing_values_are_left_out_or_kept(read: Read) -> None:
    dropped = read(GAPS, ["no", "yes", "no", "yes"], missing="impute")
    assert dropped.schema.columns == (
        Column("x", missing=True),
        Column("c", "categorical", ("a", "b"), missing=True),
        Column("z"),
    )
    expected = [[1.5, 0, 1], [np.nan, 1, 2], [3.25, np.nan, 3], [np.nan, 0, 4]]
    np.testing.assert_array_equal(dropped.rows, np.array(expected, np.float32))
    more = {name: [*values, *values[:1] * 2] for name, values in GAPS.items()}
    table = read(more, ["no", "yes", "no", "yes", "yes", "no"], missing="drop")
    np.testing.assert_array_equal(table.rows, np.array([[1.5, 0, 1]] * 3, np.float32))
    assert table.labels.tolist() == [0, 1, 0]
    assert table.schema.missing == "drop"


def test_missing_labels(read: Read) -> None:
    columns, y = {"x": [1.5, 2, 3, 4]}, ["no", "", "yes", "NA"]
    for policy in ("error", "impute"):
        with pytest.raises(UserError, match=r"line 3, column 'y': an empty cell is a missing la"):
            read(columns, y, missing=policy)
    assert read(columns, y, missing="drop").labels.tolist() == [0, 1]
    with pytest.raises(UserError, match="every row has a missing value"):
        read({"x": ["", 1.5], "z": [2, ""]}, missing="drop")
    with pytest.raises(UserError, match="without the rows that have a missing value"):
        read({"x": ["", 1.5, 2.5]}, ["no", "yes", "yes"], missing="drop")


@pytest.mark.parametrize("cell", ["-999", "-999.0", " n.a. ", "N.A."])
def test_spellings_of_a_missing_value_are_settable(read: Read, cell: str) -> None:
    table = read({"x": [1.5, cell]}, missing="impute", missing_values=["-999", "n.a."])
    assert np.isnan(table.rows).tolist() == [[False], [True]]
    assert table.schema.missing_values == ("-999", "n.a.")
    for spelling in ("NA", "nan"):
        with pytest.raises(UserError, match=f"'{spelling}' is text"):
            read({"x": [1.5, spelling]}, missing="impute", missing_values=["-999"])


def test_a_spelling_that_comes_late(read: Read) -> None:
    """Beyond the lines that types are guessed from."""
    values = [0.5] * 2_000 + ["NA", " 7 ", "nan"]
    table = read({"x": values}, missing="impute")
    assert np.isnan(table.rows[:, 0]).tolist() == [False] * 2_000 + [True, False, True]


@pytest.mark.parametrize(
    ("y", "positive", "classes", "values", "labels"),
    [
        (["M", "R", "M"], "M", ("R", "M"), (("R",), ("M",)), [1, 0, 1]),
        ([2, 1, 2], 1, (2, 1), ((2,), (1,)), [0, 1, 0]),
        ([2, 1, 2], "1", (2, 1), ((2,), (1,)), [0, 1, 0]),
        (["True", "False", "True"], False, ("True", "False"), (("True",), ("False",)), [0, 1, 0]),
        (["a", "b", "c"], "b", ("rest", "b"), (("a", "c"), ("b",)), [0, 1, 0]),
        (["a", "b", "c"], ["c", "a"], ("b", "a or c"), (("b",), ("a", "c")), [1, 0, 1]),
        ([1, 2, 3], [1, 3], (2, "1 or 3"), ((2,), (1, 3)), [1, 0, 1]),
    ],
)
def test_positive(
    read: Read, y: list, positive: Any, classes: tuple, values: tuple, labels: list
) -> None:
    table = read({"x": [1.5, 2, 3]}, y, positive=positive)
    assert table.schema.classes == classes
    assert table.schema.label_values == values
    assert table.labels.tolist() == labels


@pytest.mark.parametrize(
    ("positive", "message"),
    [
        (None, r"3 different values.*for example data\.positive=\[a\]"),
        ("d", r"data\.positive names 'd', which is none of the label's values \('a', 'b', 'c'\)"),
        (["a", "b", "c"], "none is left for class 0"),
    ],
)
def test_a_positive_that_cannot_be(read: Read, positive: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read({"x": [1.5, 2, 3]}, ["a", "b", "c"], positive=positive)


def test_a_schema_is_plain_types(read: Read) -> None:
    table = read(GAPS, ["a", "b", "c", "a"], missing="impute", positive=["a", "b"], drop=["z"])
    plain = table.schema.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert Schema.from_dict(plain) == table.schema
    numeric = Schema(("a", "b"), "y", ("no", "yes"))
    assert numeric.is_numeric
    plain = {"features": ["a", "b"], "target": "y", "classes": ["no", "yes"]}
    assert numeric.to_dict() == plain
    assert Schema.from_dict(plain) == numeric
