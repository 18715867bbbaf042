"""The CSV reader: real tables, every fault with its place, and no bytes that break it."""

import csv
import gzip
import hashlib
import io
import json
import logging
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.file.records import WHITESPACE
from normlab.data.meaning.apply import read_for
from normlab.data.meaning.inspect import inspect_file
from normlab.data.meaning.inspect_text import inspection_text
from normlab.data.read import read_table
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError


def read_csv(path: str | Path, target: str | int, header: bool = True) -> Table:
    """A file whose header, or lack of one, is known."""
    return read_table(path, target, Format(header=header))


REAL_TABLES = Path(__file__).resolve().parents[2].parent / "shared" / "data"
BEYOND_FLOAT64 = ("9007199254740992", "9007199254740993")


@pytest.fixture
def csv_file(tmp_path: Path):
    """Write text (in UTF-8) or bytes to a file and give its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def real(name: str) -> Path:
    path = REAL_TABLES / name
    if not path.exists():
        pytest.skip(f"the real tables are not here: {path}")
    return path


def test_a_small_table(csv_file) -> None:
    path = csv_file("a,label,b\n1,0,-2.5\n3e2,1,.5\n")
    table = read_csv(path, "label")
    assert table.rows.tolist() == [[1, -2.5], [300, 0.5]]
    assert table.labels.tolist() == [0, 1]
    assert table.rows.dtype == table.labels.dtype == np.float32
    assert table.rows.flags.c_contiguous
    assert table.rows.flags.writeable  # torch.from_numpy warns otherwise
    assert table.labels.flags.writeable
    assert table.schema.features == ("a", "b")
    assert (table.schema.target, table.schema.classes) == ("label", (0, 1))
    assert table.source == "table.csv"
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_pima() -> None:
    path = real("pima.csv")
    table = read_csv(path, 8, header=False)
    oracle = np.loadtxt(path, delimiter=",")
    np.testing.assert_array_equal(table.rows, oracle[:, :8].astype(np.float32))
    np.testing.assert_array_equal(table.labels, oracle[:, 8])
    assert table.schema.features == tuple("01234567")
    assert table.schema.target == "8"
    last = read_csv(path, -1, header=False)
    np.testing.assert_array_equal(last.rows, table.rows)
    assert last.schema == table.schema


def test_heart_rate_record() -> None:
    path = real("hr_11839.csv")
    table = read_csv(str(path), "label")
    oracle = np.loadtxt(path, delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table.rows, oracle[:, :1].astype(np.float32))
    np.testing.assert_array_equal(table.labels, oracle[:, 1])


def test_heart_with_missing_values_is_refused_with_their_place_and_counts() -> None:
    with pytest.raises(UserError) as refusal:
        read_csv(real("heart.csv"), "AHD")
    message = str(refusal.value)
    assert "heart.csv, line 89, column 'Thal': 'NA' is a missing value (2 such cells" in message
    assert "Missing values by column: 'Ca' 4, 'Thal' 2." in message
    assert "data.missing=drop" in message
    assert "data.missing=impute" in message


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        (("1", "0", "1"), (0, 1), [1, 0, 1]),
        (("2", "1", "1"), (1, 2), [1, 0, 0]),
        (("-1", "1", "-1"), (-1, 1), [0, 1, 0]),
        (("10", "9", "9"), (9, 10), [1, 0, 0]),  # as text "10" would come first
        (("1.0", "0", "1"), (0, 1), [1, 0, 1]),  # one number in two spellings
        (("0.5", "0.25", "0.5"), (0.25, 0.5), [1, 0, 1]),
        (("Yes", "No", "No"), ("No", "Yes"), [1, 0, 0]),
        ((" >50K", " <=50K", ">50K"), ("<=50K", ">50K"), [1, 0, 1]),
        (("True", "False", "True"), ("False", "True"), [1, 0, 1]),
        (("10", "9", "x9"), None, None),
        (('"a,b"', "c", "c"), ("a,b", "c"), [0, 1, 1]),
        # Beyond 2^53, where float64 would merge them, numbers stay text.
        (("9007199254740993", *["9007199254740992"] * 2), BEYOND_FLOAT64, [1, 0, 0]),
    ],
)
def test_any_two_label_values(csv_file, values, classes, labels) -> None:
    path = csv_file("a,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values)))
    if classes is None:
        with pytest.raises(UserError, match="3 different values"):
            read_csv(path, "y")
        return
    table = read_csv(path, "y")
    assert table.labels.tolist() == labels
    assert table.schema.classes == classes
    assert [type(value) for value in table.schema.classes] == [type(value) for value in classes]


@pytest.mark.parametrize(
    "content",
    [
        "a,y\n1,0\n2,1",
        "a,y\r\n1,0\r\n2,1\r\n",
        "\ufeffa,y\n1,0\n2,1\n",
        '\ufeff"a","y"\n1,0\n2,1\n',
        "a,y\n1,0\n2,1\n\n\n",
        "a,y\r\n1,0\r\n2,1\r\n\r\n",
        "\n\na,y\n\n1,0\n\n2,1\n",
        "a,y\n1,0\n2,1\n,\n  ,\n",
        "a, y\n 1, 0\n 2 , 1 \n",
        'a,y\n"1","0"\n"2","1"\n',
    ],
)
def test_spellings_of_one_table(csv_file, content: str) -> None:
    table = read_csv(csv_file(content), "y")
    assert table.rows.tolist() == [[1], [2]]
    assert table.labels.tolist() == [0, 1]
    assert table.schema.features == ("a",)


def test_header_with_a_newline_in_a_name(csv_file) -> None:
    table = read_csv(csv_file('"a\nb",y\n1,0\n2,1\n'), "y")
    assert table.schema.features == ("a\nb",)
    assert table.rows.tolist() == [[1], [2]]


def test_byte_order_mark_without_header(csv_file) -> None:
    assert read_csv(csv_file("\ufeff1,0\n2,1\n"), 1, header=False).rows.tolist() == [[1], [2]]


def test_target_in_the_middle_and_by_negative_position(csv_file) -> None:
    table = read_csv(csv_file("1,0,5\n2,1,6\n"), -2, header=False)
    assert table.rows.tolist() == [[1, 5], [2, 6]]
    assert (table.schema.features, table.schema.target) == (("0", "2"), "1")


def test_target_position_given_as_text(csv_file) -> None:
    assert read_csv(csv_file("1,0\n2,1\n"), "-1", header=False).labels.tolist() == [0, 1]


def test_column_named_by_a_number(csv_file) -> None:
    path = csv_file("7,8\n1,0\n2,1\n")
    assert read_csv(path, 8).schema == read_csv(path, "8").schema


def test_file_name_with_the_characters_of_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "a[1]*?.csv"
    path.write_text("a,y\n1,0\n2,1\n")
    assert len(read_csv(path, "y")) == 2


FAULTS = {
    # The file, then what its message must hold.
    "empty": ("", ["is empty"]),
    "blank": ("\n\n \n", ["is empty"]),
    "no rows": ("a,y\n", ["no rows", "data.header=false"]),
    "one column": ("y\n0\n1\n", ["no feature"]),
    "spaces between": ("a y\n1 0\n2 1\n", ["'a y'", "data.separator"]),
    "missing in two columns": (
        "a,b,y\n1,,1\n,,0\n2,2,1\n",
        ["line 2", "'b'", "2 such cells", "'a' 1, 'b' 2.", "data.missing=impute"],
    ),
    "all missing": ("a,b,y\n1,,0\n2,,1\n", ["'b'", "every value is missing", "data.drop=[b]"]),
    "text in a mixed column": (
        "a,y\n" + "1,0\n2,1\n" * 900 + "3+,1\n",
        ["line 1802", "'3+' is text", "data.categorical=[a]", "data.missing_values", "[a]"],
    ),
    "decimal comma": ('a,y\n"1,5",0\n2,1\n', ["line 2", "data.decimal=comma"]),
    "Windows-1252": ("a,b,y\n1,caf\xe9,0\n2,t,1\n".encode("cp1252"), ["line 2", "0xe9", "latin-1"]),
    "zip": (b"PK\x03\x04rest", ["zip archive or a spreadsheet"]),
    "Parquet cut off": (b"PAR1\x15\x04\x15", ["damaged Parquet file"]),
    "gzip within gzip": (gzip.compress(gzip.compress(b"a,y\n1,0\n")), ["packed twice"]),
    "gzip cut off": (gzip.compress(b"a,y\n1,0\n2,1\n" * 99)[:-20], ["gzip", "cut off"]),
    "short row, last cell blank elsewhere": (
        "a,y,b\n1,0,2\n1,1\n3,1,\n",
        ["line 3", "too few cells"],
    ),
    "one row": ("a,y\n1,0\n", ["'y'", "one value (0)"]),
    "unknown target": ("a,Y\n1,0\n2,1\n", ["'y'", "mean 'Y'", "'a', 'Y'"]),
    "numeric header": ("1,0\n2,1\n", ["'y'", "data.header=false"]),
    "duplicate names": ("a,a,y\n1,2,0\n3,4,1\n", ["named 'a'"]),
    "short row": ("a,y\n1,0\n2\n3,1\n", ["line 3", "too few cells, 1 where", "2"]),
    "short first row": ("a,y\n1\n2,0\n3,1\n", ["line 2", "too few"]),
    "short last row": ("a,b,y\n1,2,0\n3,4,1\n5,6", ["line 4", "too few"]),
    "long row": ("a,y\r\n1,0\r\n2,1,7\r\n", ["line 3", "too many cells, 3 where"]),
    "long first row": ("a,y\n1,0,5\n2,1\n", ["line 2", "too many"]),
    "text": ("a,y\r\n1,0\r\n\r\nx,1\r\nx,1", ["line 4", "'a'", "'x' is text", "2 such cells"]),
    "underscore": ("a,y\n1_0,0\n2,1\n", ["line 2", "'1_0' is text"]),
    "text in line 5 of quotes": ('a,y\n1,"0\n"\n2,1\nx,1\n', ["line 5", "'x'"]),
    "missing": ("a,b,y\n1,2,0\n1,,1\n1,,0\n", ["line 3", "'b'", "empty cell", "2 such cells"]),
    "missing quoted": ('a,y\n"",0\n2,1\n', ["line 2", "missing"]),
    "spaces": ("a,y\n1,0\n  ,1\n", ["line 3", "missing"]),
    "NA": ("a,y\n1,0\nNA,1\n", ["line 3", "'NA' is a missing value", "1 such cell "]),
    "nan": ("a,y\n1,0\n2,1\nnan,1\n", ["line 4", "'a'", "missing"]),
    "inf": ("a,y\n1,0\n-inf,1\n", ["line 3", "'-inf' is infinite"]),
    "overflow": ("a,y\n1,0\n1e300,1\n", ["line 3", "'1e300' is too large"]),
    # The smallest number that rounds to infinity in float32: 2^128 - 2^103.
    "overflow at the edge": ("a,y\n1,0\n3.4028235677973366e38,1\n", ["line 3", "too large"]),
    "double overflow": ("a,y\n1,0\n1e400,1\n", ["line 3", "too large"]),
    "missing label": ("a,y\n1,0\n2,\n3,1\n", ["line 3", "'y'", "missing label"]),
    "quoted missing label": ('a,y\n1,0\n2,""\n3,1\n', ["line 3", "'y'", "missing label"]),
    "NA label": ("a,y\n1,0\n2,NA\n", ["line 3", "missing label"]),
    "one label": ("a,y\n1,0\n2,0.0\n", ["'y'", "one value (0)"]),
    "three labels": ("a,y\n1,0\n2,1\n3,x\n", ["'y'", "3 different values ('0', '1', 'x')"]),
    "many labels": (
        "a,y\n" + "".join(f"1,{i}\n" for i in range(9)),
        ["9 different values (0, 1, 2, 3, 4, ...)"],
    ),
    "UTF-16 cut off": ("a,y\n1,0\n2,1\n".encode("utf-16")[:-1], ["utf-16", "line 3"]),
    "UTF-16 bare": ("a,y\n1,0\n2,1\n".encode("utf-16-le"), ["line 1", "NUL"]),
    "Latin-1 header": ("größe,y\n1,0\n2,1\n".encode("latin-1"), ["line 1", "0xf6", "UTF-8"]),
    "Latin-1 label": ("a,y\n1,ja\n2,nö\n".encode("latin-1"), ["line 3", "0xf6", "UTF-8"]),
    "Latin-1 number": ("a,y\n1,0\n2\xa0,1\n".encode("latin-1"), ["line 3", "0xa0", "UTF-8"]),
    "NUL in a number": ("a,y\n1,0\n2\0,1\n", ["line 3", "NUL"]),
    "NUL in a label": ("a,y\n1,0\n2,1\0\n", ["line 3", "NUL"]),
    "gzip": (b"\x1f\x8b\x08\x00rest", ["gzip"]),
    "open quote": ('a,y\n1,0\n2,"1\n', ["line 3", "never closed"]),
    "single quote at the end": ('a,y\n1,0\n2,1\n"', ["line 4", "never closed"]),
    "single quote for a number": ('y,a\n1,0\n0,1\n0,"', ["line 4", "never closed"]),
    "text after a quote": ('a,y\n1,"0"x\n2,1\n', ["line 2", "quot"]),
    "carriage returns": ("a,y\r1,0\r2,1\r", ["line 1", "carriage return"]),
}


@pytest.mark.parametrize(("content", "parts"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_place(csv_file, content: str | bytes, parts: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        read_csv(csv_file(content), "y")
    message = str(refusal.value)
    assert "table.csv" in message
    for part in parts:
        assert part in message


def test_a_header_taken_for_a_row(csv_file) -> None:
    with pytest.raises(UserError, match=r"line 1, column '0': 'a' is text.*data.header=true"):
        read_csv(csv_file("a,y\n1,0\n2,1\n"), -1, header=False)


@pytest.mark.parametrize("position", [2, -3])
def test_target_position_out_of_range(csv_file, position: int) -> None:
    with pytest.raises(UserError, match=f"data.target={position} is out of range.*2 columns"):
        read_csv(csv_file("1,0\n2,1\n"), position, header=False)


def test_target_name_without_header(csv_file) -> None:
    with pytest.raises(UserError, match=r"data.target is 'y', but without a header"):
        read_csv(csv_file("1,0\n2,1\n"), "y", header=False)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.csv': No such file or directory. .*data.path"):
        read_csv(tmp_path / "nowhere.csv", "y")
    with pytest.raises(UserError, match="Is a directory"):
        read_csv(tmp_path, "y")


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a pipe"):
        read_csv(tmp_path / "pipe", "y")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(csv_file) -> None:
    path = csv_file("a,y\n1,0\n2,1\n")
    path.chmod(0)
    with pytest.raises(UserError, match=r"Permission denied.*right to read"):
        read_csv(path, "y")


def test_permission_error_of_the_system(csv_file, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = csv_file("a,y\n1,0\n2,1\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"Permission denied.*right to read"):
        read_csv(path, "y")


def warnings_for(csv_file, caplog: pytest.LogCaptureFixture, values: list[float]) -> list[str]:
    """Those of float32's steps."""
    rows = "".join(f"{value!r},{i},{i % 2}\n" for i, value in enumerate(values))
    with caplog.at_level(logging.WARNING):
        read_csv(csv_file("time,other,y\n" + rows), "y")
    return [message for message in caplog.messages if "steps of" in message]


