"""What a run costs as more of them train as one, against a vmap loop written by hand.

    python -m benchmarks.stacks             # about ten minutes on two cores
    python -m benchmarks.stacks --picture docs/stacks.png

Runs of a net of 1-10-1 on 1,260 heart rates, batch 32, 5 epochs, each with its own split, initial
weights and order of rows, a validation and metrics at every epoch. For normlab the time is the
training's, logging into each run's folder included; the loop keeps its curves in memory.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks import sweeps, vmap_loop
from benchmarks.peers import RATE, UNITS
from benchmarks.rounds import in_turns, ratio

BATCH, EPOCHS = 32, 5
SIZES = (1, 8, 64, 256, 1024)
SETTINGS = [
    "experiment=heart_rate",
    "normalization=standardize",
    f"model.hidden=[{UNITS}]",
    "model.activation=relu",
    f"model.lr={RATE}",
    "data.split=random",
    f"data.batch_size={BATCH}",
    f"trainer.max_epochs={EPOCHS}",
    "trainer.accelerator=cpu",
]


def fused(n_runs: int) -> float:
    """Seconds of training for each of so many runs, as normlab reports them."""
    return sweeps.sweep("fused", n_runs, SETTINGS)[1]


def by_hand(n_runs: int) -> float:
    return vmap_loop.train(n_runs, EPOCHS, BATCH) / n_runs


def draw(path: Path, fused: list[float], by_hand: list[float]) -> None:
    """The cost of a run over the number of runs, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure((6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, costs, marker in (("normlab", fused, "o"), ("vmap loop by hand", by_hand, "s")):
        axes.loglog(SIZES, [1e3 * cost for cost in costs], marker=marker, label=name)
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.set_xlabel("runs trained as one")
    axes.set_ylabel("training of a run (ms)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="times each is measured")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the costs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'runs':>6}{'normlab':>14}{'by hand':>14}{'ratio':>20}")
    medians: list[list[float]] = [[], []]
    for size in SIZES:
        work: dict[str, Callable[[], float]] = {
            "fused": partial(fused, size),
            "by hand": partial(by_hand, size),
        }
        taken = in_turns(work, options.rounds)
        costs = [statistics.median(times) for times in taken.values()]
        for kept, cost in zip(medians, costs, strict=True):
            kept.append(cost)
        cells = "".join(f"{1e3 * cost:11.2f} ms" for cost in costs)
        print(f"{size:6,}{cells}{ratio(taken['fused'], taken['by hand'])!s:>20}", flush=True)
    if options.picture is not None:
        draw(options.picture, *medians)


if __name__ == "__main__":
    main()
