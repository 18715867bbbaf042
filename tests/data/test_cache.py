"""Tables on disk: equal to those in memory, made once, never half-made."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.data.file import progress
from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.meaning import npy, store, survey
from normlab.data.meaning.cache import cached_table
from normlab.data.read import read_table, warn_once
from normlab.data.table import Table
from normlab.errors import UserError

N_ROWS = 2_000


@pytest.fixture(autouse=True)
def _several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files come in many batches too, as large ones do."""
    monkeypatch.setattr(survey, "BATCH_CELLS", 1)
    monkeypatch.setattr(survey, "FEWEST_ROWS", 100)
    monkeypatch.setattr("normlab.data.file.cells.READ_CELLS", 1_000)


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[Callable[[], Any]], list[str]]:
    """What a call logs as warnings."""

    def call(function: Callable[[], Any]) -> list[str]:
        caplog.clear()
        function()
        return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]

    return call


def columns(n_rows: int = N_ROWS) -> dict[str, list[Any]]:
    """Of every type, and of types that only the last rows tell."""
    random = np.random.default_rng(0)
    numbers = random.standard_normal(n_rows) * 1e3
    late = ["c"] * n_rows
    late[: n_rows - 1] = random.choice(["a", "b"], n_rows - 1).tolist()
    return {
        "number": numbers.tolist(),
        "precise": (numbers / 1e3 + 1.7e9).tolist(),  # coarse in float32
        "id": list(range(n_rows)),
        "few": random.integers(3, 6, n_rows).tolist(),
        "bit": random.integers(0, 2, n_rows).tolist(),
        "answer": random.choice(["Yes", "no", "YES"], n_rows).tolist(),
        "city": random.choice(["Köln", "Aix, sur", "Bern"], n_rows).tolist(),
        "late": late,
        "constant": ["x"] * n_rows,
        "zip": [f"0{i % 700}" for i in range(n_rows)],
        "y": np.where(numbers + 1e3 * random.standard_normal(n_rows) > 0, "sick", "well").tolist(),
    }


def written(path: Path, table: dict[str, list[Any]], kind: str) -> Path:
    frame = pl.DataFrame(table, strict=False)
    if kind == "parquet":
        path = path.with_suffix(".parquet")
        frame.write_parquet(path, row_group_size=300)
    elif kind == "gz":
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif kind == "semicolons":
        path.write_text(frame.write_csv(separator=";").replace(".", ","))
    elif kind == "padded":  # no number is read as one at once
        path.write_text(frame.write_csv().replace(",", " , "))
    else:
        frame.write_csv(path)
    return path