def test_unix_times_are_warned_of(csv_file, caplog) -> None:
    (message,) = warnings_for(csv_file, caplog, [1.7e9 + 60 * i for i in range(100)])
    assert "column 'time'" in message
    assert "steps of 128 only" in message
    assert "Subtract a reference" in message


@pytest.mark.parametrize(
    "values",
    [
        [0.1] * 50,  # constant
        [1e6 + i for i in range(50)],  # whole numbers that float32 holds exactly
        [60.1 * i for i in range(50)],  # times from a reference
        [1.7e9 + 86_400.0 * i for i in range(400)],  # days over a year: fine beside the spread
    ],
)
def test_other_columns_are_not_warned_of(csv_file, caplog, values: list[float]) -> None:
    assert warnings_for(csv_file, caplog, values) == []


def test_unnamed_column_is_warned_of(csv_file, caplog) -> None:
    table = read_csv(csv_file(",a,y\n1,5,0\n2,6,1\n"), "y")
    assert table.schema.features == ("0", "a")
    assert "column 1 of the header has no name" in caplog.text


def assert_read_as_by_the_standard_library(table: Table, content: bytes, header: bool) -> None:
    """Where a table is accepted, Python's csv module sees the same cells in the same places."""
    lines = io.StringIO(content.decode("utf-8-sig"), newline="")
    records = [[cell.strip(WHITESPACE) for cell in record] for record in csv.reader(lines)]
    records = [record for record in records if any(record)]
    names = records.pop(0) if header else [str(position) for position in range(len(records[0]))]
    at = names.index(table.schema.target)
    labels = [record.pop(at) for record in records]
    for position, column in enumerate(table.schema.columns):
        cells = [record[position] for record in records]
        if column.type == "numeric":
            expected = np.array(cells, np.float64).astype(np.float32)
            np.testing.assert_array_equal(table.rows[:, position], expected)
            continue
        meant = [column.categories[int(code)] for code in table.rows[:, position]]
        if isinstance(column.categories[0], str):
            cells = [cell.lower() for cell in cells] if column.type == "boolean" else cells
            assert meant == cells
        else:
            assert meant == [float(cell) for cell in cells]
    values = table.schema.classes
    meant = [values[int(label)] for label in table.labels]
    if isinstance(values[0], str):
        assert labels == meant
    else:
        assert [float(label) for label in labels] == meant
    assert set(table.labels) == {0, 1}


