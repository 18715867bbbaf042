"""All benchmarks in one run, and the tables of their results.

    python -m benchmarks                      # about an hour on two cores
    python -m benchmarks steps startup        # some of them
    python -m benchmarks --write              # and their tables into README.md and the docs

Needs the extra [bench]. Only ratios mean something: machines differ and are noisy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import growth, memory, predict, reading, stacks, startup, steps, sweeps
from benchmarks.processes import ROOT
from benchmarks.rounds import Comparison
from benchmarks.tables import write_tables

BENCHMARKS: dict[str, Callable[[int], Iterator[Comparison]]] = {
    "steps": steps.measure,
    "sweeps": sweeps.measure,
    "stacks": stacks.measure,
    "startup": startup.measure,
    "reading": reading.measure,
    "predict": predict.measure,
    "memory": memory.measure,
    "growth": growth.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times each is measured")
    parser.add_argument(
        "--write", action="store_true", help="the tables of README.md and docs, and the pictures"
    )
    options = parser.parse_args()
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no benchmark: {', '.join(sorted(unknown))}")
    if options.write:
        BENCHMARKS["stacks"] = partial(stacks.measure, pictures=ROOT / "docs")
        BENCHMARKS["growth"] = partial(growth.measure, pictures=ROOT / "docs")
    results: dict[str, list[Comparison]] = {}
    for name in options.names or BENCHMARKS:
        print(name, flush=True)
        results[name] = []
        for comparison in BENCHMARKS[name](options.rounds):
            print(comparison, flush=True)
            results[name].append(comparison)
        if options.write:
            write_tables(name, results[name])


if __name__ == "__main__":
    main()
