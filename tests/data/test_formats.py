"""One table however it was saved: separators, decimals, quotes, encodings, gzip, Parquet."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.read import read_table
from normlab.errors import UserError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
COLUMNS = {
    "weight": [1.5, -2.25, 3.0, 1000.125] * 6,
    "city": ["Bonn", "Köln", "Bonn; am Rhein", "a,b|c"] * 6,
    "label": ["no", "yes", "no", "yes"] * 6,
}
EXPECTED = np.array([COLUMNS["weight"], [0, 2, 1, 3] * 6]).T


def text(separator: str = ",", decimal: str = ".", quote: str = '"', header: bool = True) -> str:
    lines = [list(COLUMNS)] if header else []
    for weight, city, label in zip(*COLUMNS.values(), strict=True):
        lines.append([repr(weight).replace(".", decimal), city, label])
    quoted = (
        [f"{quote}{c}{quote}" if {*c} & {*separator, ";", "|", ","} else c for c in line]
        for line in lines
    )
    return "".join(separator.join(line) + "\n" for line in quoted)


def check(path: Path, format: Format | None = None, words: str = "", header: bool = True) -> None:
    target = "label" if header else -1
    table = read_table(path, target, format)
    np.testing.assert_array_equal(table.rows, EXPECTED.astype(np.float32))
    assert table.labels.tolist() == [0, 1, 0, 1] * 6
    names = ("weight", "city") if header else ("0", "1")
    assert table.schema.features == names
    assert [c.type for c in table.schema.columns] == ["numeric", "categorical"]
    assert table.schema.columns[1].categories == ("Bonn", "Bonn; am Rhein", "Köln", "a,b|c")
    assert table.read_as is not None
    assert table.read_as.startswith(words)


@pytest.mark.parametrize(
    ("separator", "decimal", "header", "end", "mark"),
    [
        combination
        for combination in itertools.product(
            SEPARATORS, [".", ","], [True, False], ["\n", "\r\n"], [b"", b"\xef\xbb\xbf"]
        )
        if combination[:2] != ("comma", ",")
    ],
)
def test_detected(
    tmp_path: Path, separator: str, decimal: str, header: bool, end: str, mark: bytes
) -> None:
    path = tmp_path / "table.csv"
    content = text(SEPARATORS[separator], decimal, header=header)
    path.write_bytes(mark + content.replace("\n", end).encode())
    words = f"{separator}-separated, "
    words += "decimal comma, " if decimal == "," else ""
    check(path, None, words + ("a header" if header else "no header"), header)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_and_gzip(tmp_path: Path, encoding: str, packed: bool) -> None:
    content = text().encode(encoding)
    path = tmp_path / ("table.csv.gz" if packed else "table.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    given = {"latin-1": "latin-1", "utf-16-le": "utf-16"}.get(encoding, "auto")
    check(path, Format(encoding=given))  # type: ignore[arg-type]
    assert not list(tmp_path.glob("normlab-*"))


def test_gzip_of_several_members(tmp_path: Path) -> None:
    """As `cat a.gz b.gz` makes it; a reader that stops at the first would lose rows."""
    content = text().encode()
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]))
    check(path)


def test_quotes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text(quote="'"))
    check(path, None, "comma-separated, quote single")
    path.write_text("a,y\n5' 11\",0\n6' 2\",1\n")
    with pytest.raises(UserError, match=r"quot.*data\.quote=none"):
        read_table(path, "y")
    table = read_table(path, "y", Format(quote="none"))
    assert table.schema.columns[0].categories == ("5' 11\"", "6' 2\"")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame(COLUMNS).write_parquet(path)
    check(path, None, "Parquet")
    frame = pl.DataFrame(COLUMNS).with_columns(
        pl.col("city").cast(pl.Categorical), pl.col("label") == "yes"
    )
    frame.write_parquet(path)
    table = read_table(path, "label")
    np.testing.assert_array_equal(table.rows, EXPECTED.astype(np.float32))
    assert table.schema.classes == ("false", "true")
    frame.with_columns(city=pl.Series([[1]] * 24)).write_parquet(path)
    with pytest.raises(UserError, match=r"column 'city': values of the type List"):
        read_table(path, "label")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, None, 2.0], "row 2, column 'weight': an empty cell is a missing value"),
        ([1.0, 2.0, float("inf")], "row 3, column 'weight': 'inf' is infinite"),
        ([1.0, 1e300, 2.0], r"row 2, column 'weight': '1e\+300' is too large"),
        (["1", "x", "2"], "row 2, column 'weight': 'x' is text"),
    ],
)
def test_faults_of_parquet(tmp_path: Path, weights: list, message: str) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"weight": weights, "label": [0, 1, 1]}).write_parquet(path)
    with pytest.raises(UserError, match=f"table.parquet, {message}"):
        read_table(path, "label")
    pl.DataFrame({"weight": [], "label": []}).write_parquet(path)
    with pytest.raises(UserError, match="has no rows"):
        read_table(path, "label")


@pytest.mark.parametrize(
    ("content", "target", "header"),
    [
        ("a,b\nx,no\ny,yes\n", "b", True),  # the target's name tells
        ("p,x\ne,s\np,s\n", -1, False),  # a cell of the first line comes again below
        ("a,b\nx,no\ny,yes\n", -1, True),  # nothing tells
        ("7,8\n1,0\n2,1\n", 8, True),  # no such position, but such a name
        ("6,148,1\n1,85,0\n", 2, False),
        ("?,1\n3,0\n", -1, False),
        (",a,y\n1,5,0\n2,6,1\n", "y", True),
    ],
)
def test_a_header_is_told_from_a_row(
    tmp_path: Path, content: str, target: str | int, header: bool
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    table = read_table(path, target, selection=Selection(missing="impute"))
    assert ("a header" in (table.read_as or "")) == header
    assert len(table) == content.count("\n") - header


def test_a_thousand_is_no_fraction(tmp_path: Path) -> None:
    """Beside a decimal comma 1.500 is 1500; 1.50 is no number at all."""
    path = tmp_path / "table.csv"
    path.write_text("a;y\n1,5;0\n1.500;1\n2,5;1\n")
    assert read_table(path, "y").rows[:, 0].tolist() == [1.5, 1500, 2.5]
    path.write_text("a;y\n1,5;0\n1.50;1\n2,5;1\n")
    with pytest.raises(UserError, match=r"line 3, column 'a': '1\.50' is text"):
        read_table(path, "y", Format(decimal="comma"))
