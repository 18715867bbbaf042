"""One guess, and one border of having learnt nothing, for verdict, skill and report alike."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Train = Callable[..., Any]
N, POSITIVE = 400, 44  # 11 %
ENTROPY = -(0.11 * math.log(0.11) + 0.89 * math.log(0.89))
BALANCED = (
    "data=csv", "data.path=rare.csv", "data.target=ill", "data.split=none",
    "model.pos_weight=balanced", "trainer.max_epochs=60", "trainer.enable_progress_bar=false",
)  # fmt: skip


@pytest.fixture
def rare(tmp_path: Path) -> None:
    """A label that two columns tell of, though not surely."""
    random = np.random.default_rng(0)
    labels = np.arange(N) < POSITIVE
    rows = random.standard_normal((N, 2)) + 1.2 * labels[:, None]
    lines = [f"{a!r},{b!r},{int(y)}" for (a, b), y in zip(rows.tolist(), labels, strict=True)]
    (tmp_path / "rare.csv").write_text("\n".join(["a,b,ill", *lines]))


def check(folder: Path) -> None:
    """The net that weighs both classes alike loses to the base rate, and has learnt nonetheless."""
    result = json.loads((folder / "result.json").read_text())
    guess = result["guess_loss"]
    assert guess == pytest.approx(math.log(2), abs=1e-9)  # it says one half of every row
    assert result["label_entropy"] == pytest.approx(ENTROPY, abs=1e-9)
    assert 0.98 * ENTROPY < result["train"]["loss"] < 0.98 * guess
    assert result["diagnosis"]["verdict"] in ("learnt", "still falling")
    with (folder / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    skill = float(last["train/skill"])
    assert skill == pytest.approx(1 - float(last["train/loss"]) / guess, abs=1e-6)
    assert skill > 0.02


@pytest.mark.usefixtures("rare")
def test_a_weighted_run(train: Train) -> None:
    ended = train(*BALANCED)
    assert ended.status == 0, ended.err
    check(ended.folder)
    assert f"label entropy {ENTROPY:.4f}" in ended.out
    assert f"{math.log(2):.4f} under model.pos_weight" in ended.out


@pytest.mark.usefixtures("rare")
def test_a_weighted_sweep_and_its_report(train: Train, tmp_path: Path) -> None:
    ended = train("-m", *BALANCED, "model.lr=0.01,1e-9", "seed=0,1",
                  "hydra.sweep.dir=sweep")  # fmt: skip
    assert ended.status == 0, ended.err
    for job in (0, 1):
        check(tmp_path / f"sweep/{job}")
    for job in (2, 3):
        result = json.loads((tmp_path / f"sweep/{job}/result.json").read_text())
        assert result["diagnosis"]["verdict"] == "stuck"
    markdown = (tmp_path / "sweep/report.md").read_text()
    rates = {row[1].strip(): row[3] for row in (
        line.split("|") for line in markdown.split("## Other")[0].splitlines()
    ) if len(row) > 4}  # fmt: skip
    assert rates["0.01"].strip().startswith("0 %")
    assert rates["1e-09"].strip().startswith("100 %")