def with_gaps(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Missing values in all columns but the label, from the middle of the file on."""
    random = np.random.default_rng(1)
    gaps = {name: list(values) for name, values in table.items()}
    for name in gaps:
        for row in random.integers(N_ROWS // 2, N_ROWS, 20):
            if name != "y":
                gaps[name][row] = None
    return gaps


def assert_same(cached: Table, read: Table) -> None:
    assert cached.on_disk
    assert not read.on_disk
    np.testing.assert_array_equal(cached.rows, read.rows)
    np.testing.assert_array_equal(cached.labels, read.labels)
    assert cached.rows.dtype == cached.labels.dtype == np.float32
    for name in ("schema", "source", "sha256", "read_as"):
        assert getattr(cached, name) == getattr(read, name), name


@pytest.mark.parametrize("kind", ["csv", "gz", "parquet", "semicolons", "padded"])
@pytest.mark.parametrize("missing", ["error", "drop", "impute"])
def test_a_table_on_disk_equals_the_one_in_memory(
    tmp_path: Path, kind: str, missing: Any, warnings_of: Callable[..., list[str]]
) -> None:
    table = columns() if missing == "error" else with_gaps(columns())
    if kind in ("semicolons", "padded"):
        table["city"] = [c if c is None else c.replace(",", "") for c in table["city"]]
    path = written(tmp_path / "t.csv", table, kind)
    selection = Selection(missing=missing)
    warned = warnings_of(lambda: read_table(path, "y", selection=selection))
    assert len(warned) >= 2
    cache_dir = tmp_path / "cache"
    warn_once.cache_clear()
    first: list[Table] = []
    again = warnings_of(
        lambda: first.append(cached_table(path, "y", selection=selection, cache_dir=cache_dir))
    )
    assert again == warned
    read = read_table(path, "y", selection=selection)
    assert_same(first[0], read)
    assert_same(cached_table(path, "y", selection=selection, cache_dir=cache_dir), read)
    (folder,) = [f for f in cache_dir.iterdir() if f.is_dir()]
    assert sorted(f.name for f in folder.iterdir()) == ["labels.npy", "manifest.json", "rows.npy"]


cells = st.one_of(
    st.sampled_from(["", "NA", "0", "1", "yes", "no", "a", "b ", " 2.50", "1e400", "nan", "7"]),
    st.floats(-1e6, 1e6).map(repr),
    st.integers(-3, 3).map(str),
)


@given(
    rows=st.lists(st.tuples(cells, cells, st.sampled_from("01x")), min_size=1, max_size=12),
    repeats=st.integers(1, 30),
    missing=st.sampled_from(["error", "drop", "impute"]),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_cells_are(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    repeats: int,
    missing: Any,
) -> None:
    """The same table or the same refusal, however the batches cut the file."""
    folder = tmp_path_factory.mktemp("cells")
    path = folder / "t.csv"
    lines = [",".join(row) for row in rows[:-1] * repeats + rows[-1:]]
    path.write_text("\n".join(["p,q,y", *lines]) + "\n")
    selection = Selection(missing=missing)
    read = outcome(lambda: read_table(path, "y", selection=selection))
    cached = outcome(
        lambda: cached_table(path, "y", selection=selection, cache_dir=folder / "cache")
    )
    if isinstance(read, Table) and isinstance(cached, Table):
        assert_same(cached, read)
    else:
        assert cached == read
    shutil.rmtree(folder)


def outcome(read: Callable[[], Table]) -> Table | str:
    """The table, or why there is none."""
    try:
        return read()
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("column", "row", "cell"),
    [
        ("number", 1_500, "twelve"),
        ("number", 1_500, ""),
        ("number", 1_500, "1e39"),
        ("y", 1_800, ""),
        ("y", 1_800, "maybe"),
        ("constant", None, ""),
    ],
)
def test_refusals_are_those_of_a_table_in_memory(
    tmp_path: Path, kind: str, column: str, row: int | None, cell: str
) -> None:
    table = {name: list(map(str, values)) for name, values in columns().items()}
    for i in range(N_ROWS) if row is None else (row, row + 30):
        table[column][i] = cell
    path = written(tmp_path / "t.csv", table, kind)
    refusals = []
    for read in (read_table, lambda *a: cached_table(*a, cache_dir=tmp_path / "cache")):
        with pytest.raises(UserError) as refusal:
            read(path, "y")
        refusals.append(str(refusal.value))
    assert refusals[0] == refusals[1]
    assert [f.name for f in (tmp_path / "cache").iterdir() if f.suffix != ".lock"] == []


@pytest.mark.parametrize("text", ["p,y\n1,0\n2\n3,1\n", "p,y\n1,0\n2,1,5\n", 'p,y\n1,0\n"2,1\n'])
def test_malformed_files_are_refused_alike(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError) as expected:
        read_table(path, "y")
    with pytest.raises(UserError) as refusal:
        cached_table(path, "y", cache_dir=tmp_path / "cache")
    assert str(refusal.value) == str(expected.value)


def small(path: Path, shift: int = 0) -> Path:
    path.write_text("p,y\n" + "".join(f"{i + shift}.5,{i % 2}\n" for i in range(300)))
    return path


def entry(cache_dir: Path) -> Path:
    (folder,) = [f for f in cache_dir.iterdir() if f.is_dir()]
    return folder


def test_settings_and_files_have_tables_of_their_own(tmp_path: Path) -> None:
    path, cache_dir = small(tmp_path / "t.csv"), tmp_path / "cache"
    one = cached_table(path, "y", cache_dir=cache_dir)
    two = cached_table(path, "p", selection=Selection(positive="0.5"), cache_dir=cache_dir)
    cached_table(path, "y", Format(separator="comma"), cache_dir=cache_dir)
    cached_table(small(tmp_path / "u.csv"), "y", cache_dir=cache_dir)
    assert one.schema != two.schema
    assert sum(folder.is_dir() for folder in cache_dir.iterdir()) == 4


def test_the_cache_has_a_limit(tmp_path: Path) -> None:
    """Of four tables of 2.4 kB and a manifest each, those used least lately go."""
    cache_dir = tmp_path / "cache"
    paths = [small(tmp_path / f"{name}.csv") for name in "abcd"]
    for path in paths[:3]:
        cached_table(path, "y", cache_dir=cache_dir)
    for i, name in enumerate("abc"):
        for manifest in cache_dir.glob(f"{name}.csv-*/manifest.json"):
            os.utime(manifest, (i, i))
    used = cached_table(paths[0], "y", cache_dir=cache_dir)  # which makes b the oldest
    size = sum(file.stat().st_size for file in cache_dir.glob("a.csv-*/*"))
    cached_table(paths[3], "y", cache_dir=cache_dir, max_gb=2.5 * size / 1e9)
    kept = sorted(f.name[0] for f in cache_dir.iterdir() if f.is_dir())
    assert kept == ["a", "d"]
    assert used.rows.sum() == read_table(paths[0], "y").rows.sum()
    cached_table(paths[1], "y", cache_dir=cache_dir, max_gb=1e-9)
    assert [f.name[0] for f in cache_dir.iterdir() if f.is_dir()] == ["b"]  # the newest stays
    np.testing.assert_array_equal(used.rows, read_table(paths[0], "y").rows)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def without(manifest: Path, key: str) -> None:
    content = json.loads(manifest.read_text())
    del content[key]
    manifest.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / "rows.npy"),
        lambda folder: cut(folder / "labels.npy"),
        lambda folder: cut(folder / "manifest.json"),
        lambda folder: (folder / "rows.npy").unlink(),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_text('{"version": 0}'),
        lambda folder: without(folder / "manifest.json", "schema"),
        lambda folder: without(folder / "manifest.json", "messages"),
    ],
)
def test_a_damaged_table_is_made_anew(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path, cache_dir = small(tmp_path / "t.csv"), tmp_path / "cache"
    read = read_table(path, "y")
    assert_same(cached_table(path, "y", cache_dir=cache_dir), read)
    assert "2.4 kB on disk in" in caplog.text
    damage(entry(cache_dir))
    caplog.clear()
    assert_same(cached_table(path, "y", cache_dir=cache_dir), read)
    assert "the file has changed, or the cache is damaged" in caplog.text
    caplog.clear()
    assert_same(cached_table(path, "y", cache_dir=cache_dir), read)
    assert "converting" not in caplog.text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = written(tmp_path / "t.csv", columns(), kind)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    for stream, is_shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        cached_table(path, "y", cache_dir=tmp_path / f"cache {is_shown}")
        assert (f"converting {path.name}" in stream.getvalue()) == is_shown


def test_a_changed_file_is_converted_again(tmp_path: Path) -> None:
    path, cache_dir = small(tmp_path / "t.csv"), tmp_path / "cache"
    before = cached_table(path, "y", cache_dir=cache_dir)
    time = path.stat().st_mtime_ns
    small(path, 1)  # of the same size
    os.utime(path, ns=(time, time + 1))
    after = cached_table(path, "y", cache_dir=cache_dir)
    assert_same(after, read_table(path, "y"))
    np.testing.assert_array_equal(after.rows, before.rows + 1)  # which an older run still reads
    assert entry(cache_dir)


def test_a_disk_that_is_full_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(npy.NpyWriter):
        def append(self, rows: Any) -> None:
            self._wait()
            self._file.close()
            self._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
            super().append(rows)

    monkeypatch.setattr(store, "NpyWriter", Full)
    with pytest.raises(UserError, match=r"No space left on device.*data\.cache_dir"):
        cached_table(small(tmp_path / "t.csv"), "y", cache_dir=tmp_path / "cache")
    assert [f.suffix for f in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"Cannot write the converted table into .*cache"):
        cached_table(small(tmp_path / "t.csv"), "y", cache_dir=tmp_path / "cache")


def test_two_processes_make_one_table(tmp_path: Path, root: Path) -> None:
    path, cache_dir = small(tmp_path / "t.csv"), tmp_path / "cache"
    left = cache_dir / f".{'t.csv'}-left"
    left.mkdir(parents=True)
    code = (
        "import logging, sys; logging.basicConfig(level=20, format='%(message)s')\n"
        "from normlab.data.meaning.cache import cached_table\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"print(cached_table({str(path)!r}, 'y', cache_dir={str(cache_dir)!r}).rows.sum())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(root / "src")},
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outcomes = [process.communicate("\n", timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outcomes
    assert len({out for out, _ in outcomes}) == 1
    assert sum("converting into" in err for _, err in outcomes) == 1
    assert json.loads((entry_of(cache_dir) / "manifest.json").read_text())["shape"] == [300, 1]


def entry_of(cache_dir: Path) -> Path:
    (folder,) = [f for f in cache_dir.iterdir() if f.is_dir() and not f.name.startswith(".")]
    return folder


def test_rows_cannot_be_written_to(tmp_path: Path) -> None:
    table = cached_table(small(tmp_path / "t.csv"), "y", cache_dir=tmp_path)
    assert not table.rows.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        table.rows[0] = 1
    assert replace(table, source="x").on_disk
