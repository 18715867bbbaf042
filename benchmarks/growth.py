"""How the time and the peak memory of a command grow with rows and with runs.

    python -m benchmarks.growth             # about ten minutes on two cores
    python -m benchmarks.growth --pictures docs

Whole commands in processes of their own: a run of one epoch at batch 8,192 over 10^3 to 10^7 rows
of one column, and a sweep of 1 to 1,024 runs of 20 epochs at batch 64. The slope is that of the
last three points on logarithmic axes: 1 is in proportion.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = [10**k for k in range(3, 8)]
RUNS = [1, 4, 16, 64, 256, 1024]


def command(*arguments: str) -> tuple[float, float]:
    """Seconds and peak memory (bytes) of `python train.py` with these arguments."""
    started = time.perf_counter()
    with open(os.devnull, "w") as silence:
        process = subprocess.Popen(
            [sys.executable, "train.py", *arguments], cwd=ROOT, stdout=silence, stderr=silence
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return time.perf_counter() - started, used.ru_maxrss * 1024.0  # Linux counts it in KiB


def over_rows(rows: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        return command(
            "data=heart_rate",
            f"data.rows={rows}",
            "data.batch_size=8192",
            "trainer.max_epochs=1",
            f"hydra.run.dir={folder}",
        )


def over_runs(runs: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        return command(
            "-m", f"seed=range(0,{runs})", "trainer.max_epochs=20", f"hydra.sweep.dir={folder}"
        )


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the last three points on logarithmic axes, by least squares."""
    x, y = ([math.log(value) for value in values[-3:]] for values in (sizes, values))
    return statistics.linear_regression(x, y).slope


def draw(path: Path, unit: str, sizes: list[int], measured: list[tuple[float, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    seconds, memory = ([one[i] for one in measured] for i in range(2))
    panels = (("seconds", seconds), ("peak memory (MB)", [value / 1e6 for value in memory]))
    for axes, (label, values) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.loglog(sizes, values, marker="o")
        axes.set_xlabel(unit)
        axes.set_ylabel(label)
        axes.set_title(f"slope of the last three: {slope(sizes, values):.2f}", fontsize="medium")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def measure(
    unit: str, sizes: list[int], once: Callable[[int], tuple[float, float]], rounds: int
) -> list[tuple[float, float]]:
    """Prints a line a size; medians of so many rounds."""
    print(f"{unit:>12}{'seconds':>10}{'peak memory':>14}")
    medians = []
    for size in sizes:
        seconds, memory = zip(*(once(size) for _ in range(rounds)), strict=True)
        medians.append((statistics.median(seconds), statistics.median(memory)))
        print(f"{size:12,}{medians[-1][0]:10.1f}{medians[-1][1] / 1e6:11.0f} MB", flush=True)
    slopes = [slope(sizes, [one[i] for one in medians]) for i in range(2)]
    print(f"{'slope':>12}{slopes[0]:10.2f}{slopes[1]:14.2f}")
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw rows.png, runs.png")
    options = parser.parse_args()
    for unit, sizes, once in (("rows", ROWS, over_rows), ("runs", RUNS, over_runs)):
        medians = measure(unit, sizes, once, options.rounds)
        if options.pictures is not None:
            draw(options.pictures / f"growth_{unit}.png", unit, sizes, medians)


if __name__ == "__main__":
    main()
