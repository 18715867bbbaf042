"""2.040 is two or two thousand: a file that does not tell is refused, one that does is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import datasets

import normlab

Train = Callable[..., Any]
FAST = ("trainer.max_epochs=1", "trainer.enable_progress_bar=false", "normalization=none")


@pytest.fixture
def trained(train: Train, tmp_path: Path) -> Callable[..., Path]:
    """A short training on a file: the run's folder."""

    def run(path: Path, *settings: str) -> Path:
        ended = train(
            *("data=csv", f"data.path={path}", "data.target=label", "hydra.run.dir=run"),
            *(*FAST, *settings),
        )
        assert ended.status == 0, ended.err
        return tmp_path / "run"

    return run


def write(
    path: Path,
    pays: Sequence[str],
    ages: Sequence[object] = (40, 51, 62, 73),
    separator: str = ";",
    n_rows: int = 60,
) -> Path:
    """Ages and pays, each list over and over again, and a label."""
    lines = [separator.join(["age", "pay", "label"])]
    for i in range(n_rows):
        pay = pays[i % len(pays)]
        pay = f'"{pay}"' if separator in pay else pay
        lines.append(separator.join([str(ages[i % len(ages)]), pay, str(i % 2)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def pay_of(said: str) -> tuple[float, float]:
    """The smallest and the largest pay of what `normlab inspect` prints."""
    (line,) = [line.split() for line in said.splitlines() if line.startswith("pay ")]
    assert (line[1], line[4]) == ("numeric", "to"), said
    return float(line[3]), float(line[5].rstrip(","))


PAYS = ["2.040", "2.821", "12.170", "875"]


@pytest.mark.parametrize(("separator", "sign"), [*product(";\t|", ".,"), (",", ".")])
def test_where_nothing_tells_it_is_asked(
    run_command: Callable[..., str], tmp_path: Path, separator: str, sign: str
) -> None:
    pays = [pay.replace(".", sign) for pay in PAYS]
    path = write(tmp_path / "t.csv", pays, separator=separator)
    said = run_command("inspect", path, "--target", "label", status=1)
    assert "column 'pay'" in said
    assert repr(pays[0]) in said
    decimal = "comma" if sign == "," else "point"
    assert f"data.decimal={decimal}" in said
    # Said to be the decimal sign it is one.
    said = run_command("inspect", path, "--target", "label", "--decimal", decimal)
    assert pay_of(said) == (2.04, 875)


@pytest.mark.parametrize(
    "proof",
    [
        {"pays": [*PAYS, "0.500"]},  # no thousands begin with 0
        {"pays": [*PAYS, "-0.500"]},
        {"pays": [*PAYS, ".5"]},
        {"pays": [*PAYS, "3.25"]},  # other than three digits behind it
        {"pays": [*PAYS, "3.2501"]},
        {"pays": [*PAYS, "1234.500"]},  # more than three before it
        {"pays": [*PAYS, "1.500e2"]},
        {"pays": [*PAYS, "1000"]},  # thousands without a sign in this column
        {"pays": PAYS, "ages": [40.5, 51, 62]},  # in another column
    ],
)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("sign", [".", ","])
def test_a_number_that_can_only_be_a_fraction_tells(
    run_command: Callable[..., str], tmp_path: Path, proof: dict[str, Any], sign: str, late: bool
) -> None:
    """Anywhere in the file."""
    given: dict[str, Any] = {
        name: [str(cell).replace(".", sign) for cell in cells] for name, cells in proof.items()
    }
    n_before = 1_000 if late else 0
    path = write(tmp_path / "t.csv", [pay.replace(".", sign) for pay in PAYS], n_rows=n_before)
    further = write(tmp_path / "further.csv", **given).read_text().partition("\n")[2]
    path.write_text(path.read_text() + further)
    low, high = pay_of(run_command("inspect", path, "--target", "label"))
    pays = [float(pay) for pay in [*PAYS, *proof["pays"]]]
    assert (low, high) == pytest.approx((min(pays), max(pays)))


@pytest.mark.parametrize(
    ("pays", "ages"),
    [
        (PAYS, [4000, 5100, 6200]),  # whole numbers of another column tell nothing of this one's
        (PAYS, ["1.000", "2.000", "3"]),
        (["-2.040", "+2.821"], [40, 51]),
    ],
)
def test_what_does_not_tell(
    run_command: Callable[..., str], tmp_path: Path, pays: list[str], ages: list[object]
) -> None:
    path = write(tmp_path / "t.csv", pays, ages)
    assert "data.decimal=point" in run_command("inspect", path, "--target", "label", status=1)


def test_a_training_is_refused_before_anything_is_written(train: Train, tmp_path: Path) -> None:
    """In memory and on disk; not for a column that is no number's, or left out."""
    path = write(tmp_path / "t.tsv", [pay.replace(".", ",") for pay in PAYS], separator="\t")
    data = ("data=csv", f"data.path={path}", "data.target=label", *FAST)
    for more in ((), ("data.cache_dir=cache",), ("data.features=[pay]",)):
        ended = train(*data, *more)
        assert ended.status == 1
        assert "data.decimal=comma" in ended.err
        assert "Traceback" not in ended.err
        assert not list(tmp_path.rglob("*.npy"))
    for i, more in enumerate(
        ["data.decimal=comma", "data.drop=[pay]", "data.categorical=[pay]", "data.features=[age]"]
    ):
        ended = train(*data, more, f"hydra.run.dir={i}", "normalization=standardize")
        assert ended.status == 0, ended.err


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_tables_of_three_digits_are_read_without_a_question(
    run_command: Callable[..., str], tmp_path: Path, name: str
) -> None:
    loaded = getattr(datasets, f"load_{name}")()
    table = np.column_stack([loaded.data, loaded.target == 0])
    formats = ["%.3f"] * loaded.data.shape[1] + ["%d"]
    np.savetxt(tmp_path / "t.csv", table, formats, delimiter=",")
    said = run_command("inspect", tmp_path / "t.csv", "--target", "-1")
    assert said.startswith(f"t.csv: {len(table)} rows x {table.shape[1]} columns")


@pytest.mark.parametrize(
    "name", ["heart.csv", "magic.csv", "phoneme.csv", "wheat-seeds.csv", "wine_red_semicolon.csv"]
)
def test_real_tables_are_read_without_a_question(
    run_command: Callable[..., str], real_table: Callable[[str], Path], name: str
) -> None:
    run_command("inspect", real_table(name), "--target", "-1")


def predictions(
    run_command: Callable[..., str], run: Path, path: Path, *options: str
) -> list[float]:
    run_command("predict", run, path, "-o", path.with_suffix(".parquet"), "--force", *options)
    return pl.read_parquet(path.with_suffix(".parquet"))["probability"].to_list()


NEW = {"age": [40.0, 51.0], "pay": [2.04, 2.821]}


@pytest.mark.parametrize(
    ("sign", "separator", "settings"),
    [
        (".", ";", ["data.decimal=point"]),
        (",", ";", ["data.decimal=comma"]),
        (",", ",", ["data.decimal=comma"]),
        (".", ",", []),
    ],
)
def test_a_model_reads_later_files_as_its_own(
    trained: Callable[..., Path],
    run_command: Callable[..., str],
    tmp_path: Path,
    sign: str,
    separator: str,
    settings: list[str],
) -> None:
    """What was said of the training file, or seen in it, is not asked again of a few rows."""
    pays = [pay.replace(".", sign) for pay in (PAYS if settings else [*PAYS, "0.5"])]
    run = trained(write(tmp_path / "t.csv", pays, separator=separator), *settings)
    new = write(tmp_path / "new.csv", [pay.replace(".", sign) for pay in PAYS[:2]], [40, 51],
                separator, 2)  # fmt: skip
    expected = normlab.load(run).predict_proba(pl.DataFrame(NEW))[:, 1]
    assert predictions(run_command, run, new) == pytest.approx(expected.tolist())
    run_command("evaluate", run, tmp_path / "t.csv", "--resamples", 0)


def test_a_later_file_that_contradicts(
    trained: Callable[..., Path], run_command: Callable[..., str], tmp_path: Path
) -> None:
    """The training file never had three digits behind its sign; a later one has nothing else."""
    run = trained(write(tmp_path / "t.csv", ["2040.74", "2821.5", "875"], separator=","))
    new = write(tmp_path / "new.csv", PAYS[:2], [40, 51], n_rows=2)
    out = tmp_path / "out.csv"
    for command in (("predict", run, new, "-o", out), ("evaluate", run, new)):
        said = run_command(*command, status=1)
        assert "column 'pay': '2.040'" in said
        assert "--decimal point" in said
        assert not out.exists()
    expected = normlab.load(run).predict_proba(pl.DataFrame(NEW))[:, 1].tolist()
    assert predictions(run_command, run, new, "--decimal", "point") == pytest.approx(expected)
    # The other sign, which may mark thousands; and with it numbers that can be fractions alone.
    write(new, [pay.replace(".", ",") for pay in PAYS[:2]], [40, 51], n_rows=2)
    assert "--decimal comma" in run_command("predict", run, new, "-o", out, status=1)
    write(new, ["2,04", "2,821"], [40, 51], n_rows=2)
    assert predictions(run_command, run, new) == pytest.approx(expected)
    # Both signs: that of training is proven, so that the other can mark thousands alone.
    write(new, ["2040.5", "2,821"], [40, 51], n_rows=2)
    table = pl.DataFrame({"age": [40.0, 51.0], "pay": [2040.5, 2821]})
    expected = normlab.load(run).predict_proba(table)[:, 1].tolist()
    assert predictions(run_command, run, new) == pytest.approx(expected)


def test_the_sign_of_training_holds_where_the_first_rows_have_none(
    trained: Callable[..., Path], run_command: Callable[..., str], tmp_path: Path
) -> None:
    run = trained(write(tmp_path / "t.csv", ["20,5", "30,25", "40"]))
    new = write(tmp_path / "new.csv", ["20"] * 1_000 + ["20,5"], [40], n_rows=1_001)
    expected = normlab.load(run).predict_proba({"age": [40.0], "pay": [20.5]})[:, 1]
    assert predictions(run_command, run, new)[-1] == pytest.approx(expected[0])
