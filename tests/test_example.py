"""`normlab example`: the files that it writes, and what it never writes over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from normlab.cli import main
from normlab.cli.example import EXAMPLES
from normlab.data.load import load_table
from normlab.data.meaning.inspect import inspect_file
from normlab.data.read import read_table

Train = Callable[..., Any]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_file_is_the_same_for_everyone(name: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        assert main(["example", str(folder / name)]) == 0
    assert (tmp_path / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_the_rates_are_those_of_the_synthetic_law(tmp_path: Path, settings: Callable) -> None:
    """To the bit, so that a run on the file is a run on data=heart_rate."""
    main(["example", str(tmp_path / "rates.csv")])
    read, made = read_table(tmp_path / "rates.csv", "label"), load_table(settings())
    np.testing.assert_array_equal(read.rows, made.rows)
    np.testing.assert_array_equal(read.labels, made.labels)
    assert read.schema.features == ("heart_rate",)
    assert len(read.rows) == 1_800


def test_the_patients_have_columns_of_all_kinds(tmp_path: Path) -> None:
    main(["example", str(tmp_path / "patients.csv")])
    found = inspect_file(tmp_path / "patients.csv", "disease")
    kinds = {summary.name: summary.type for summary in found.inputs}
    gaps = {summary.name for summary in found.inputs if summary.missing}
    assert kinds["exercise_pain"] == "boolean"
    assert kinds["chest_pain"] == kinds["sex"] == "categorical"
    assert kinds["age"] == kinds["platelets"] == "numeric"
    assert {kinds[name] for name in gaps} == {"numeric", "boolean", "categorical"}
    assert [value for value, _ in found.classes] == ["No", "Yes"]
    frame = pl.read_csv(tmp_path / "patients.csv")
    assert 300 <= len(frame) <= 500
    assert frame["patient"].n_unique() == len(frame)
    deviations = np.nanstd(frame.select("platelets", "creatinine").to_numpy(), axis=0)
    assert deviations[0] / deviations[1] > 1e4


def test_a_model_tells_who_is_ill(train: Train, tmp_path: Path) -> None:
    """Far better than a guess, and not to perfection."""
    main(["example", str(tmp_path / "patients.csv")])
    areas = []
    for seed in range(2):
        ended = train(
            "data=csv", "data.path=patients.csv", "data.target=disease", "data.drop=[patient]",
            "data.missing=impute", f"seed={seed}", f"hydra.run.dir=seed{seed}",
            "trainer.max_epochs=30", "trainer.enable_progress_bar=false",
        )  # fmt: skip
        assert ended.status == 0, ended.err
        result = json.loads((tmp_path / f"seed{seed}/result.json").read_text())
        areas.append(result["test"]["auroc"])
    assert 0.85 < np.mean(areas) < 0.99


def test_what_is_there_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("mine")
    assert main(["example", str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"normlab: {path} exists")
    assert "--force" in said
    assert path.read_text() == "mine"
    assert main(["example", str(path), "--force"]) == 0
    assert path.read_text().startswith("heart_rate,label\n")


@pytest.mark.parametrize("name", ["heart.csv", "rates", "rates.parquet", "."])
def test_an_unknown_name_is_answered_with_those_known(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["example", str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(known in said for known in EXAMPLES)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example", str(tmp_path / "data/rates.csv")]) == 1
    assert "there is no folder" in capsys.readouterr().err
