"""Random files: in memory, on disk, predicted from, evaluated: one table or one refusal.

What a file should be read as is known from the values that it was written from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.data.file import cells
from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.file.records import Separator
from normlab.data.meaning import survey
from normlab.data.meaning.apply import read_for
from normlab.data.meaning.cache import cached_table
from normlab.data.meaning.frames import rows_of
from normlab.data.meaning.inspect import inspect_file
from normlab.data.meaning.inspect_text import inspection_text
from normlab.data.read import read_table
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError

SEPARATORS: dict[Separator, str] = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
GAPS = ["", "NA", "?", "nan", "  "]


@pytest.fixture(autouse=True)
def _several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "BATCH_CELLS", 1)
    monkeypatch.setattr(survey, "FEWEST_ROWS", 7)
    monkeypatch.setattr(cells, "READ_CELLS", 20)


@dataclass
class File:
    """A file's text, and what it is to be read as.

    Attributes:
        rows, labels: of a sound file, nan where a value is missing.
        values: the inputs' values by name, None where missing: as a table in memory.
        is_sound: whether it can be read.
    """

    text: str
    rows: np.ndarray
    labels: np.ndarray
    values: dict[str, list[Any]]
    is_sound: bool


NUMBERS = st.floats(-1e6, 1e6, width=32).map(lambda x: float(f"{x:.7g}"))
KINDS: dict[str, st.SearchStrategy] = {
    "number": NUMBERS,
    "whole": st.integers(-50, 400),
    "bit": st.integers(0, 1),
    "answer": st.sampled_from(["Yes", "no", "YES", "No"]),
    "word": st.sampled_from(["a", "B", "c d", "e,f", 'g"h', "i;j", "k\nl", "5 kg"]),
}


@st.composite
def files(draw: st.DrawFn) -> tuple[File, Format, Selection]:
    """A file of up to four inputs and a label, as carelessly written as files are."""
    separator = draw(st.sampled_from(list(SEPARATORS)))
    decimal = "." if separator == "comma" else draw(st.sampled_from(".,"))
    n_rows = draw(st.integers(2, 25))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    columns = [draw(st.lists(KINDS[kind], min_size=n_rows, max_size=n_rows)) for kind in kinds]
    for column in columns:
        for row in draw(st.lists(st.integers(0, n_rows - 1), max_size=2)):
            column[row] = None
    labels = [i % 2 for i in range(n_rows)]
    names = draw(st.sampled_from([["no", "yes"], ["0", "1"], ["b", "c"]]))

    def cell(value: Any) -> str:
        if value is None:
            return draw(st.sampled_from(GAPS))
        text = value if isinstance(value, str) else repr(value).replace(".", decimal)
        if {*text} & {SEPARATORS[separator], '"', "\n"} or draw(st.integers(0, 9)) == 0:
            return '"' + text.replace('"', '""') + '"'
        return " " * draw(st.integers(0, 1)) + text + " " * draw(st.integers(0, 1))

    header = [f"x{i}" for i in range(len(columns))]
    written = [[cell(column[row]) for column in columns] for row in range(n_rows)]
    table = [[*line, names[label]] for line, label in zip(written, labels, strict=True)]
    lines = [SEPARATORS[separator].join(line) for line in [[*header, "y"], *table]]
    for blank in draw(st.lists(st.sampled_from(["", "  ", ";" * 9]), max_size=2)):
        line = SEPARATORS[separator] * len(columns) if ";" in blank else blank
        lines.insert(draw(st.integers(0, len(lines))), line)
    is_sound = draw(st.integers(0, 3)) > 0
    if not is_sound:
        at = draw(st.integers(1, len(lines) - 1))
        lines[at] = draw(
            st.sampled_from(["z", lines[at] + SEPARATORS[separator] + "1", "inf" + lines[at]])
        )
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(lines) + draw(st.sampled_from(["", end, f"{end}   {end}"]))
    rows = np.array([[_meant(v, c) for v in c] for c in columns], np.float32).T
    selection = Selection(missing=draw(st.sampled_from(["error", "drop", "impute"])))
    sign = "comma" if decimal == "," else "point"
    format = Format(True, separator, decimal=sign, thousands="none")
    values = dict(zip(header, columns, strict=True))
    return File(text, rows, np.array(labels, np.float32), values, is_sound), format, selection


def _meant(value: Any, column: list[Any]) -> float:
    """The number or the code of a value."""
    known = sorted({v for v in column if v is not None})
    if value is None:
        return np.nan
    if not isinstance(value, str):
        return value
    answers = {v.lower() for v in known}
    return (value.lower() == "yes") if answers == {"no", "yes"} else known.index(value)


def outcome(read: Callable[[], Any]) -> Any:
    """What is read, or why nothing is."""
    try:
        return read()
    except UserError as error:
        return str(error)


@given(files())
@settings(max_examples=150, deadline=None)  # a shared machine may pause
def test_one_table_or_one_refusal(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[File, Format, Selection]
) -> None:
    file, format, selection = drawn
    folder = tmp_path_factory.mktemp("path")
    path = folder / "t.csv"
    path.write_bytes(file.text.encode())
    read = outcome(lambda: read_table(path, "y", format, selection))
    disk = outcome(lambda: cached_table(path, "y", format, selection, folder / "cache"))
    looked = outcome(lambda: inspection_text(inspect_file(path, "y", format, selection)))
    if isinstance(read, Table):
        assert_one(read, disk, path, format)
        assert looked.startswith("t.csv: ")
        if file.is_sound:
            assert_meant(read, file)
            if selection.missing != "drop":
                assert_same_in_memory(read, file)
    else:
        assert disk == read
        assert not (file.is_sound and is_readable(file, selection)), read
    shutil.rmtree(folder)


def is_readable(file: File, selection: Selection) -> bool:
    """Whether a sound file can be trained on under the policy for missing values."""
    missing = np.isnan(file.rows)
    if missing.all(0).any():
        return False
    kept = file.labels[~missing.any(1)] if selection.missing == "drop" else file.labels
    return len(set(kept)) == 2 and not (selection.missing == "error" and missing.any())


def assert_one(read: Table, disk: Table, path: Path, format: Format) -> None:
    """On disk, predicted from and evaluated."""
    assert disk.on_disk
    np.testing.assert_array_equal(disk.rows, read.rows)
    np.testing.assert_array_equal(disk.labels, read.labels)
    assert (disk.schema, disk.sha256, disk.read_as) == (read.schema, read.sha256, read.read_as)
    schema = Schema.from_dict(read.schema.to_dict())
    assert schema == read.schema
    for labels in (False, True):
        batches = list(read_for(schema, path, format, labels=labels, batch_rows=5))
        np.testing.assert_array_equal(np.concatenate([b.rows for b in batches]), read.rows)
        if labels:
            found = [batch.labels for batch in batches if batch.labels is not None]
            np.testing.assert_array_equal(np.concatenate(found), read.labels)


def assert_meant(read: Table, file: File) -> None:
    """The values that the file was written from."""
    kept = np.arange(len(file.rows))
    if read.schema.missing == "drop":
        kept = np.flatnonzero(~np.isnan(file.rows).any(1))
    if len(kept) == len(file.rows):  # else categories are those of the rows that are kept
        np.testing.assert_array_equal(read.rows, file.rows)
    np.testing.assert_array_equal(read.labels, file.labels[kept])


def assert_same_in_memory(read: Table, file: File) -> None:
    """A table in memory, of polars and as a dict."""
    np.testing.assert_array_equal(rows_of(read.schema, file.values), read.rows)
    frame = pl.DataFrame(file.values, strict=False)
    np.testing.assert_array_equal(rows_of(read.schema, frame), read.rows)


@given(files())
@settings(max_examples=60, deadline=None)
def test_parquet_and_text_are_one_table(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[File, Format, Selection]
) -> None:
    """The values as Parquet, in memory and on disk."""
    file, _, selection = drawn
    folder = tmp_path_factory.mktemp("path")
    path = folder / "t.parquet"
    values = {**file.values, "y": [str(int(label)) for label in file.labels]}
    pl.DataFrame(values, strict=False).write_parquet(path, row_group_size=6)
    read = outcome(lambda: read_table(path, "y", None, selection))
    disk = outcome(lambda: cached_table(path, "y", None, selection, folder / "cache"))
    if isinstance(read, Table):
        assert_one(read, disk, path, Format())
        assert_meant(read, file)
    else:
        assert disk == read
    shutil.rmtree(folder)
