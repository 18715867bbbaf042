"""`normlab evaluate`: a table for people, JSON for machines, the figures of scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

import normlab
from normlab.cli import main
from normlab.inference.scores import METRICS

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def later(finished_run: Path, tmp_path: Path) -> Path:
    """A labelled file that the run has not seen, its columns in another order."""
    random = np.random.default_rng(7)
    rows = random.standard_normal((300, 3)) * [1, 10, 100] + [5, 50, 500]
    answer = np.where(rows[:, 0] + random.standard_normal(300) > 5, "yes", "no")
    frame = pl.DataFrame({"answer": answer, "c": rows[:, 2], "a": rows[:, 0], "b": rows[:, 1]})
    frame.write_csv(tmp_path / "later.csv")
    return tmp_path / "later.csv"


def evaluate(capfd: Captured, *arguments: object, status: int = 0) -> tuple[str, str]:
    capfd.readouterr()
    assert main(["evaluate", *map(str, arguments)]) == status
    output = capfd.readouterr()
    return output.out, output.err


def test_the_figures(finished_run: Path, later: Path, capfd: Captured) -> None:
    out, err = evaluate(capfd, finished_run, later, "--json", "--resamples", 200)
    found = json.loads(out)
    assert err == ""
    assert list(found["metrics"]) == list(METRICS)
    frame = pl.read_csv(later)
    labels = (frame["answer"] == "yes").to_numpy()
    p = normlab.load(finished_run).predict_proba(frame.drop("answer"))[:, 1].astype(np.float64)
    for name, expected in (
        ("loss", log_loss(labels, p)),
        ("accuracy", accuracy_score(labels, p > 0.5)),
        ("auroc", roc_auc_score(labels, p)),
    ):
        score = found["metrics"][name]
        assert score["value"] == pytest.approx(expected, abs=1e-6)
        assert score["low"] < score["value"] < score["high"]
    del found["metrics"]
    assert found == {
        "file": str(later), "rows": 300, "rows_left_out": 0, "positive_rows": int(labels.sum()),
        "threshold": 0.5, "resamples": 200, "interval": 0.95, "calibration_bins": 15,
    }  # fmt: skip
    out, _ = evaluate(capfd, finished_run, later, "--json", "--resamples", 0, "--threshold", 0.8)
    found = json.loads(out)["metrics"]
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(labels, p > 0.8), abs=1e-9)
    assert found["accuracy"]["low"] is None


def test_the_table(finished_run: Path, later: Path, capfd: Captured) -> None:
    out, err = evaluate(capfd, finished_run, later, "--resamples", 50)
    lines = out.splitlines()
    assert lines[0].startswith("later.csv: 300 rows, ")
    assert lines[0].endswith("answer = yes; threshold 0.5")
    assert [line[:20].strip() for line in lines[3:9]] == [n.replace("_", " ") for n in METRICS]
    assert lines[-1] == "50 resamples of the rows"
    assert err == ""
    assert evaluate(capfd, finished_run, later, "--resamples", 50)[0] == out


def test_the_rows_of_training_are_told(finished_run: Path, capfd: Captured) -> None:
    rows = finished_run.parent / "rows.csv"
    for model in (finished_run, finished_run / "checkpoints/best.ckpt"):
        _, err = evaluate(capfd, model, rows, "--resamples", 0)
        assert "trained on rows of this very file" in err


def test_one_class(finished_run: Path, later: Path, capfd: Captured) -> None:
    pl.read_csv(later).filter(pl.col("answer") == "no").write_csv(later)
    out, err = evaluate(capfd, finished_run, later, "--resamples", 10)
    assert out.splitlines()[5].split() == ["auroc", "-", "[-,", "-]"]
    assert "all rows are of one class" in err
    out, _ = evaluate(capfd, finished_run, later, "--resamples", 10, "--json")
    assert json.loads(out)["metrics"]["auroc"] == {"value": None, "low": None, "high": None}


def test_what_is_refused(finished_run: Path, later: Path, capfd: Captured) -> None:
    frame = pl.read_csv(later)
    frame.drop("answer").write_csv(later)
    _, err = evaluate(capfd, finished_run, later, status=1)
    assert err.startswith("normlab: later.csv, line 1: the header lacks 'answer'")
    frame.with_columns(answer=pl.lit("maybe")).write_csv(later)
    _, err = evaluate(capfd, finished_run, later, status=1)
    assert "line 2, column 'answer': 'maybe' is none of the values" in err
    _, err = evaluate(capfd, finished_run, later.with_name("nowhere.csv"), status=1)
    assert "no such file" in err
    for wrong in (["--resamples", "-1"], ["--threshold", "1"], ["--seed", "x"]):
        with pytest.raises(SystemExit) as exit_:
            main(["evaluate", str(finished_run), str(later), *wrong])
        assert exit_.value.code == 2
