"""The time of a training step of a single run, against what people would use in its place.

    python -m benchmarks steps              # about five minutes on two cores

A net of 1-10-1 on 1,260 rows, validated and logged at every epoch (`peers.py`), on one thread.
The time of a step is the processor's, that of one more epoch over its steps, so neither what is
done once nor what other processes do counts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.peers import N_TRAIN, PEERS, normlab
from benchmarks.rounds import Comparison, in_turns, per_unit, ratio

BATCHES = {"batch 32": 32, "batch 200": 200, "full batch": N_TRAIN}
AIMS = {
    ("batch 32", "hand-written loop"): 1.2,
    ("batch 200", "hand-written loop"): 1.1,
    ("full batch", "hand-written loop"): 1.1,
    ("batch 32", "Lightning template"): 1 / 2.5,
    ("full batch", "Lightning template"): 1 / 5,
}
STEPS = 800  # between the two lengths that are timed, in about so many steps


OURS = "normlab"


def contestants(batch: int) -> dict[str, Callable[[], float]]:
    """Seconds of a step of each."""
    steps = math.ceil(N_TRAIN / batch)
    few = max(1, round(STEPS / 8 / steps))
    many = few + max(2, round(STEPS / steps))

    def step(train: Callable[[int, int], None]) -> float:
        return per_unit(lambda epochs: train(epochs, batch), few, many, steps)

    return {name: partial(step, train) for name, train in {OURS: normlab, **PEERS}.items()}


def measure(rounds: int) -> Iterator[Comparison]:
    torch.set_num_threads(1)
    for name, batch in BATCHES.items():
        for train in (normlab, *PEERS.values()):
            train(1, batch)  # imports, and what is done at a first time
        taken = in_turns(contestants(batch), rounds)
        for peer, times in taken.items():
            print(f"  {name}, {peer}: {statistics.median(times) * 1e6:.0f} us a step")
        for peer in PEERS:
            over = ratio(taken[OURS], taken[peer])
            yield Comparison(f"a training step, {name}", peer, over, AIMS.get((name, peer)))
