"""What a prediction costs: the model's part alone, and the command against polars, side by side.

    python benchmarks/predict.py                  # about two minutes on two cores
    python benchmarks/predict.py --rows 5000000

A table of 10 numeric columns and an id. The model's part is rows per second from the float32
matrix to probabilities. The command's streaming work (reading, predicting, writing, fsync; not the
imports) is compared with polars reading the same file and writing the same output, in turns; the
ratios are of medians, with the range of the single turns. Only ratios mean something: machines
differ and are noisy.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch

from normlab.data.schema import Schema
from normlab.data.writing import Kind, write_table
from normlab.inference.predict import Predictor
from normlab.inference.predictions import Predictions
from normlab.model.network import Network
from normlab.model.normalization import make_normalizer

FEATURES = tuple(f"x{i}" for i in range(10))


def make_predictor(rows: np.ndarray) -> Predictor:
    torch.manual_seed(0)
    network = Network(make_normalizer("standardize", len(FEATURES)), hidden=[16])
    network.fit(torch.from_numpy(rows[:10_000])).eval()
    return Predictor(network, Schema(FEATURES, "y", ("no", "yes")))


def in_turns(actions: dict[str, Callable[[], object]], repeat: int) -> dict[str, list[float]]:
    """Seconds of each action, one after the other, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeat + 1):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def compare(
    predictor: Predictor, folder: Path, kind: Kind, kept: list[str] | None, repeat: int
) -> str:
    source, ours, theirs = (folder / f"{name}.{kind}" for name in ("rows", "ours", "theirs"))

    def predict() -> None:
        found = Predictions(predictor, source, kept, numbers=kind == "parquet")
        write_table(iter(found), ours, kind, found.dialect, found.quoted)

    predict()
    read = pl.read_csv if kind == "csv" else pl.read_parquet
    output = read(ours)
    write = output.write_csv if kind == "csv" else output.write_parquet

    def copy() -> None:
        read(source)
        write(theirs)

    seconds = in_turns({"normlab": predict, "polars": copy}, repeat)
    mine, other = (statistics.median(times) for times in seconds.values())
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    columns = "all columns" if kept is None else f"--id {' '.join(kept)}"
    return (
        f"{kind:8} {columns:12} {mine:6.2f} s / {other:5.2f} s = {mine / other:.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table")
    parser.add_argument("--repeat", type=int, default=7, help="times each is measured")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the command does for a net of this size
    rows = np.random.default_rng(0).normal(50, 9, (options.rows, len(FEATURES))).round(4)
    predictor = make_predictor(rows.astype(np.float32))
    matrix = rows.astype(np.float32)
    (seconds,) = in_turns({"": lambda: predictor.predict_proba(matrix)}, options.repeat).values()
    rate = options.rows / statistics.median(seconds) / 1e6
    print(f"model's part, one thread: {rate:.1f} million rows a second")
    with tempfile.TemporaryDirectory() as folder:
        frame = pl.DataFrame(
            {"id": np.arange(options.rows), **dict(zip(FEATURES, rows.T, strict=True))}
        )
        frame.write_csv(Path(folder) / "rows.csv")
        frame.write_parquet(Path(folder) / "rows.parquet")
        for kind in ("csv", "parquet"):
            for kept in (None, ["id"]):
                print(compare(predictor, Path(folder), kind, kept, options.repeat), flush=True)


if __name__ == "__main__":
    main()
