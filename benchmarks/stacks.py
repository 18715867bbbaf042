"""What an epoch of a run costs as more runs train as one, against a vmap loop written by hand.

    python -m benchmarks stacks             # about ten minutes on two cores

Runs of a net of 1-10-1 on 1,260 heart rates, batch 32, each with its own split, initial weights and
order of rows, a validation and metrics at every epoch: the time of one more epoch, so that nothing
counts which is done once. normlab logs each epoch into each run's folder; the loop keeps curves.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks import sweeps, vmap_loop
from benchmarks.peers import THE_WORK
from benchmarks.rounds import Comparison, in_turns, ratio

BATCH = 32
FEW, MANY = 2, 42  # epochs
SIZES = (1, 8, 64, 256, 1024)
SETTINGS = [*THE_WORK, f"data.batch_size={BATCH}"]


def fused(n_runs: int, epochs: int) -> float:
    """Seconds of training for each of so many runs, as normlab reports them."""
    return sweeps.sweep("fused", n_runs, [*SETTINGS, f"trainer.max_epochs={epochs}"])[1]


def by_hand(n_runs: int, epochs: int) -> float:
    return vmap_loop.train(n_runs, epochs, BATCH) / n_runs


def of_an_epoch(train: Callable[[int, int], float], n_runs: int) -> float:
    """Seconds of one more epoch for each of so many runs."""
    return (train(n_runs, MANY) - train(n_runs, FEW)) / (MANY - FEW)


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
    axes.set_ylabel("an epoch of a run (ms)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def measure(rounds: int, pictures: Path | None = None) -> Iterator[Comparison]:
    torch.set_num_threads(1)
    medians: list[list[float]] = [[], []]
    for size in SIZES:
        work: dict[str, Callable[[], float]] = {
            "fused": partial(of_an_epoch, fused, size),
            "by hand": partial(of_an_epoch, by_hand, size),
        }
        taken = in_turns(work, rounds)
        for kept, times in zip(medians, taken.values(), strict=True):
            kept.append(statistics.median(times))
        mine, other = (1e3 * costs[-1] for costs in medians)
        print(f"  {size:,} runs: {mine:.2f} ms an epoch, by hand {other:.2f} ms")
        what = f"an epoch of {size:,} runs as one, batch {BATCH}"
        over = ratio(taken["fused"], taken["by hand"])
        yield Comparison(what, "vmap loop by hand", over, 0.7 if size == 256 else None)
    if pictures is not None:
        draw(pictures / "stacks.png", *medians)