CELLS = st.sampled_from(
    [b"0", b"1", b"2.5", b"-1e3", b"x", b"", b" 1", b"nan", b"inf", b"1e300", b'"1"', b'"', b'"a\n']
)
SEPARATORS = st.sampled_from([b",", b",", b",", b"\n", b"\n", b"\r\n", b"\r", b"\0", b"\xff", b";"])
SCRAPS = st.lists(st.tuples(CELLS, SEPARATORS), max_size=30).map(
    lambda pairs: b"".join(cell + separator for cell, separator in pairs)
)


@st.composite
def nearly_sound_tables(draw: st.DrawFn) -> bytes:
    """A grid of numbers with at most two cells disturbed, with or without a header."""
    width = draw(st.integers(2, 4))
    row = st.lists(st.sampled_from([b"0", b"1"]), min_size=width, max_size=width)
    rows = draw(st.lists(row, min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 2))):
        draw(st.sampled_from(rows))[draw(st.integers(0, width - 1))] = draw(CELLS)
    if draw(st.booleans()):
        rows.insert(0, [b"a", b"y", b"c", b"d"][:width])
    line_end = draw(st.sampled_from([b"\n", b"\r\n"]))
    return line_end.join(map(b",".join, rows)) + draw(st.sampled_from([b"", line_end * 2]))


