"""Groups of runs handed to submitit, whose local executor starts a process for each."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normlab.errors import UserError
from normlab.training.cluster import submit

Train = Callable[..., Any]

TWO_GROUPS = (
    "-m",
    "normalization=standardize,batchnorm",
    "seed=0,1",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "data.rows=200",
)
needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="submitit (extra [slurm]) is not installed"
)


def losses(sweep: Path, n_jobs: int = 4) -> list[dict[str, float]]:
    results = [sweep / str(job) / "result.json" for job in range(n_jobs)]
    return [json.loads(result.read_text())["test"] for result in results]


@needs_submitit
@pytest.mark.slow
def test_groups_train_in_processes_of_their_own(train: Train, tmp_path: Path) -> None:
    submitted = train(
        *TWO_GROUPS,
        "hydra.sweep.dir=submitted",
        "hydra.launcher.executor=submitit",
        "hydra.launcher.submitit.cluster=local",
    )
    assert submitted.status == 0, submitted.err
    assert train(*TWO_GROUPS, "hydra.sweep.dir=here").status == 0
    assert losses(tmp_path / "submitted") == losses(tmp_path / "here")
    # submitit keeps what each job printed: a file for each of the two processes
    assert len(list((tmp_path / "submitted" / ".submitit").glob("*_0_log.out"))) == 2
    assert (tmp_path / "submitted" / "report.html").exists()


@needs_submitit
@pytest.mark.slow
def test_plain_jobs_train_in_processes(train: Train, tmp_path: Path) -> None:
    two_jobs = [argument for argument in TWO_GROUPS if not argument.startswith("seed")]
    ended = train(*two_jobs, "hydra/launcher=processes", "hydra.sweep.dir=plain")
    assert ended.status == 0, ended.err
    figures = losses(tmp_path / "plain", n_jobs=2)
    assert all(set(part) == {"loss", "accuracy", "auroc"} for part in figures)


def test_an_unknown_executor_is_refused(train: Train, tmp_path: Path) -> None:
    ended = train(*TWO_GROUPS, "hydra.launcher.executor=cloud")
    assert ended.status == 1
    assert "hydra.launcher.executor=cloud: must be local or submitit" in ended.err
    assert not list(tmp_path.iterdir())


def test_submitit_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UserError, match=r"\[slurm\]"):
        submit(print, [1], {"folder": tmp_path})
