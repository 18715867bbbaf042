"""`normlab predict`: what it writes, beside what the predictor says, and what it leaves undone."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import normlab
from normlab.cli import main
from normlab.data.file.columns import Selection
from normlab.data.read import read_table
from normlab.data.schema import Schema
from normlab.inference import predictions
from normlab.model.checkpoint import describe, weights_checkpoint
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.scalers import make_scaler

Predict = Callable[..., str]


@pytest.fixture
def predict(capfd: pytest.CaptureFixture[str]) -> Predict:
    def run(*arguments: object, status: int = 0) -> str:
        assert main(["predict", *map(str, arguments)]) == status
        return capfd.readouterr().err

    return run


def checkpoint(path: Path, schema: Schema, seed: int = 0) -> Path:
    """An untrained network of weights that answer now this, now that."""
    types = [column.type for column in schema.columns]
    encoder = None
    if not schema.is_numeric:
        sizes = [len(column.categories) for column in schema.columns]
        encoder = Encoder(types, sizes, 10, impute=schema.missing == "impute")
    torch.manual_seed(seed)
    n_numeric = types.count("numeric")
    network = Network(make_scaler("standardize", n_numeric), [5], encoder=encoder, seed=seed)
    rows = torch.randn(50, len(types)).abs() * 2
    network.fit(rows if encoder is None else rows.round().clamp(0, 1))
    torch.save(weights_checkpoint(describe(network, schema), network.state_dict(), 1), path)
    return path


def numbers_file(path: Path, n_rows: int = 500) -> pl.DataFrame:
    random = np.random.default_rng(0)
    columns = {f"x{i}": random.normal(0, 2, n_rows).round(3) for i in range(3)}
    frame = pl.DataFrame({"id": [f"{i:04}" for i in range(n_rows)], **columns})
    frame.write_csv(path)
    return frame


NUMBERS = Schema(("x0", "x1", "x2"), "answer", ("no", "yes"))


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
@pytest.mark.parametrize("id", [None, ["id"], ["x1", "id"]])
def test_probabilities_and_labels_stand_beside_the_rows(
    predict: Predict, tmp_path: Path, name: str, id: list[str] | None
) -> None:
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    frame = numbers_file(tmp_path / "rows.csv")
    out = tmp_path / name
    said = predict(model, tmp_path / "rows.csv", "-o", out, *(["--id", *id] if id else []))
    if name.endswith("parquet"):
        written = pl.read_parquet(out)
    else:
        written = pl.read_csv(out, schema_overrides={"id": pl.String})
    kept = frame.select(id or frame.columns)
    if id is not None and name.endswith("parquet") and "x1" in id:
        assert written["x1"].dtype == pl.Float64
    assert written.columns == [*kept.columns, "probability", "prediction"]
    assert written.select(kept.columns).equals(kept)
    predictor = normlab.load(model)
    expected = predictor.predict_proba(frame)[:, 1]
    np.testing.assert_allclose(written["probability"].to_numpy(), expected, rtol=1e-6)
    assert written["prediction"].to_list() == predictor.predict(frame).tolist()
    n_yes = (written["prediction"] == "yes").sum()
    assert 0 < n_yes < len(frame)
    assert (
        f"500 rows; probability of answer = yes; above 0.5 the prediction is yes ({n_yes}" in said
    )


def test_a_finished_run_and_its_own_file(
    predict: Predict, finished_run: Path, tmp_path: Path
) -> None:
    """With the label's column, and without it, to the same predictions."""
    rows = finished_run.parent / "rows.csv"
    predict(finished_run, rows, "-o", tmp_path / "a.csv")
    frame = pl.read_csv(rows)
    frame.select("c", "a", "b").write_parquet(tmp_path / "new.parquet")
    predict(finished_run, tmp_path / "new.parquet", "-o", tmp_path / "b.parquet")
    with_label, without = pl.read_csv(tmp_path / "a.csv"), pl.read_parquet(tmp_path / "b.parquet")
    assert with_label.columns == ["a", "b", "c", "answer", "probability", "prediction"]
    assert without.columns == ["c", "a", "b", "probability", "prediction"]
    assert with_label["prediction"].equals(without["prediction"])
    expected = normlab.load(finished_run).predict_proba(frame.drop("answer").to_numpy())[:, 1]
    np.testing.assert_allclose(without["probability"].to_numpy(), expected, rtol=1e-6)