@settings(deadline=None)  # a shared machine may pause
@given(
    content=st.one_of(st.binary(max_size=200), SCRAPS, nearly_sound_tables()),
    target=st.sampled_from(["y", "0", 0, -1]),
    header=st.booleans(),
)
def test_any_bytes_end_in_a_table_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, target: str | int, header: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    try:
        table = read_table(path, target, Format(header=header, separator="comma", quote="double"))
    except UserError:
        return
    assert np.isfinite(table.rows).all()
    assert_read_as_by_the_standard_library(table, content, header)


SELECTIONS = st.builds(
    Selection,
    missing=st.sampled_from(["error", "drop", "impute"]),
    categorical=st.sampled_from([[], [0], ["a"]]),
    numeric=st.sampled_from([[], [0]]),
    drop=st.sampled_from([[], [0]]),
    positive=st.sampled_from([None, 1, "x"]),
    integer_categories=st.sampled_from([0, 10]),
)
FORMATS = st.builds(
    Format,
    header=st.sampled_from(["auto", True, False]),
    separator=st.sampled_from(["auto", "semicolon"]),
    quote=st.sampled_from(["auto", "single", "none"]),
    decimal=st.sampled_from(["auto", "comma"]),
    encoding=st.sampled_from(["auto", "utf-16", "latin-1", "cp1252"]),
)
PREFIXES = st.sampled_from([b"", b"\xff\xfe", b"\xef\xbb\xbf", b"PAR1", b"\x1f\x8b\x08\x00", b"PK"])


