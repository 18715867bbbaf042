"""What files hold and readers misread: each kind with the value that is right."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.meaning.apply import read_for
from normlab.data.meaning.cache import cached_table
from normlab.data.meaning.compare import Comparison
from normlab.data.meaning.frames import rows_of
from normlab.data.meaning.inspect import inspect_file
from normlab.data.meaning.inspect_text import inspection_text
from normlab.data.read import read_table
from normlab.data.table import Table
from normlab.errors import UserError

Read = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """A table of the text; the target is its last column. Keywords are of `Selection`."""

    def make(text: str, format: Format | None = None, **selection: Any) -> Table:
        path = tmp_path / "t.csv"
        path.write_text(text)
        return read_table(path, -1, format, Selection(**selection))

    return make


def rows(cells: list[str], header: str = "x,y", separator: str = ",") -> str:
    """A file of one input, whose labels alternate."""
    lines = [f"{cell}{separator}{i % 2}" for i, cell in enumerate(cells)]
    return "\n".join([header.replace(",", separator), *lines]) + "\n"


def first(table: Table) -> list[float]:
    return table.rows[:, 0].tolist()


@pytest.mark.parametrize("last", ["   ", " , , ", ",,", "\n\n"])
def test_a_blank_line_is_no_row(read: Read, tmp_path: Path, last: str) -> None:
    table = read("p,q,y\n" + "1.5,2,a\n2.5,3,b\n" * 30 + last)
    assert len(table) == 60
    batches = list(read_for(table.schema, tmp_path / "t.csv", labels=True))
    assert sum(batch.n_read for batch in batches) == 60


@pytest.mark.parametrize("cell", ["-999", "-999,0", "-9,99e2", " -999 "])
def test_a_spelled_missing_number_in_any_dress(read: Read, cell: str) -> None:
    text = rows(["1,5", cell, "2,5"], separator=";")
    table = read(text, missing="impute", missing_values=["-999"])
    np.testing.assert_array_equal(first(table), np.array([1.5, np.nan, 2.5]))


@pytest.mark.parametrize(
    "cells", [["01234", "1234"], ["1E5", "100000"], ["1.10", "1.1"], ["0x10", "16"]]
)
def test_a_column_that_is_called_categorical_keeps_its_text(read: Read, cells: list[str]) -> None:
    table = read(rows(cells * 3), categorical=["x"])
    assert table.schema.columns[0].categories == tuple(sorted(cells))
    assert len(set(first(table))) == 2


def test_ids_beyond_float64_stay_apart(tmp_path: Path) -> None:
    ids = [2**53, 2**53 + 1, 2**60 + 1]
    frame = pl.DataFrame({"id": ids * 4, "y": [0, 1] * 6})
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", "y", None, Selection(categorical=["id"]))
    assert table.schema.columns[0].categories == tuple(sorted(map(str, ids)))
    assert len(set(first(table))) == 3
    np.testing.assert_array_equal(rows_of(table.schema, frame), table.rows)


def test_leading_zeros_are_told_of(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    text = rows(["01234", "00501", "94110"] * 9)
    assert first(read(text))[:3] == [1234, 501, 94110]
    (message,) = [m for m in caplog.messages if "01234" in m]
    assert "data.categorical=[x]" in message
    assert "data.numeric=[x]" in message
    caplog.clear()
    read(text, numeric=["x"])
    assert not [m for m in caplog.messages if "01234" in m]


@pytest.mark.parametrize(
    ("cells", "separator", "values"),
    [
        (["2,5", "1.653", "12.345,5"], ";", [2.5, 1653, 12345.5]),  # the comma is proven
        (["2.5", "1,653", "12,345.5"], "\t", [2.5, 1653, 12345.5]),  # the point is
        (["0,875", "2,875"], "\t", [0.875, 2.875]),  # no number of thousands begins with 0
        (["1.234.567", "2.875"], ";", [1234567, 2875]),  # twice: thousands
        (["1 653", "12\u00a0345", "999"], ",", [1653, 12345, 999]),
        (["1'653", "12'345", "999"], ",", [1653, 12345, 999]),
        (['"1,653"', '"12,345"', "999"], ",", [1653, 12345, 999]),
        (["2.875", "1.12"], ",", [2.875, 1.12]),  # two digits are no thousands
        (["2.875", "1000"], ",", [2.875, 1000]),  # thousands have no sign in this column
        (['"1,653.250"', "2.875"], ",", [1653.25, 2.875]),  # the comma marks the thousands
    ],
)
def test_signs_that_the_file_proves(
    read: Read, cells: list[str], separator: str, values: list[float]
) -> None:
    assert first(read(rows(cells, separator=separator))) == pytest.approx(values)


@pytest.mark.parametrize(
    ("cells", "sign", "separator"),
    [
        (["2,875", "3,197"], "comma", "\t"),
        (["2.875"], "point", "\t"),
        (["2.875"], "point", ","),
        (["2.875 €", "-$3.197"], "point", ";"),
        (["-$2.875"], "point", ","),
    ],
)
def test_signs_that_the_file_leaves_open_are_asked(
    read: Read, cells: list[str], sign: str, separator: str
) -> None:
    text = rows([*cells, "950"] * 9, separator=separator)
    with pytest.raises(UserError, match=rf"data\.thousands={sign}.*data\.decimal={sign}"):
        read(text)
    value = first(read(text, Format(thousands=sign)))[0]  # type: ignore[arg-type]
    assert abs(value) == 2875
    assert abs(first(read(text, Format(decimal=sign)))[0]) == 2.875  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["48.72%", "5 %", "-1.5%"], [48.72, 5, -1.5]),
        (["$1653.43", "$ 5", "-$2"], [1653.43, 5, -2]),
        (["5.25 €", "1 653 €", "7"], [5.25, 1653, 7]),
        (["\u00a01.5", "2.5\u202f", "3"], [1.5, 2.5, 3]),
        (["1970-01-02", "1969-12-31", "2000-01-01"], [1, -1, 10957]),
        (["1970-01-01 12:00", "1970-01-02T06:00:00", "1970-01-03"], [0.5, 1.25, 2]),
    ],
)
def test_numbers_in_another_dress(
    read: Read, tmp_path: Path, cells: list[str], values: list
) -> None:
    table = read(rows(cells * 9))
    assert table.schema.columns[0].type == "numeric"
    assert first(table)[: len(values)] == pytest.approx(values)
    disk = cached_table(tmp_path / "t.csv", -1, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(disk.rows, table.rows)
    (batch,) = read_for(table.schema, tmp_path / "t.csv")
    np.testing.assert_array_equal(batch.rows, table.rows)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["48.72 kg", "58.87 kg", "45.35 kg"], "numbers with 'kg'"),
        (["0x1F", "0x2A", "0x03"], "hexadecimal"),
        (["1.5D+03", "2.5D+02", "3.5D-01"], "Fortran"),
        (["31.12.2026", "01.02.2026", "28.02.2026"], "2026-11-25"),
        (["12/31/2026", "1/2/2026", "2/28/2026"], "2026-11-25"),
    ],
)
def test_dresses_that_are_not_read_are_told_of(
    tmp_path: Path, cells: list[str], words: str
) -> None:
    """With a remedy that keeps the column: a quantity is never to be dropped as an id."""
    path = tmp_path / "t.csv"
    varied = [cell.replace("3", str(i % 10), 1) for i, cell in enumerate(cells * 9)]
    path.write_text(rows(varied))
    said = inspection_text(inspect_file(path, "y"))
    assert words in said
    assert "data.drop" not in said


def test_codes_are_no_numbers_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(rows(["A11", "A12", "A13", "A14"] * 9))
    assert "most values" not in inspection_text(inspect_file(path, "y"))


def test_dates_of_parquet_are_days(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "day": [date(1970, 1, 2), date(2000, 1, 1)] * 3,
            "time": [datetime(1970, 1, 1, 12), datetime(1970, 1, 2, 6)] * 3,
            "y": [0, 1] * 3,
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", "y")
    assert table.rows[:2].tolist() == [[1, 0.5], [10957, 1.25]]
    np.testing.assert_array_equal(rows_of(table.schema, frame), table.rows)
    frame.write_csv(tmp_path / "t.csv")
    (batch,) = read_for(table.schema, tmp_path / "t.parquet")
    np.testing.assert_array_equal(batch.rows, table.rows)


@pytest.mark.parametrize("header", ["0,1", ",0,1"])
def test_a_header_that_counts_the_columns(read: Read, header: str) -> None:
    lines = [f"{i},{i + 0.5},{i % 2}"[2 * (header[0] == "0") :] for i in range(9)]
    table = read("\n".join([header, *lines]))
    assert len(table) == 9
    assert table.schema.header
    assert table.schema.target == "1"


def test_a_row_that_comes_again_is_no_header(read: Read) -> None:
    assert len(read("0,1\n1,0\n0,1\n1,1\n")) == 4


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("sep=;\n", ""),
        ("# a comment\n# another\n", "2 lines are comments"),
        ("40,2\n", "line 1 counts the rows (40)"),
    ],
)
def test_lines_before_the_table_are_skipped(
    read: Read, caplog: pytest.LogCaptureFixture, before: str, said: str
) -> None:
    caplog.set_level(logging.WARNING)
    separator = ";" if ";" in before else ","
    body = "".join(f"{i}.5,{i + 1},{i % 2}\n" for i in range(40)).replace(",", separator)
    table = read(before + "a,b,y\n".replace(",", separator) + body)
    assert table.rows[0].tolist() == [0.5, 1]
    assert len(table) == 40
    assert said in caplog.text


def test_a_comment_that_names_the_columns(read: Read) -> None:
    assert read("# by a program\n#a,y\n1.5,0\n2.5,1\n").schema.features == ("#a",)


def test_a_title_is_asked_about(read: Read) -> None:
    text = "Report of lab 7\n\na,b,y\n" + "1.5,2,0\n2.5,3,1\n" * 9
    with pytest.raises(UserError, match=r"line 1: 'Report of lab 7'.*data\.skip_lines=2"):
        read(text)
    assert read(text, Format(skip_lines=2)).rows[0].tolist() == [1.5, 2]


TRAIN = "age,city,income,ill\n" + "40.5,Bonn,2040.5,no\n50.5,Ulm,3040.25,yes\n" * 20


def predicted(read: Read, tmp_path: Path, text: str, train: str = TRAIN) -> list[str]:
    """What is said of a file that a model of `train` is applied to."""
    schema = read(train).schema
    path = tmp_path / "new.csv"
    path.write_text(text)
    comparison = Comparison(schema, "new.csv")
    list(read_for(schema, path, comparison=comparison, batch_rows=2))
    return comparison.messages()


def test_unseen_categories_are_told_of(read: Read, tmp_path: Path) -> None:
    new = "age,city,income\n" + "41,Ulm,2500\n42,Paris,2500\n43,Rom,2500\n44,Bonn,2500\n"
    (message,) = predicted(read, tmp_path, new)
    assert "column 'city': 2 of 4 values (50.0%)" in message
    assert "'Paris'" in message


def test_the_signs_of_the_training_file_are_kept_and_strange_values_told_of(
    read: Read, tmp_path: Path
) -> None:
    open_signs = "age;city;income\n41;Ulm;2.040\n42;Ulm;2.158\n"
    with pytest.raises(UserError, match=r"column 'income': '2\.040'.*data\.decimal=point"):
        predicted(read, tmp_path, open_signs)  # training had no three digits behind the point
    with_three = TRAIN.replace("3040.25", "304.125")
    (message,) = predicted(read, tmp_path, open_signs, with_three)
    assert "column 'income': all values, 2.04 to 2.158, lie outside" in message
    proven = "age;city;income\n41,5;Ulm;2.040\n42,5;Ulm;2.158\n"
    for text in (proven, proven.replace("2.040", "2.040,5")):
        (message,) = predicted(read, tmp_path, text)
        assert "data.thousands=point" in message


def test_the_thousands_of_the_training_file_are_those_of_later_ones(
    read: Read, tmp_path: Path
) -> None:
    """Where a few rows leave them open, and where the first rows have none."""
    train = TRAIN.replace("2040.5", '"2,040"').replace("3040.25", '"3,040"')
    schema = read(train).schema
    path = tmp_path / "new.csv"
    for separator, n_before in ((";", 0), (";", 300), ("\t", 0)):
        cells = [["age", "city", "income"], *[["41", "Ulm", "950"]] * n_before]
        cells += [["42", "Ulm", "2,158"]]
        path.write_text("".join(separator.join(row) + "\n" for row in cells))
        (batch,) = read_for(schema, path)
        assert batch.rows[-1, 2] == 2158


def test_a_model_expects_the_header_of_its_training_file(read: Read, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: '40', 'Ulm', '2500' is no header.*'age'"):
        predicted(read, tmp_path, "40,Ulm,2500\n41,Bonn,2500\n")
    without = TRAIN.partition("\n")[2]
    (message,) = predicted(read, tmp_path, "41.5,Ulm,2500\n", without)
    assert "columns are taken by position" in message


def test_a_name_with_many_values_is_told_of(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    read(rows([f"name {i % 120}" for i in range(400)], "name,y"))
    assert "holds 120 different values in 400 rows" in caplog.text
    assert "data.drop=[name]" in caplog.text


def test_zeros_apart_from_all_other_values_are_told_of(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    glucose = np.random.default_rng(0).normal(120, 20, 300).round().astype(int)
    read(rows([str(0 if i < 5 else g) for i, g in enumerate(glucose)]))
    assert "5 values are 0" in caplog.text
    assert "data.missing=impute" in caplog.text
    caplog.clear()
    spend = np.random.default_rng(0).exponential(50, 300).round(1)
    read(rows([str(0 if i < 90 else s) for i, s in enumerate(spend)]))
    assert "are 0" not in caplog.text  # the smallest others are near


def test_a_word_that_is_a_value_of_its_own(read: Read) -> None:
    text = rows(["NA", "EU", "AS", "SA"] * 9)
    with pytest.raises(UserError, match=r"'NA' is a missing value.*data\.missing_values="):
        read(text)
    table = read(text, missing_values=["N/A"])
    assert table.schema.columns[0].categories == ("AS", "EU", "NA", "SA")


def test_messages_that_name_the_cause(read: Read, tmp_path: Path) -> None:
    long = "x" * 200_000
    assert len(read(f"a,b,y\n1.5,{long},0\n2.5,z,1\n", drop=["b"])) == 2
    with pytest.raises(UserError, match=r"line 3: too many cells, 4 where.*separators alone"):
        read("a,y\n1.5,0\n,,,\n2.5,1\n")
    for text in ("a b y\n1 2 0\n2 3 1\n", "1.5 2 0\n2.5 3 1\n"):
        with pytest.raises(UserError, match=r"separated by spaces.*sed "):
            read(text)
    table = read("a,b,y\n1,2.5,0\n1e400,,1\n3,4.5,1\n", missing="drop")
    assert table.rows.tolist() == [[1, 2.5], [3, 4.5]]
    with pytest.raises(UserError, match=r"line 4, column 'a': '1e400' is too large.*\(1 such"):
        read("a,b,y\n1,2.5,0\n1e400,,1\n1e400,4.5,1\n2,2,0\n", missing="drop")
    schema = read("a,b,y\n1.5,u,0\n2.5,v,1\n").schema
    with pytest.raises(ValueError, match=r"list of rows, each of 2 values.*\[\[\.\.\.\]\]"):
        rows_of(schema, [1.5, "u"])


def test_the_disk_that_a_copy_goes_to_is_named(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,y\n1,0\n2,1\n"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(UserError, match=r"No space left on device.*TMPDIR"):
        read_table(path, "y")
