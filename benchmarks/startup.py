"""From the shell to an answer: each command against the bare import of what it needs.

    python -m benchmarks startup            # about three minutes on two cores

Whole processes, in turns. A run's first step is when its first epoch, of one step, is logged.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from benchmarks.processes import python
from benchmarks.rounds import Comparison, in_turns, ratio, spread

# Seconds beyond the imports, but of the first step their multiple.
AIMS = {"--help": 1.0, "a wrong setting": 1.0, "the first step": 1.3}
RUN = [
    "train.py",
    "data=circles",
    "data.batch_size=null",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
]


def seconds(*arguments: str, status: int = 0) -> float:
    """Of a whole Python process."""
    return python(*arguments, status=status).seconds


def to_first_step() -> float:
    """Seconds until the first epoch of a run is logged."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        python(*RUN, f"hydra.run.dir={folder}")
        (file,) = Path(folder).glob("events.*")
        events = EventFileLoader(str(file)).Load()
        return next(event.wall_time for event in events if event.step == 1) - started


def predicting(run: Path, rows: Path, out: Path) -> Callable[[], float]:
    """`normlab predict` on ten rows with the model of a run."""
    command = ["-m", "normlab.cli", "predict", str(run), str(rows), "-o", str(out), "--force"]
    return partial(seconds, *command)


def compared(folder: Path) -> dict[str, tuple[str, Callable[[], float], Callable[[], float]]]:
    """For each command: the imports to hold it against, itself, and they."""
    run, rows = folder / "run", folder / "rows.csv"
    python(*RUN, f"hydra.run.dir={run}")
    points = np.random.default_rng(0).normal(size=(10, 2))
    np.savetxt(rows, points, delimiter=",", header="x1,x2", comments="")
    settings, heavy = "import hydra, pydantic", "import lightning.pytorch"
    return {
        "--help": (settings, partial(seconds, "train.py", "--help"), imports(settings)),
        "a wrong setting": (
            settings,
            partial(seconds, "train.py", "model.lr=fast", status=1),
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
    return partial(seconds, "-c", statement)


def measure(rounds: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        for name, (statement, command, bare) in compared(Path(folder)).items():
            taken = in_turns({"command": command, "bare": bare}, rounds)
            whole, least = (statistics.median(times) for times in taken.values())
            print(f"  {name}: {whole:.2f} s, {statement}: {least:.2f} s")
            if name == "the first step":
                over = ratio(taken["command"], taken["bare"])
                yield Comparison("from the shell to the first step", statement, over, AIMS[name])
            else:
                more = spread([a - b for a, b in zip(*taken.values(), strict=True)])
                yield Comparison(
                    f"seconds of {name}, less the import", statement, more, AIMS.get(name)
                )