@settings(deadline=None, max_examples=300)  # a shared machine may pause
@given(
    content=st.one_of(st.binary(max_size=200), SCRAPS, nearly_sound_tables()),
    prefix=PREFIXES,
    packed=st.booleans(),
    target=st.sampled_from(["y", 0, -1]),
    format=FORMATS,
    selection=SELECTIONS,
)
def test_any_bytes_under_any_settings(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    prefix: bytes,
    packed: bool,
    target: str | int,
    format: Format,
    selection: Selection,
) -> None:
    """A table that is sound, an inspection, and batches; or a UserError; never anything else."""
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    content = prefix + content
    path.write_bytes(gzip.compress(content) if packed else content)
    with suppress(UserError):
        inspection_text(inspect_file(path, None, format, selection))
    try:
        table = read_table(path, target, format, selection)
    except UserError:
        return
    assert set(table.labels) == {0, 1}
    assert not np.isinf(table.rows).any()
    assert selection.missing == "impute" or not np.isnan(table.rows).any()
    schema = Schema.from_dict(json.loads(json.dumps(table.schema.to_dict())))
    assert schema == table.schema
    # The schema takes the table's own file again, and gives the same rows.
    again = list(read_for(schema, path, format, labels=True, batch_rows=3))
    np.testing.assert_array_equal(np.concatenate([batch.rows for batch in again]), table.rows)
    labels = [batch.labels for batch in again if batch.labels is not None]
    np.testing.assert_array_equal(np.concatenate(labels), table.labels)


@settings(deadline=None)  # a shared machine may pause
@given(
    rows=st.lists(
        st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 1)),
        min_size=2,
    ).filter(lambda rows: len({label for _, label in rows}) == 2)
)
def test_every_float32_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "exact.csv"
    path.write_text("".join(f"{value!r},{label}\n" for value, label in rows))
    table = read_csv(path, 1, header=False)
    assert table.rows[:, 0].tolist() == [value for value, _ in rows]
    assert table.labels.tolist() == [label for _, label in rows]
