"""From the shell to an answer: each command against the bare import of what it needs.

    python -m benchmarks.startup            # about three minutes on two cores

Whole processes, in turns. A run's first step is when its first epoch, of one step, is logged.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from benchmarks.rounds import Comparison, in_turns, ratio

ROOT = Path(__file__).resolve().parents[1]
AIMS = {
    "--help": "at most 1 s more",
    "a wrong setting": "at most 1 s more",
    "the first step": "at most 1.3",
}
RUN = ["train.py", "data.batch_size=null", "trainer.max_epochs=1", "trainer.accelerator=cpu"]


def process(*arguments: str, status: int = 0) -> float:
    """Seconds of a whole Python process."""
    started = time.perf_counter()
    ended = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    assert ended.returncode == status, ended.stderr
    return seconds


def to_first_step() -> float:
    """Seconds until the first epoch of a run is logged."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        process(*RUN, f"hydra.run.dir={folder}")
        (file,) = Path(folder).glob("events.*")
        events = EventFileLoader(str(file)).Load()
        return next(event.wall_time for event in events if event.step == 1) - started


def predicting(run: Path, rows: Path, out: Path) -> Callable[[], float]:
    """`normlab predict` on ten rows with the model of a run."""
    command = ["-m", "normlab.cli", "predict", str(run), str(rows), "-o", str(out), "--force"]
    return partial(process, *command)


def compared(folder: Path) -> dict[str, tuple[str, Callable[[], float], Callable[[], float]]]:
    """For each command: the imports to hold it against, itself, and they."""
    run, rows = folder / "run", folder / "rows.csv"
    process(*RUN, f"hydra.run.dir={run}")
    points = np.random.default_rng(0).normal(size=(10, 2))
    np.savetxt(rows, points, delimiter=",", header="x1,x2", comments="")
    settings, heavy = "import hydra, pydantic", "import lightning.pytorch"
    return {
        "--help": (settings, partial(process, "train.py", "--help"), imports(settings)),
        "a wrong setting": (
            settings,
            partial(process, "train.py", "model.lr=fast", status=1),
            imports(settings),
        ),
        "the first step": (heavy, to_first_step, imports(heavy)),
        "predict 10 rows": (
            "import torch, polars",
            predicting(run, rows, folder / "predictions.csv"),
            imports("import torch, polars"),
        ),
    }


def imports(statement: str) -> Callable[[], float]:
    return partial(process, "-c", statement)


def measure(rounds: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        for name, (statement, command, bare) in compared(Path(folder)).items():
            taken = in_turns({"command": command, "bare": bare}, rounds)
            whole, least = (statistics.median(times) for times in taken.values())
            print(f"  {name}: {whole:.2f} s, {statement}: {least:.2f} s")
            over = ratio(taken["command"], taken["bare"])
            yield Comparison(f"{name} / `{statement}`", over, AIMS.get(name, ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="times each is measured")
    for comparison in measure(parser.parse_args().rounds):
        print(comparison, flush=True)


if __name__ == "__main__":
    main()
