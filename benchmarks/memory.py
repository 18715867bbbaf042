"""The most memory that a training holds at once, against what people would use in its place.

    python -m benchmarks memory             # about three minutes on two cores

A process each, imports included: the trainings of `peers.py` for 20 epochs of mini-batches of 32,
and sweeps of 64 runs by the launchers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from benchmarks.peers import PEERS, normlab
from benchmarks.processes import python
from benchmarks.rounds import Comparison, ratio

EPOCHS, BATCH, RUNS = 20, 32, 64
LAUNCHERS = ("fused", "basic", "joblib")


def single(function: str) -> float:
    """Peak bytes of a process that trains with a function of `peers`."""
    code = f"from benchmarks import peers; peers.{function}({EPOCHS}, {BATCH})"
    return python("-c", code).peak


def sweep(launcher: str) -> float:
    """Of a sweep's command; of its largest process where it starts several."""
    with tempfile.TemporaryDirectory() as folder:
        return python(
            *("train.py", "-m", f"seed=range(0,{RUNS})", "trainer.max_epochs=5"),
            *(f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}"),
        ).peak


def measure(rounds: int) -> Iterator[Comparison]:
    functions = {"normlab": normlab.__name__, **{k: f.__name__ for k, f in PEERS.items()}}
    taken = {name: [single(function)] for name, function in functions.items()}
    for _ in range(rounds - 1):
        for name, function in functions.items():
            taken[name].append(single(function))
    for name, peaks in taken.items():
        print(f"  {name}: {min(peaks) / 1e6:,.0f} MB", flush=True)
    for peer in PEERS:
        yield Comparison("peak memory of a run", peer, ratio(taken["normlab"], taken[peer]))
    peaks = {launcher: [sweep(launcher)] for launcher in LAUNCHERS}
    for launcher, of in peaks.items():
        print(f"  {RUNS} runs, {launcher} launcher: {of[0] / 1e6:,.0f} MB", flush=True)
    for launcher in LAUNCHERS[1:]:
        what = f"peak memory of a sweep of {RUNS} runs"
        yield Comparison(what, f"{launcher} launcher", ratio(peaks["fused"], peaks[launcher]))