def test_the_threshold_moves_the_labels_alone(predict: Predict, tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "m.ckpt", Schema(("x0", "x1", "x2"), "answer", (-1, 1)))
    numbers_file(tmp_path / "rows.csv")
    for name, threshold in (("half.csv", "0.5"), ("high.csv", "0.55")):
        predict(model, tmp_path / "rows.csv", "-o", tmp_path / name, "--threshold", threshold)
    half, high = (pl.read_csv(tmp_path / name) for name in ("half.csv", "high.csv"))
    assert half["probability"].equals(high["probability"])
    for frame, threshold in ((half, 0.5), (high, 0.55)):
        assert ((frame["probability"] > threshold) == (frame["prediction"] == 1)).all()
        assert set(frame["prediction"]) == {-1, 1}
    assert half["prediction"].sum() > high["prediction"].sum()


def mixed(tmp_path: Path, missing: str, train: str | None = None) -> Path:
    path = tmp_path / "train.csv"
    path.write_text(
        train or "age,city,smokes,label\n" + "30.5,Bonn,yes,a\n41,Köln,no,b\n?,,,a\n" * 9
    )
    given = Selection(missing=missing)  # type: ignore[arg-type]
    return checkpoint(tmp_path / "m.ckpt", read_table(path, "label", selection=given).schema)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_left_out_stay_in_their_place_without_a_prediction(
    predict: Predict, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normlab.data.meaning.apply.BATCH_CELLS", 8)  # two rows at once
    model = mixed(tmp_path, "drop")
    path, out = tmp_path / "new.csv", tmp_path / f"out.{suffix}"
    path.write_text("n,age,city,smokes\n0,1,Bonn,yes\n1,?,Bonn,no\n2,3,,no\n3,4,Rome,no\n4,NA,,\n")
    said = predict(model, path, "-o", out)
    assert "5 rows; probability" in said
    assert "3 rows have a missing value and no prediction" in said
    frame = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
    assert frame["n"].cast(pl.Int64).to_list() == [0, 1, 2, 3, 4]
    known = [True, False, False, True, False]
    assert frame["probability"].is_not_null().to_list() == known
    assert frame["prediction"].is_not_null().to_list() == known
    expected = normlab.load(model).predict_proba([[1, "Bonn", "yes"], [4, "Rome", "no"]])[:, 1]
    np.testing.assert_allclose(frame["probability"].drop_nulls(), expected, rtol=1e-6)


def test_an_imputing_model_predicts_every_row(predict: Predict, tmp_path: Path) -> None:
    model = mixed(tmp_path, "impute")
    (tmp_path / "new.csv").write_text("age,city,smokes\n?,Bonn,yes\n,,\nnan,Rome,NA\n 7 ,Köln,no\n")
    predict(model, tmp_path / "new.csv", "-o", tmp_path / "out.parquet")
    frame = pl.read_parquet(tmp_path / "out.parquet")
    rows = [[None, "Bonn", "yes"], [None, "Rome", None], [7, "Köln", "no"]]  # no blank row
    expected = normlab.load(model).predict_proba(rows)[:, 1]
    np.testing.assert_allclose(frame["probability"], expected, rtol=1e-6)
    assert frame["age"].to_list() == [None, None, 7.0]


def test_cells_stand_as_they_stood(predict: Predict, tmp_path: Path) -> None:
    """Zeros, quotes, separators, spaces, other signs: all as in the file."""
    model = checkpoint(tmp_path / "m.ckpt", Schema(("a", "b"), "y", ("no;", "yes")))
    text = 'note;a;b\n007;1,50;2\n"x;""y""";,5;+3\n;1e1;4,\n'
    (tmp_path / "new.csv").write_text(text)
    predict(model, tmp_path / "new.csv", "-o", tmp_path / "out.csv", "--decimal", "comma")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "note;a;b;probability;prediction"
    for line, given in zip(lines[1:], text.splitlines()[1:], strict=True):
        assert line.startswith(given + ";0,")
    frame = pl.read_csv(tmp_path / "out.csv", separator=";", decimal_comma=True)
    expected = normlab.load(model).predict_proba([[1.5, 2], [0.5, 3], [10, 4]])[:, 1]
    np.testing.assert_allclose(frame["probability"], expected, rtol=1e-6)
    assert frame["prediction"].to_list() == ["yes" if p > 0.5 else "no;" for p in expected]


def test_a_file_without_a_header(predict: Predict, tmp_path: Path) -> None:
    train = "".join(f"{i},{i % 7},{i % 2}\n" for i in range(40))
    (tmp_path / "train.csv").write_text(train)
    schema = read_table(tmp_path / "train.csv", 2).schema
    model = checkpoint(tmp_path / "m.ckpt", schema)
    (tmp_path / "new.csv").write_text("1.5,2\n3,4\n")  # without the label
    predict(model, tmp_path / "new.csv", "-o", tmp_path / "out.csv")
    frame = pl.read_csv(tmp_path / "out.csv")
    assert frame.columns == ["0", "1", "probability", "prediction"]
    expected = normlab.load(model).predict_proba([[1.5, 2], [3, 4]])[:, 1]
    np.testing.assert_allclose(frame["probability"], expected, rtol=1e-6)


def test_batches_and_late_text_change_nothing(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that is no plain number, far down, sends the rest of the file another way."""
    model = mixed(tmp_path, "impute")
    random = np.random.default_rng(0)
    ages = [str(age) for age in random.normal(40, 9, 3_000).round(2)]
    ages[2_500], ages[2_700] = "NA", " 41.5 "
    lines = [f"{age},{('Bonn', 'Köln')[i % 2]},no" for i, age in enumerate(ages)]
    (tmp_path / "new.csv").write_text("\n".join(["age,city,smokes", *lines, "", ""]))
    for name, cells in (("whole.parquet", 1 << 21), ("parts.parquet", 600)):
        monkeypatch.setattr("normlab.data.meaning.apply.BATCH_CELLS", cells)
        predict(model, tmp_path / "new.csv", "-o", tmp_path / name)
    whole, parts = (pl.read_parquet(tmp_path / f"{n}.parquet") for n in ("whole", "parts"))
    assert whole.drop("probability").equals(parts.drop("probability"))
    np.testing.assert_allclose(whole["probability"], parts["probability"], rtol=1e-5)
    expected = [None if age == "NA" else float(age) for age in ages]
    assert whole["age"].to_list() == expected
    predict(model, tmp_path / "new.csv", "-o", tmp_path / "id.csv", "--id", "city")
    thin = pl.read_csv(tmp_path / "id.csv")
    np.testing.assert_allclose(thin["probability"], whole["probability"], rtol=1e-5)


def test_standard_output(predict: Predict, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    numbers_file(tmp_path / "rows.csv")
    assert main(["predict", str(model), str(tmp_path / "rows.csv"), "-o", "-", "--id", "id"]) == 0
    output = capfd.readouterr()
    predict(model, tmp_path / "rows.csv", "-o", tmp_path / "out.csv", "--id", "id")
    assert output.out == (tmp_path / "out.csv").read_text()
    assert output.err.startswith("-: 500 rows")


def test_more_columns_and_renamed_ones(predict: Predict, tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    frame = numbers_file(tmp_path / "rows.csv")
    frame.select("x2", "id", "x1", "x0").write_csv(tmp_path / "other.csv")
    said = predict(model, tmp_path / "other.csv", "-o", tmp_path / "a.csv")
    assert "not used, for the model does not know them: 'id'" in said
    predict(model, tmp_path / "rows.csv", "-o", tmp_path / "b.csv")
    a, b = pl.read_csv(tmp_path / "a.csv"), pl.read_csv(tmp_path / "b.csv")
    assert a["probability"].equals(b["probability"])
    frame.rename({"x1": "X_1"}).write_csv(tmp_path / "renamed.csv")
    said = predict(model, tmp_path / "renamed.csv", "-o", tmp_path / "c.csv", status=1)
    assert said.startswith("normlab: renamed.csv, line 1: the header lacks 'x1', which the model")
    assert "Rename 'X_1' to 'x1'." in said
    assert "--header false" in said
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
@pytest.mark.parametrize("existing", [None, b"before"])
def test_an_error_after_some_batches_leaves_what_was(
    predict: Predict,
    tmp_path: Path,
    name: str,
    existing: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("normlab.data.meaning.apply.BATCH_CELLS", 400)
    written = []
    as_frame = predictions.Predictions._frame
    monkeypatch.setattr(
        predictions.Predictions, "_frame", lambda *given: written.append(1) or as_frame(*given)
    )
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    numbers_file(tmp_path / "rows.csv", 3_000)
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("3000,1,2,oops\n")
    if existing:
        (tmp_path / name).write_bytes(existing)
    before = sorted(tmp_path.iterdir())
    said = predict(model, tmp_path / "rows.csv", "-o", tmp_path / name, "--force", status=1)
    assert "line 3002, column 'x2': 'oops' is text" in said
    assert len(written) > 1
    assert sorted(tmp_path.iterdir()) == before
    assert not existing or (tmp_path / name).read_bytes() == existing


def test_what_is_refused_before_anything_is_done(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    frame = numbers_file(tmp_path / "rows.csv")
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    out.write_text("precious")
    before = sorted(tmp_path.iterdir())

    def refused(*arguments: object) -> str:
        said = predict(*arguments, status=1)
        assert said.startswith("normlab: ")
        assert "Traceback" not in said
        assert sorted(tmp_path.iterdir()) == before
        return said

    assert "exists: give another name, or --force" in refused(model, rows, "-o", out)
    assert "is the file to predict from" in refused(model, rows, "-o", rows, "--force")
    (tmp_path / "folder.csv").mkdir()
    before.append(tmp_path / "folder.csv")
    before.sort()
    assert "is a folder" in refused(model, rows, "-o", tmp_path / "folder.csv")
    assert "give one of .csv, .csv.gz, .parquet" in refused(model, rows, "-o", tmp_path / "a.xlsx")
    assert "there is no folder" in refused(model, rows, "-o", tmp_path / "no/a.csv")
    assert "no such file or folder" in refused(tmp_path / "nowhere", rows, "-o", tmp_path / "a.csv")
    assert "no such file" in refused(model, tmp_path / "nowhere.csv", "-o", tmp_path / "a.csv")
    said = refused(model, rows, "-o", tmp_path / "a.csv", "--id", "idd")
    assert "no column 'idd' to carry along. Did you mean 'id'?" in said
    said = refused(rows, rows, "-o", tmp_path / "a.csv")
    assert "no checkpoint that can be read safely" in said
    assert "A model is the folder of a run" in said
    assert out.read_text() == "precious"
    predict(model, rows, "-o", out, "--force")
    assert len(pl.read_csv(out)) == len(frame)
    said = predict(model, out, "-o", tmp_path / "a.csv", status=1)
    assert "has a column 'probability' already" in said
    predict(model, out, "-o", tmp_path / "a.csv", "--id", "id")


def test_a_link_is_written_through(predict: Predict, tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    numbers_file(tmp_path / "rows.csv")
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    predict(model, tmp_path / "rows.csv", "-o", tmp_path / "link.csv", "--force")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("id,x0")


def test_lists_go_to_parquet_alone(predict: Predict, tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    frame = numbers_file(tmp_path / "rows.csv", 3)
    frame.with_columns(tags=pl.Series([[1], [2, 3], []])).write_parquet(tmp_path / "rows.parquet")
    said = predict(model, tmp_path / "rows.parquet", "-o", tmp_path / "a.csv", status=1)
    assert "column 'tags' holds values of the type List(Int64), which CSV cannot" in said
    assert not (tmp_path / "a.csv").exists()
    predict(model, tmp_path / "rows.parquet", "-o", tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet")["tags"].to_list() == [[1], [2, 3], []]


def test_a_gzipped_file(predict: Predict, tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    numbers_file(tmp_path / "rows.csv")
    packed = gzip.compress((tmp_path / "rows.csv").read_bytes())
    (tmp_path / "rows.csv.gz").write_bytes(packed)
    for name in ("rows.csv", "rows.csv.gz"):
        predict(model, tmp_path / name, "-o", tmp_path / f"of-{name.replace('.', '-')}.csv")
    assert (tmp_path / "of-rows-csv.csv").read_bytes() == (
        tmp_path / "of-rows-csv-gz.csv"
    ).read_bytes()


@pytest.mark.parametrize("threshold", ["0", "1", "1.5", "nan", "half"])
def test_a_threshold_lies_between_0_and_1(threshold: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["predict", "m", "f", "-o", "o.csv", "--threshold", threshold])
    assert exit_.value.code == 2


def test_neither_lightning_nor_hydra_is_imported(tmp_path: Path) -> None:
    """The command itself, in an interpreter of its own; with `--help` not even torch."""
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    numbers_file(tmp_path / "rows.csv")
    arguments = ["predict", str(model), str(tmp_path / "rows.csv"), "-o", str(tmp_path / "o.csv")]
    program = (
        "import sys; from normlab.cli import main\n"
        "try: main(['predict', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'polars', 'numpy'} & sys.modules.keys()\n"
        f"assert main({arguments!r}) == 0\n"
        "heavy = {'lightning', 'hydra', 'omegaconf', 'pydantic', 'scipy', 'sklearn', 'onnx',"
        " 'torchmetrics', 'tensorboard', 'matplotlib', 'torch._dynamo'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_request_to_terminate_leaves_nothing(tmp_path: Path, name: str) -> None:
    """Sent when the first batch has been written, while the second never ends."""
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    numbers_file(tmp_path / "rows.csv", 10_000)
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["predict", str(model), str(tmp_path / "rows.csv"), "-o", str(out / name)]
    program = (
        "import sys, time; from normlab.cli import main\n"
        "from normlab.data.meaning import apply; apply.BATCH_CELLS = 4_000\n"
        "from normlab.inference.predictions import Predictions\n"
        "as_frame, n = Predictions._frame, []\n"
        "def slow(*given):\n"
        "    n.append(1)\n"
        "    if len(n) == 3: print('now', flush=True)\n"
        "    if len(n) >= 3: time.sleep(0.3)\n"
        "    return as_frame(*given)\n"
        "Predictions._frame = slow\n"
        f"sys.exit(main({arguments!r}))\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        assert [path.suffix for path in out.iterdir()] == [".partial"]
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert time.monotonic() - started < 30
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("kind", "share"), [("csv", 0.9), ("parquet", 0.5)])
def test_what_is_predicted_is_written_at_once(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, share: float
) -> None:
    """Frames do not pile up: when the last one is made, most others are in the file.

    That the reader's memory does not grow with the file is tested where it is written.
    """
    monkeypatch.setattr("normlab.data.meaning.apply.BATCH_CELLS", 40_000)
    model = checkpoint(tmp_path / "m.ckpt", NUMBERS)
    numbers_file(tmp_path / "rows.csv", 1_000_000)
    as_frame, sizes = predictions.Predictions._frame, []

    def recorded(*given: Any) -> pl.DataFrame:
        sizes.extend(path.stat().st_size for path in tmp_path.glob(".*.partial"))
        return as_frame(*given)

    monkeypatch.setattr(predictions.Predictions, "_frame", recorded)
    predict(model, tmp_path / "rows.csv", "-o", tmp_path / f"out.{kind}")
    assert len(sizes) > 50
    assert sizes[-1] > share * (tmp_path / f"out.{kind}").stat().st_size
