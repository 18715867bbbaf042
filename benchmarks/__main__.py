"""All benchmarks in one run, and the table of their results.

    python -m benchmarks                      # about an hour on two cores
    python -m benchmarks steps startup        # some of them
    python -m benchmarks --table docs/benchmarks.md

Needs the extra [bench]. Only ratios mean something: machines differ and are noisy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import stacks, startup, steps, sweeps
from benchmarks.rounds import Comparison, markdown

BENCHMARKS: dict[str, Callable[[int], Iterator[Comparison]]] = {
    "steps": steps.measure,
    "sweeps": sweeps.measure,
    "stacks": stacks.measure,
    "startup": startup.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times each is measured")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the results there")
    options = parser.parse_args()
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no benchmark: {', '.join(sorted(unknown))}")
    results = []
    for name in options.names or BENCHMARKS:
        print(name, flush=True)
        for comparison in BENCHMARKS[name](options.rounds):
            print(comparison, flush=True)
            results.append(comparison)
    if options.table is not None:
        options.table.write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
