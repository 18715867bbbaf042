"""Runs made to end in each verdict, and what the program says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normlab.diagnosis.text import diagnosis_text, verdict_lines

Train = Callable[..., Any]

QUIET = ("trainer.enable_progress_bar=false", "trainer.enable_checkpointing=false")
STUCK = ("experiment=heart_rate", "normalization=none", "trainer.max_epochs=250")


def diagnosis_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())["diagnosis"]


def write_noise(path: Path, n_rows: int = 120) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((n_rows, 8)).tolist()
    lines = [",".join([*map(repr, row), str(i % 2)]) for i, row in enumerate(rows)]
    path.write_text("\n".join([",".join([*"abcdefgh", "label"]), *lines]))


@pytest.mark.parametrize(
    ("expected", "overrides"),
    [
        ("learnt", ["experiment=circles", "trainer.max_epochs=300"]),
        ("still falling", ["normalization=standardize", "trainer.max_epochs=5", "model.lr=0.003"]),
        ("stuck", ["data=circles", "model.lr=1e-7", "trainer.max_epochs=12"]),
        ("diverged", ["model.optimizer=sgd", "model.lr=1e8", "trainer.max_epochs=10"]),
        (
            "overfitting",
            ["data=csv", "data.path=noise.csv", "data.target=label", "model.hidden=[64]",
             "trainer.max_epochs=60", "model.lr=0.03", "data.batch_size=16"],
        ),
    ],
)  # fmt: skip
def test_runs_made_to_end_so(
    train: Train, tmp_path: Path, expected: str, overrides: list[str]
) -> None:
    write_noise(tmp_path / "noise.csv")
    ended = train(*overrides, *QUIET)
    assert ended.status == (1 if expected == "diverged" else 0), ended.err
    diagnosis = diagnosis_of(ended.folder)
    assert diagnosis["verdict"] == expected, diagnosis
    lines = verdict_lines(diagnosis)
    assert ended.out.splitlines()[-len(lines) :] == lines
    assert bool(diagnosis["way_out"]) == (expected != "learnt")
    text = diagnosis_text(diagnosis)
    assert f"**Verdict: {expected}**" in text
    for step in diagnosis["way_out"]:
        assert step.replace("_", "\\_") in text


def test_raw_heart_rates_are_told_of_before_and_after(train: Train) -> None:
    """The net that stood still for thousands of epochs, and the one that learns."""
    raw = train(*STUCK, *QUIET)
    first, last = raw.out.splitlines()[0], raw.out.splitlines()[-2]
    assert diagnosis_of(raw.folder)["verdict"] == "stuck"
    assert (
        "inputs sit 17 standard deviations from zero ('heart_rate') and 3 of 4 hidden units start "
        "saturated: normalization=standardize or model.batchnorm=true mends it" in first
    )
    assert last.startswith("verdict: stuck: ")
    assert "17 standard deviations" in (raw.folder / "train.log").read_text()
    tidy = train("experiment=heart_rate", "trainer.max_epochs=250", "hydra.run.dir=tidy", *QUIET)
    assert "WARNING" not in tidy.out
    assert "stuck" not in tidy.out
    assert diagnosis_of(tidy.cwd / "tidy")["warning"] is None


def test_raw_scales_are_told_of_and_not_called_overfitting(train: Train, tmp_path: Path) -> None:
    """Salaries of a million beside ages: a loss in the thousands, which jumps."""
    random = np.random.default_rng(1)
    ages, labels = random.uniform(40, 60, 60), np.arange(60) % 2
    pay = random.normal(1.5e6, 2e5, 60).round() + 2e5 * labels
    lines = [f"{a:.2f},{p:.0f},{y}" for a, p, y in zip(ages, pay, labels, strict=True)]
    (tmp_path / "pay.csv").write_text("\n".join(["age,pay,label", *lines]))
    (tmp_path / "one.csv").write_text(
        "\n".join(
            ["pay,label", *(f"{p - 1.6e6:.0f},{y}" for p, y in zip(pay, labels, strict=True))]
        )
    )
    common = ("data=csv", "data.target=label", "trainer.max_epochs=40", *QUIET)
    for seed in range(3):
        for name in ("pay", "one"):  # the second is of one column, around 0: no warning at first
            raw = train(*common, f"data.path={name}.csv", "normalization=none", f"seed={seed}",
                        f"hydra.run.dir={name}{seed}")  # fmt: skip
            assert raw.status == 0, raw.err
            found = diagnosis_of(tmp_path / f"{name}{seed}")
            assert found["verdict"] in ("diverged", "still falling"), found
            assert found["way_out"][0] == "normalization=standardize"
            assert "'pay'" in found["reason"]
    tidy = train(*common, "data.path=pay.csv", "hydra.run.dir=tidy",
                 "early_stopping.patience=3", "model.lr=0.3")  # fmt: skip
    assert tidy.status == 0, tidy.err
    told = " ".join(diagnosis_of(tmp_path / "tidy")["way_out"])
    assert "normalization=standardize" not in told
    assert "patience=10" not in told


def test_switched_off(train: Train) -> None:
    ended = train(*STUCK, *QUIET, "diagnosis.enabled=false", "trainer.max_epochs=2")
    assert "WARNING" not in ended.out
    assert "verdict" not in ended.out
    assert diagnosis_of(ended.folder) is None
    header = (ended.folder / "metrics.csv").read_text().splitlines()[0]
    assert header == "epoch,lr,train/loss,train/accuracy,train/auroc"


def test_a_fused_sweep_warns_once_and_each_run_has_its_verdict(
    train: Train, tmp_path: Path
) -> None:
    ended = train("-m", "experiment=heart_rate", "normalization=none,standardize", "seed=0,1",
                  "trainer.max_epochs=250", "hydra.sweep.dir=sweep", *QUIET)  # fmt: skip
    assert ended.status == 0, ended.err
    assert ended.out.count("mends it") == 1
    assert "2 of 4 runs start from unsuitable inputs, as job 0: inputs sit 17" in ended.out
    assert "verdicts: 2 stuck, 2 still falling" in ended.out
    found = [diagnosis_of(tmp_path / "sweep" / str(job)) for job in range(4)]
    assert [one["warning"] is not None for one in found] == [True, True, False, False]
    assert [one["verdict"] for one in found[:2]] == ["stuck", "stuck"]
    assert not {"stuck", "diverged"} & {one["verdict"] for one in found[2:]}
    assert found[0]["end"]["units/saturated"] >= 0.75
