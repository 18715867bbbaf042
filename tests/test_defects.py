"""A defect of the program in one run of a sweep: named at the end, and the others have trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from normlab.model.network import Network

Train = Callable[..., Any]
SWEEP = (
    "-m", "hydra.sweep.dir=sweep", "data.rows=100", "data.batch_size=50", "trainer.max_epochs=2",
    "trainer.enable_progress_bar=false",
)  # fmt: skip


def finished(tmp_path: Path) -> list[str]:
    return sorted(path.parent.name for path in tmp_path.glob("sweep/*/result.json"))


def assert_named(ended: Any, tmp_path: Path, jobs: dict[str, str], reason: str) -> None:
    """Each job with its overrides, the exception and a traceback that leads here."""
    assert ended.status == 1
    named = ended.err.partition("normlab: ")[2]
    assert named.count("job ") == len(jobs)
    for num, overrides in jobs.items():
        assert re.search(rf"job {num} \([^)]*{re.escape(overrides)}[^)]*\): {reason}", named)
        assert str(Path("sweep") / num / "traceback.txt") in named
        text = (tmp_path / "sweep" / num / "traceback.txt").read_text()
        assert "in broken\n" in text
        assert reason in text
    assert named.count(reason) == len(jobs)
    assert "Traceback" not in ended.err
    assert (tmp_path / "sweep/report.html").stat().st_mtime > 0
    assert {path.parent.name for path in tmp_path.rglob("traceback.txt")} == set(jobs)


@pytest.mark.parametrize(
    "how", [(), ("+trainer.gradient_clip_val=1.0",), ("hydra/launcher=basic",)]
)
def test_runs_that_cannot_be_trained_leave_the_others(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    """A stack among two, runs alone, and Hydra's own launcher; mended, the sweep goes on."""
    logits = Network.logits

    def broken(self: Network, inputs: Tensor) -> Tensor:
        if self.training and len(self.hidden) == 2:
            raise ZeroDivisionError("two layers")
        return logits(self, inputs)

    command = (*SWEEP, "model.hidden=[4,4],[4]", "seed=0,1", *how)
    with monkeypatch.context() as patched:
        patched.setattr(Network, "logits", broken)
        ended = train(*command)
    jobs = {"0": "model.hidden=[4,4] seed=0", "1": "model.hidden=[4,4] seed=1"}
    assert_named(ended, tmp_path, jobs, "ZeroDivisionError: two layers")
    assert finished(tmp_path) == ["2", "3"]

    again = train(*command)
    assert again.status == 0, again.err
    assert finished(tmp_path) == ["0", "1", "2", "3"]
    assert not list(tmp_path.rglob("traceback.txt"))


def test_what_a_user_can_mend_ends_the_sweep(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is no defect of a run: no other run would fare better."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr(Network, "logits", full)
    ended = train(*SWEEP, "seed=0,1")
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == "normlab: there: No space left on device"
    assert not list(tmp_path.rglob("traceback.txt"))
