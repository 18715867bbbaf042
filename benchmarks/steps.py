"""The time of a training step of a single run, against what people would use in its place.

    python -m benchmarks.steps              # about five minutes on two cores

A net of 1-10-1 on 1,260 rows, validated and logged at every epoch (`peers.py`), on one thread.
The time of a step is the processor's, that of one more epoch over its steps, so neither what is
done once nor what other processes do counts.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import warnings
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.peers import N_TRAIN, PEERS, normlab
from benchmarks.rounds import in_turns, per_unit, ratio

BATCHES = {"batch 32": 32, "batch 200": 200, "full batch": N_TRAIN}
STEPS = 800  # between the two lengths that are timed, in about so many steps


def contestants(batch: int) -> dict[str, Callable[[], float]]:
    """Seconds of a step of each."""
    steps = math.ceil(N_TRAIN / batch)
    few = max(1, round(STEPS / 8 / steps))
    many = few + max(2, round(STEPS / steps))

    def step(train: Callable[[int, int], None]) -> float:
        return per_unit(lambda epochs: train(epochs, batch), few, many, steps)

    return {name: partial(step, train) for name, train in {"normlab": normlab, **PEERS}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="times each is measured")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    print(f"{'':28}" + "".join(f"{name:>22}" for name in BATCHES))
    for train in (normlab, *PEERS.values()):
        train(1, N_TRAIN)  # imports
    taken = {name: in_turns(contestants(batch), rounds) for name, batch in BATCHES.items()}
    for peer in ("normlab", *PEERS):
        cells = [f"{statistics.median(times[peer]) * 1e6:.0f} us" for times in taken.values()]
        print(f"{peer:28}" + "".join(f"{cell:>22}" for cell in cells))
    print("normlab's time over that of")
    for peer in PEERS:
        cells = [str(ratio(times["normlab"], times[peer])) for times in taken.values()]
        print(f"  {peer:26}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
