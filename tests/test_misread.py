"""Cells that are easily read as something else: the same rows and values by every door.

A table is read in memory, converted to disk, predicted from and evaluated, each by code of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import normlab

Train = Callable[..., Any]
Doors = Callable[..., dict[str, int]]
FAST = ("trainer.max_epochs=1", "trainer.enable_progress_bar=false", "normalization=none")
N_ROWS = 60


@pytest.fixture
def trained(train: Train, tmp_path: Path) -> Callable[..., Path]:
    """A short training on a file: the run's folder."""

    def run(path: Path, *settings: str, name: str = "run") -> Path:
        arguments = ("data=csv", f"data.path={path}", f"hydra.run.dir={name}", *FAST, *settings)
        ended = train(*arguments)
        assert ended.status == 0, ended.err
        return tmp_path / name

    return run


@pytest.fixture
def rows_by_door(train: Train, run_command: Callable[..., str], tmp_path: Path) -> Doors:
    """How many rows each door reads, and of those that are left out for a missing value."""

    def count(path: Path, *settings: str) -> dict[str, int]:
        found = {}
        for name, more in (("memory", ()), ("disk", ("data.cache_dir=cache",))):
            ended = train(
                "data=csv", f"data.path={path}", f"hydra.run.dir={name}", *FAST, *settings, *more
            )
            assert ended.status == 0, ended.err
            (summary,) = [line for line in ended.out.splitlines() if line.startswith(path.name)][
                -1:
            ]
            found[name] = int(summary.removeprefix(f"{path.name}: ").split(" ")[0])
        for ending in ("csv", "parquet"):
            out = tmp_path / f"out.{ending}"
            run_command("predict", tmp_path / "memory", path, "-o", out, "--force")
            written = read(out)
            found[f"predicted .{ending}"] = len(written)
            found[f"empty .{ending}"] = written["prediction"].null_count()
        figures = json.loads(
            run_command("evaluate", tmp_path / "memory", path, "--json", "--resamples", 0)
        )
        found |= {"evaluated": figures["rows"], "left out": figures["rows_left_out"]}
        return found

    return count


