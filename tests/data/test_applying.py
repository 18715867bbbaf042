"""A stored schema applied to other files: by name, by position, batch by batch, or refused."""

from __future__ import annotations

import gzip
import resource
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.meaning.apply import read_for
from normlab.data.meaning.frames import rows_of
from normlab.data.read import read_table
from normlab.data.schema import Schema
from normlab.errors import UserError

TRAIN = "id,age,city,smokes,label\n" + "1,30.5,Bonn,yes,a\n2,41,Köln,no,b\n3,?,Bonn,no,a\n" * 9


def schema(
    tmp_path: Path, content: str = TRAIN, target: str | int = "label", **selection
) -> Schema:
    path = tmp_path / "train.csv"
    path.write_text(content)
    given = {"drop": [0], "missing": "impute", **selection}
    return read_table(path, target, selection=Selection(**given)).schema


def read(schema: Schema, path: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    batches = list(read_for(schema, path, **options))
    return (
        np.concatenate([batch.rows for batch in batches]),
        np.concatenate([batch.index for batch in batches]),
    )


def f32(values: list) -> np.ndarray:
    return np.array(values, np.float32)


ROWS = f32([[30.5, 0, 1], [np.nan, 2, 0], [7, 1, np.nan]])


@pytest.mark.parametrize(
    "content",
    [
        "id,age,city,smokes\n1,30.5,Bonn,yes\n2,,Paris,no\n3,7,Köln,NA\n",
        "smokes;city;more;age\nYES;Bonn;x;30,5\nNo;Paris;x;\n?;Köln;x;7\n",
        "label,age,city,smokes\n,30.5,Bonn,yes\nz,,Paris,no\n,7,Köln,NA\n",  # labels not asked for
        "age,city,smokes\n\n30.5, Bonn ,yes\n,,\nnan,Paris,no\n7.0,Köln,\n\n",
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
def test_columns_are_found_by_name(tmp_path: Path, content: str, batch_rows: int) -> None:
    path = tmp_path / "new.csv"
    path.write_text(content)
    rows, index = read(schema(tmp_path), path, batch_rows=batch_rows)
    np.testing.assert_array_equal(rows, ROWS)
    assert index.tolist() == [0, 1, 2]


def test_other_kinds_of_file(tmp_path: Path) -> None:
    content = "age,city,smokes\n30.5,Bonn,yes\n,Paris,no\n7,Köln,\n"
    made = schema(tmp_path)
    for name, data in (
        ("new.csv.gz", gzip.compress(content.encode())),
        ("new.txt", content.encode("utf-16")),
    ):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read(made, tmp_path / name)[0], ROWS)
    frame = pl.DataFrame(
        {"city": ["Bonn", "Paris", "Köln"], "age": [30.5, None, 7], "smokes": ["yes", "no", None]}
    )
    frame.write_parquet(tmp_path / "new.parquet")
    rows, index = read(made, tmp_path / "new.parquet", batch_rows=2)
    np.testing.assert_array_equal(rows, ROWS)
    assert index.tolist() == [0, 1, 2]


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("age,city,smokes,label\n1,Bonn,yes,b\n2,Bonn,no,a\n")
    (batch,) = read_for(schema(tmp_path), path, labels=True)
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 0]
    path.write_text("age,city,smokes,label\n1,Bonn,yes,b\n2,Bonn,no,c\n")
    with pytest.raises(UserError, match=r"line 3, column 'label': 'c' is none of the values.*'a'"):
        list(read_for(schema(tmp_path), path, labels=True))
    path.write_text("age,city,smokes,label\n1,Bonn,yes,\n")
    with pytest.raises(UserError, match=r"line 2, column 'label': an empty cell is a missing la"):
        list(read_for(schema(tmp_path), path, labels=True))
    path.write_text("age,city,smokes\n1,Bonn,yes\n")
    with pytest.raises(UserError, match="lacks 'label'"):
        list(read_for(schema(tmp_path), path, labels=True))


def test_rows_left_out_keep_the_others_places(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("age,city,smokes\n1,Bonn,yes\n?,Bonn,no\n3,,no\n4,Bonn,no\n")
    rows, index = read(schema(tmp_path, missing="drop"), path, batch_rows=2)
    assert index.tolist() == [0, 3]
    assert rows[:, 0].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,city\n1,Bonn\n", r"new.csv, line 1: the header lacks 'smokes'.*Add them"),
        ("age,city,Smoke\n1,Bonn,no\n", r"lacks 'smokes'.*Rename 'Smoke' to 'smokes'"),
        ("age,city,tobacco\n1,Bonn,no\n", r"lacks 'smokes'.*It has 'tobacco', unknown"),
        ("age,city,smokes\n1,Bonn,maybe\n", r"line 2, column 'smokes': 'maybe' is none of the"),
        ("age,city,smokes\n1,Bonn,no\nx,Bonn,no\n", r"line 3, column 'age': 'x' is text.*training"),
        ("age,city,smokes\n1e39,Bonn,no\n", r"line 2, column 'age': '1e39' is too large"),
        ("age,city,smokes\n-inf,Bonn,no\n", r"line 2, column 'age': '-inf' is infinite"),
        ("age,city,smokes\n1,Bonn,no\n1,Bonn\n", r"line 3: too few cells, 2 where the header"),
        ("age,city,smokes\n1,Bonn,no\n1,Bonn,no,3\n", r"line 3: too many cells"),
        ("age,city,smokes\n1,B\0nn,no\n", "line 2: holds a NUL byte"),
        ("age,city,smokes\n", "no rows"),
        ("", "is empty"),
    ],
)
def test_what_a_model_cannot_take(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "new.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        list(read_for(schema(tmp_path), path))


def test_missing_values_that_training_did_not_have(tmp_path: Path) -> None:
    made = schema(tmp_path, TRAIN.replace("?", "50"), missing="error")
    path = tmp_path / "new.csv"
    path.write_text("age,city,smokes\n1,Bonn,no\n2,,no\n")
    with pytest.raises(UserError, match=r"line 3, column 'city'.*trained without missing values"):
        list(read_for(made, path))


def test_without_a_header_columns_go_by_position(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    made = schema(tmp_path, "1,5,0.5,x\n2,4,1.5,x\n3,5,0.7,z\n", 1, drop=[0], missing="error")
    assert made.features == ("2", "3")
    for content in ("1,5,0.25,x\n2,5,0.75,z\n", "1,0.25,x\n2,0.75,z\n"):  # with a label, without
        path.write_text(content)
        np.testing.assert_array_equal(read(made, path)[0], f32([[0.25, 0], [0.75, 1]]))
    path.write_text("1,5,0.25,x,9\n")
    with pytest.raises(UserError, match=r"5 columns and no header, more than the 4"):
        list(read_for(made, path))
    path.write_text("1,0.25,x\n")
    with pytest.raises(UserError, match="3 columns and no header, fewer than the 4"):
        list(read_for(made, path, labels=True))
    # A file without a header for a model that was trained on one with it.
    path.write_text("1,30.5,Bonn,yes\n2,,Paris,no\n3,7,Köln,NA\n")
    rows, _ = read(schema(tmp_path), path, format=Format(header=False))
    np.testing.assert_array_equal(rows, ROWS)


def test_a_text_that_comes_late_among_numbers(tmp_path: Path) -> None:
    """Numbers are parsed while the file is read, up to there; no row is lost or comes twice."""
    made = schema(tmp_path, "a,b,y\n" + "1.5,2,u\n,3,v\n" * 9, "y", drop=[])
    path = tmp_path / "new.csv"
    n_rows = 300_000
    path.write_text("a,b\n" + "".join(f"{i},{i}.25\n" for i in range(n_rows)) + "NA,7 \n")
    rows, index = read(made, path, batch_rows=4_000)
    np.testing.assert_array_equal(index, np.arange(n_rows + 1))
    np.testing.assert_array_equal(rows[:-1, 0], np.arange(n_rows))
    np.testing.assert_array_equal(rows[-1], f32([np.nan, 7]))


def test_what_stands_in_a_row_that_is_left_out_is_no_fault(tmp_path: Path) -> None:
    made = schema(tmp_path, missing="drop")
    path = tmp_path / "new.csv"
    path.write_text("age,city,smokes\n1e400,,yes\nx,NA,no\n4,Bonn,no\n")
    assert read(made, path)[1].tolist() == [2]
    path.write_text("age,city,smokes\n1e400,,yes\nx,NA,no\n4,Bonn,no\nz,Bonn,no\nz,,no\n")
    with pytest.raises(UserError, match=r"line 5, column 'age': 'z' is text.*\(1 such cell"):
        read(made, path)


def test_a_short_row_is_no_missing_value(tmp_path: Path) -> None:
    """Where missing values are welcome; beside cells that are missing, and quotation marks."""
    content = 'age,city,smokes\n1,"a,b",\n2,"c\nd",yes\n3,Bonn\n'
    path = tmp_path / "new.csv"
    for text, line in ((content, 5), (content.replace("\nd", "d"), 4)):
        path.write_text(text)
        with pytest.raises(UserError, match=f"line {line}: too few cells, 2 where"):
            read(schema(tmp_path), path)
        with pytest.raises(UserError, match=f"line {line}: too few cells, 2 where"):
            read_table(path, "city", selection=Selection(missing="impute", positive="Bonn"))
        path.write_text(text.replace("3,Bonn", "3,Bonn,"))
        assert len(read(schema(tmp_path), path)[0]) == 3


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    line = "1,30.5,Bonn,yes\n"
    made = schema(tmp_path)
    path.write_text("id,age,city,smokes\n" + line * 1000)
    list(read_for(made, path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path.write_text("id,age,city,smokes\n" + line * 1_000_000)
    n_rows, first = 0, None
    for batch in read_for(made, path):
        first = batch if first is None else first
        n_rows += len(batch.rows)
        assert batch.index[0] == n_rows - len(batch.rows)
    assert n_rows == 1_000_000
    assert first is not None
    assert len(first.rows) < 200_000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 250_000  # kilobytes; the rows as Python strings alone would take more


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({"city": ["Bonn", "Paris"], "age": [30, None], "smokes": [True, False]}),
        {"age": [30, "?"], "city": ["Bonn", "Paris"], "smokes": ["true", "FALSE"], "more": [1, 2]},
        [
            {"age": 30.0, "city": " Bonn", "smokes": "true"},
            {"city": "Paris", "smokes": False},
        ],
        [[30, "Bonn", True], [None, "Paris", False]],
    ],
)
def test_tables_in_memory(tmp_path: Path, table: object) -> None:
    made = schema(tmp_path, TRAIN.replace("yes", "true").replace("no", "false"))
    np.testing.assert_array_equal(rows_of(made, table), f32([[30, 0, 1], [np.nan, 2, 0]]))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"age": [1], "city": ["Bonn"]}, "lack the columns 'smokes'"),
        ([[1, "Bonn"]], "rows must have 3 values"),
        ([["x", "Bonn", "no"]], "row 0, column 'age': 'x' is not a number"),
        ([[1, "Bonn", "no"], [1, "Bonn", "maybe"]], "row 1, column 'smokes': 'maybe' is not one"),
        ([[1e300, "Bonn", "no"]], "row 0, column 'age'"),
    ],
)
def test_tables_in_memory_that_a_model_cannot_take(
    tmp_path: Path, table: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rows_of(schema(tmp_path), table)


def test_whole_numbers_among_texts(tmp_path: Path) -> None:
    """A category "2" of a column with "3+" is the number 2 of a table in memory."""
    content = "dependents,y\n" + "0,a\n1,b\n2,a\n3+,b\n" * 3
    made = schema(tmp_path, content, "y", drop=[], categorical=["dependents"])
    assert rows_of(made, {"dependents": [2, 0, 1]})[:, 0].tolist() == [2, 0, 1]
    assert rows_of(made, {"dependents": [2.0, None]})[0, 0] == 2
    assert rows_of(made, {"dependents": [2, "3+", 9]})[:, 0].tolist() == [2, 3, 4]
