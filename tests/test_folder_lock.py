"""Two processes in one folder: one trains, the other says who does, and nothing is lost."""

from __future__ import annotations

import csv
import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fork_server import QUIET, ForkServer, Started

Train = Callable[..., Any]
ENDLESS = (QUIET, "trainer.max_epochs=20000", "data.rows=60", "checkpoint.every_n_seconds=0")
RUN, SWEEP = ".run.lock", ".sweep.lock"


def wait_for(path: Path, run: Started) -> None:
    while not path.exists():
        assert run.running(), run.text
        time.sleep(0.005)


def content(folder: Path) -> dict[Path, bytes]:
    """Of all files below, in a moment when nobody writes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def epochs(run: Path) -> list[int]:
    with (run / "metrics.csv").open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def assert_refused(second: Started, folder: str, first: Started) -> None:
    assert second.wait() == 1, second.text
    *_, line = second.text.splitlines()
    assert line.startswith("normlab: ")
    assert f"{folder} is in use by process {first.pid}" in line


def test_a_runs_folder_is_its_own_until_it_ends(forks: ForkServer, tmp_path: Path) -> None:
    """Against a second run and against resume=; after a SIGKILL it is free."""
    first = forks.run(*ENDLESS, "hydra.run.dir=run", cwd=tmp_path)
    wait_for(tmp_path / "run/checkpoints/last.ckpt", first)
    started = {path: path.read_bytes() for path in tmp_path.glob("run/.hydra/*")}
    others = [
        forks.run(QUIET, "seed=1", "hydra.run.dir=run", cwd=tmp_path),
        forks.run("resume=run", "trainer.max_epochs=30000", cwd=tmp_path),
    ]
    for other in others:
        assert_refused(other, "run", first)
    assert first.running()
    assert {path: path.read_bytes() for path in tmp_path.glob("run/.hydra/*")} == started
    first.kill()
    assert first.wait() == -9
    reached = max(epochs(tmp_path / "run"))
    again = forks.run("resume=run", f"trainer.max_epochs={reached + 100}", cwd=tmp_path)
    assert again.wait() == 0, again.text
    assert epochs(tmp_path / "run") == list(range(1, reached + 101))
    assert not list(tmp_path.rglob("*.lock"))


HESITATES = """
import time
import normlab.app
at_once = normlab.app.run
def run(config):
    time.sleep(0.5)
    return at_once(config)
normlab.app.run = run
"""


def test_of_runs_that_start_at_once_one_trains(forks: ForkServer, tmp_path: Path) -> None:
    """Before any of them has written its settings."""
    arguments = (QUIET, "trainer.max_epochs=20", "data.rows=60", "hydra.run.dir=run")
    runs = [forks.run(*arguments, cwd=tmp_path, first=HESITATES) for _ in range(3)]
    assert sorted(run.wait() for run in runs) == [0, 1, 1]
    assert epochs(tmp_path / "run") == list(range(1, 21))
    (winner,) = (run for run in runs if run.wait() == 0)
    for run in runs:
        if run is not winner:
            assert_refused(run, "run", winner)


def test_a_sweeps_folder_and_its_runs_are_its_own(forks: ForkServer, tmp_path: Path) -> None:
    """Two runs in one stack, which writes into both their folders."""
    command = ("-m", *ENDLESS, "seed=0,1", "hydra.sweep.dir=sweep")
    first = forks.run(*command, cwd=tmp_path)
    wait_for(tmp_path / "sweep/0/checkpoints/last.ckpt", first)
    record = (tmp_path / "sweep/multirun.yaml").read_bytes()
    others = [
        forks.run(*command, cwd=tmp_path),
        forks.run("resume=sweep", cwd=tmp_path),
        forks.run("resume=sweep/1", cwd=tmp_path),
    ]
    for other in others:
        assert_refused(other, "sweep", first)
    assert (tmp_path / "sweep/multirun.yaml").read_bytes() == record
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == [
        SWEEP, "0", "1", "multirun.yaml",
    ]  # fmt: skip
    first.kill()
    assert first.wait() == -9
    reached = max(epochs(tmp_path / "sweep/0"))
    again = forks.run("resume=sweep", f"trainer.max_epochs={reached + 1}", cwd=tmp_path)
    assert again.wait() == 0, again.text


def test_a_file_system_without_locks_is_said_and_trains(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network's are."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    ended = train(QUIET, "trainer.max_epochs=1", "data.rows=60", "hydra.run.dir=run")
    assert ended.status == 0, ended.err
    assert "run: its file system has no locks" in ended.out + ended.err
    assert (tmp_path / "run/result.json").exists()
    assert not list(tmp_path.rglob("*.lock"))


def test_a_folder_that_cannot_be_written_is_one_message(train: Train, tmp_path: Path) -> None:
    """A folder stands where the lock's file would."""
    (tmp_path / "run" / RUN).mkdir(parents=True)
    ended = train(QUIET, "hydra.run.dir=run")
    assert ended.status == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("normlab: Cannot write ")
    assert RUN in line
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RUN]