def read(path: Path) -> pl.DataFrame:
    """What was written, with the text of its cells."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    separator = ";" if ";" in path.read_text() else ","
    return pl.read_csv(path, separator=separator, infer_schema=False)


def write(path: Path, header: str, rows: Sequence[Sequence[object]], separator: str = ",") -> Path:
    lines = [header, *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def numbers(n_rows: int = N_ROWS) -> list[list[object]]:
    """Two columns with two digits behind the sign, and a label of text."""
    drawn = np.random.default_rng(0).normal([50, 5], [9, 1], (n_rows, 2))
    return [[f"{a:.2f}", f"{b:.2f}", "ab"[i % 2]] for i, (a, b) in enumerate(drawn)]


@pytest.mark.parametrize(
    ("blank", "gap"), [("   ", ""), ("   ", "NA"), ("  ,\t, ", ""), ("  ,\t, ", "nan")]
)
def test_a_line_of_white_space_is_no_row(
    rows_by_door: Doors, tmp_path: Path, blank: str, gap: str
) -> None:
    """At the end and in the midst, beside a label of text, with and without a gap elsewhere."""
    rows = numbers()
    rows[5][1] = gap or rows[5][1]
    path = write(tmp_path / "t.csv", "x,y,label", [*rows[:30], [blank], *rows[30:], [blank]])
    found = rows_by_door(path, "data.target=label", "data.missing=impute")
    assert found.pop("left out") == found.pop("empty .csv") == found.pop("empty .parquet") == 0
    assert set(found.values()) == {N_ROWS}, found


@pytest.mark.parametrize(
    ("cell", "spelled"), [("-999,0", "-999"), ("-999", "-999.0"), ("-999,000", "'-999,0'")]
)
def test_a_number_that_means_missing_is_found_in_the_files_decimal_sign(
    rows_by_door: Doors,
    run_command: Callable[..., str],
    tmp_path: Path,
    cell: str,
    spelled: str,
) -> None:
    rows = [[str(cell).replace(".", ",") for cell in row] for row in numbers()]
    for row in rows[:6]:
        row[1] = cell
    path = write(tmp_path / "t.csv", "x;y;label", rows, ";")
    given = spelled.strip("'")
    found = rows_by_door(
        path, "data.target=label", "data.missing=drop", f"data.missing_values=[{spelled}]"
    )
    assert found["memory"] == found["disk"] == found["evaluated"] == N_ROWS - 6, found
    assert found["left out"] == found["empty .csv"] == found["empty .parquet"] == 6, found
    said = run_command("inspect", path, "--target", "label", f"--missing-values={given}")
    (line,) = [line.split() for line in said.splitlines() if line.startswith("y ")]
    assert line[2] == "6"
    assert float(line[3]) > 0  # the smallest value


TEXTS = ["01234", "1234", "1E5", "100000", "1.10", "1.1"]


@pytest.mark.parametrize("cache", [(), ("data.cache_dir=cache",)])
def test_what_is_called_categorical_keeps_its_text(
    trained: Callable[..., Path],
    run_command: Callable[..., str],
    tmp_path: Path,
    cache: tuple[str, ...],
) -> None:
    """Six texts that are three numbers: six shares, and six probabilities."""
    rows = [[text, 0.5, i % 2] for i, text in enumerate(TEXTS * 15)]
    path = write(tmp_path / "t.csv", "code,x,label", rows)
    said = run_command("inspect", path, "--target", "label", "--categorical", "code")
    assert "and 2 more" in said  # beside the four that are shown
    run = trained(path, "data.target=label", "data.categorical=[code]", *cache)
    run_command("predict", run, path, "-o", tmp_path / "out.csv")
    written = read(tmp_path / "out.csv")
    assert written["code"].to_list() == [row[0] for row in rows]
    pairs = written.select("code", pl.col("probability").cast(pl.Float64).round(5)).unique()
    assert sorted(pairs["code"]) == sorted(TEXTS)
    assert pairs["probability"].n_unique() == len(TEXTS)
    # A text that training has not seen is not taken for another one of the same value.
    model = normlab.load(run)
    seen, other, unseen = model.decision_function(
        {"code": ["1234", "1234.0", "ZZ"], "x": [0.5] * 3}
    )
    assert other == pytest.approx(unseen) != pytest.approx(seen)


@pytest.mark.parametrize("cache", [(), ("data.cache_dir=cache",)])
def test_ids_above_2_to_the_53_stay_apart(
    trained: Callable[..., Path],
    run_command: Callable[..., str],
    tmp_path: Path,
    cache: tuple[str, ...],
) -> None:
    """float64 merges every other one; from Parquet, CSV and tables in memory alike."""
    ids = [2**53 + i for i in range(4)]
    frame = pl.DataFrame({"id": ids * 20, "x": 0.5, "label": ["a", "b"] * 40})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    run = trained(tmp_path / "t.parquet", "data.target=label", "data.categorical=[id]", *cache)
    found = []
    for ending in ("parquet", "csv"):
        out = tmp_path / f"{ending}.parquet"
        run_command("predict", run, tmp_path / f"t.{ending}", "-o", out)
        found.append(pl.read_parquet(out)["probability"].round(5).to_list())
    found.append(normlab.load(run).predict_proba(frame)[:, 1].round(5).tolist())
    assert found[0] == found[1] == pytest.approx(found[2])
    assert len(set(found[0])) == 4


def test_a_float_of_parquet_is_the_whole_number_of_a_text_file(
    trained: Callable[..., Path], run_command: Callable[..., str], tmp_path: Path
) -> None:
    """pandas makes floats of whole numbers among gaps; a batch may hold whole ones alone."""
    values = [1.0, 2.0, 2.5, None] * 20
    frame = pl.DataFrame({"code": values, "x": 0.5, "label": ["a", "b"] * 40})
    frame.write_parquet(tmp_path / "t.parquet")
    run = trained(
        tmp_path / "t.parquet",
        *("data.target=label", "data.categorical=[code]", "data.missing=impute"),
    )
    write(tmp_path / "new.csv", "code,x", [["1", 0.5], ["2", 0.5], ["2.5", 0.5]])
    pl.DataFrame({"code": [1, 2], "x": 0.5}).write_parquet(tmp_path / "whole.parquet")
    expected = normlab.load(run).predict_proba(frame[:3])[:, 1]
    assert len(set(expected)) == 3
    for name, n in (("new.csv", 3), ("whole.parquet", 2), ("t.parquet", 3)):
        run_command("predict", run, tmp_path / name, "-o", tmp_path / "out.parquet", "--force")
        found = pl.read_parquet(tmp_path / "out.parquet")["probability"][:n]
        np.testing.assert_allclose(found.to_numpy(), expected[:n], rtol=1e-6)


@pytest.mark.parametrize("header", ["auto", "true"])
@pytest.mark.parametrize("index", [False, True])
def test_a_header_that_counts_is_no_row(
    trained: Callable[..., Path],
    run_command: Callable[..., str],
    tmp_path: Path,
    index: bool,
    header: str,
) -> None:
    """As pandas writes columns without names, with its index or without."""
    rows = [[a, b, int(label == "b")] for a, b, label in numbers()]
    indexed = [[i, *row] for i, row in enumerate(rows)]
    path = write(tmp_path / "t.csv", ",0,1,2" if index else "0,1,2", indexed if index else rows)
    assert run_command("inspect", path).startswith(f"t.csv: {N_ROWS} rows")
    drop = ("data.drop=[unnamed_0]",) if index else ()
    run = trained(path, "data.target=2", f"data.header={header}", *drop)
    figures = json.loads(run_command("evaluate", run, path, "--json", "--resamples", 0))
    assert (figures["rows"], figures["positive_rows"]) == (N_ROWS, N_ROWS // 2)
    first = [row[:2] for row in rows[:3]]
    expected = normlab.load(run).predict_proba(np.array(first, float))[:, 1]
    for i, (line, cells) in enumerate(
        [
            ("0,1", first),
            ("1,0", [row[::-1] for row in first]),
            ("more,1,0", [["x", *row[::-1]] for row in first]),
        ]
    ):
        new = write(tmp_path / f"new{i}.csv", line, cells)
        run_command("predict", run, new, "-o", tmp_path / f"out{i}.csv")
        found = read(tmp_path / f"out{i}.csv")["probability"].cast(pl.Float64)
        np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("header", "n_rows", "firsts"),
    [
        ("0,1", N_ROWS, ["0,0", "0,5", "1.5,0"]),  # a model of the one column "0"
        ("0,1,2", N_ROWS, ["0,0,1", "0,5,1"]),
        ("0,2,1", N_ROWS + 1, ["1,0", "1,0,2"]),  # that is a row
    ],
)
def test_rows_without_a_header_stay_rows(
    trained: Callable[..., Path],
    run_command: Callable[..., str],
    tmp_path: Path,
    header: str,
    n_rows: int,
    firsts: list[str],
) -> None:
    """Also where the model's own columns were counted by a header, or by none."""
    n_inputs = header.count(",")
    rows = [[*row[:n_inputs], int(row[-1] == "b")] for row in numbers()]
    path = write(tmp_path / "t.csv", header, rows)
    assert run_command("inspect", path).startswith(f"t.csv: {n_rows} rows")
    run = trained(path, f"data.target={n_inputs}")
    for first in firsts:
        new = write(tmp_path / "new.csv", first, [row[: first.count(",") + 1] for row in rows[:3]])
        run_command("predict", run, new, "-o", tmp_path / "out.csv", "--force")
        assert len(read(tmp_path / "out.csv")) == 4, first
