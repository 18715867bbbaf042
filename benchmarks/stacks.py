"""What a run costs as more of them train as one, against a vmap loop written by hand.

    python -m benchmarks stacks             # about ten minutes on two cores
    python -m benchmarks stacks --pictures docs

Runs of a net of 1-10-1 on 1,260 heart rates, batch 32, 5 epochs, each with its own split, initial
weights and order of rows, a validation and metrics at every epoch. For normlab the time is the
training's, logging into each run's folder included; the loop keeps its curves in memory.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks import sweeps, vmap_loop
from benchmarks.peers import RATE, UNITS
from benchmarks.rounds import Comparison, in_turns, ratio

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


def measure(rounds: int, pictures: Path | None = None) -> Iterator[Comparison]:
    torch.set_num_threads(1)
    medians: list[list[float]] = [[], []]
    for size in SIZES:
        work: dict[str, Callable[[], float]] = {
            "fused": partial(fused, size),
            "by hand": partial(by_hand, size),
        }
        taken = in_turns(work, rounds)
        for kept, times in zip(medians, taken.values(), strict=True):
            kept.append(statistics.median(times))
        mine, other = (1e3 * costs[-1] for costs in medians)
        print(f"  {size:,} runs: {mine:.2f} ms a run, by hand {other:.2f} ms")
        what = f"training of {size:,} runs as one, batch {BATCH}"
        over = ratio(taken["fused"], taken["by hand"])
        yield Comparison(what, "vmap loop by hand", over, 1.5 if size == 256 else None)
    if pictures is not None:
        draw(pictures / "stacks.png", *medians)
