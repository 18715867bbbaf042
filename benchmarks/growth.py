"""How the time and the peak memory of a command grow with rows and with runs.

    python -m benchmarks growth             # about ten minutes on two cores
    python -m benchmarks growth --pictures docs

Whole commands in processes of their own: a run of one epoch at batch 8,192 over 10^3 to 10^7 rows
of one column, and a sweep of 1 to 1,024 runs of 20 epochs at batch 64. The slope is that of the
last three points on logarithmic axes: 1 is in proportion.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.processes import Used, new_folder, python
from benchmarks.rounds import Comparison, spread

ROWS = [10**k for k in range(3, 8)]
RUNS = [1, 4, 16, 64, 256, 1024]


def over_rows(rows: int) -> Used:
    return python(
        "train.py",
        "data=heart_rate",
        f"data.rows={rows}",
        "data.batch_size=8192",
        "trainer.max_epochs=1",
        f"hydra.run.dir={new_folder()}",
    )


def over_runs(runs: int) -> Used:
    return python(
        *("train.py", "-m", f"seed=range(0,{runs})"),
        *("trainer.max_epochs=20", f"hydra.sweep.dir={new_folder()}"),
    )


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the last three points on logarithmic axes, by least squares."""
    x, y = ([math.log(value) for value in values[-3:]] for values in (sizes, values))
    return statistics.linear_regression(x, y).slope


def draw(path: Path, unit: str, sizes: list[int], panels: dict[str, list[float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    for axes, (label, values) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.loglog(sizes, values, marker="o")
        axes.set_xlabel(unit)
        axes.set_ylabel(label)
        axes.set_title(f"slope of the last three: {slope(sizes, values):.2f}", fontsize="medium")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def measure(rounds: int, pictures: Path | None = None) -> Iterator[Comparison]:
    """Slopes, and a picture of each growth where a folder is given."""
    measured: list[tuple[str, list[int], Callable[[int], Used]]] = [
        ("rows", ROWS, over_rows),
        ("runs", RUNS, over_runs),
    ]
    for unit, sizes, once in measured:
        taken = [[once(size) for size in sizes] for _ in range(rounds)]
        panels = {
            "seconds": [[used.seconds for used in each] for each in taken],
            "peak memory (MB)": [[used.peak / 1e6 for used in each] for each in taken],
        }
        medians = {
            label: [statistics.median(column) for column in zip(*values, strict=True)]
            for label, values in panels.items()
        }
        for size, seconds, memory in zip(sizes, *medians.values(), strict=True):
            print(f"  {size:>10,} {unit}: {seconds:.1f} s, {memory:,.0f} MB", flush=True)
        for label, values in panels.items():
            slopes = spread([slope(sizes, each) for each in values])
            last = f"{sizes[-3]:,} to {sizes[-1]:,} {unit}"
            yield Comparison(f"slope of {label}, {last}", "in proportion: 1", slopes)
        if pictures is not None:
            draw(pictures / f"growth_{unit}.png", unit, sizes, medians)
