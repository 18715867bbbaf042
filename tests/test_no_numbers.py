"""Tables without a column of numbers: nothing to normalize, and all else as with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import normlab

Train = Callable[..., Any]
FAST = ("trainer.max_epochs=30", "trainer.enable_progress_bar=false")
TEXT, FLAGS = ("p", "q", "r"), ("n", "y")


def write_table(path: Path, words: tuple[str, ...]) -> None:
    """Two columns of words, the first of which is the label."""
    random = np.random.default_rng(0)
    cells = random.choice(words, (120, 2))
    lines = [f"{a},{b},{'ill' if a == words[0] else 'well'}" for a, b in cells]
    path.write_text("\n".join(["sex,town,label", *lines]))


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("words", [TEXT, FLAGS])
def test_a_run_learns_is_diagnosed_and_drawn(
    train: Train, tmp_path: Path, words: tuple[str, ...]
) -> None:
    write_table(tmp_path / "words.csv", words)
    ended = train(
        "data=csv", "data.path=words.csv", "data.target=label", "model.lr=0.1", *FAST,
        "hydra.run.dir=run",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert "Warning" not in ended.out + ended.err
    result = result_of(tmp_path / "run")
    assert result["test"]["accuracy"] == 1
    assert result["diagnosis"]["verdict"] in ("learnt", "still falling")
    assert result["diagnosis"]["warning"] is None
    assert result["diagnosis"]["start"]["features"] == {}
    model = normlab.load(tmp_path / "run")
    asked = [{"sex": word, "town": words[1]} for word in words[:2]]
    assert list(model.predict(asked)) == ["ill", "well"]
    tags = {
        value.tag
        for path in (tmp_path / "run").glob("events.out.tfevents.*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }
    assert {"run/diagnosis", "visuals/decision", "visuals/roc"} <= tags
    assert "visuals/inputs" not in tags  # of numbers alone


def test_a_sweep_over_normalizations_gives_one_and_the_same_net(
    train: Train, tmp_path: Path
) -> None:
    write_table(tmp_path / "words.csv", TEXT)
    ended = train(
        "-m", "data=csv", "data.path=words.csv", "data.target=label", *FAST,
        "normalization=none,standardize,batchnorm,quantile", "seed=0,1", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    losses = [result_of(tmp_path / f"sweep/{job}")["train"]["loss"] for job in range(8)]
    for seed in (0, 1):
        assert losses[seed::2] == pytest.approx([losses[seed]] * 4, rel=1e-5)
    assert (tmp_path / "sweep/report.md").exists()
