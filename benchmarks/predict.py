"""What a prediction costs: the model's part alone, and the command against polars, side by side.

    python -m benchmarks predict            # about two minutes on two cores

A table of a million rows of 10 numeric columns and an id. The model's part is from the float32
matrix to probabilities. The command's streaming work (reading, predicting, writing, fsync; not the
imports) is compared with polars reading the same file and writing the same output, in turns.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.rounds import Comparison, in_turns, ratio, wall_seconds
from normlab.data.file.writing import Kind, write_table
from normlab.data.schema import Schema
from normlab.inference.predict import Predictor
from normlab.inference.predictions import Predictions
from normlab.model.network import Network
from normlab.model.scalers import make_scaler

ROWS = 1_000_000
FEATURES = tuple(f"x{i}" for i in range(10))


def make_predictor(rows: np.ndarray) -> Predictor:
    network = Network(make_scaler("standardize", len(FEATURES)), hidden=[16])
    network.fit(torch.from_numpy(rows[:10_000])).eval()
    return Predictor(network, Schema(FEATURES, "y", ("no", "yes")))


def compare(
    predictor: Predictor, folder: Path, kind: Kind, kept: list[str] | None, rounds: int
) -> Comparison:
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

    copy()
    taken = in_turns(
        {"normlab": partial(wall_seconds, predict), "polars": partial(wall_seconds, copy)}, rounds
    )
    columns = "all columns" if kept is None else "an id"
    what = f"predictions beside {columns} of {ROWS:,} rows, {kind.replace('csv', 'CSV')}"
    return Comparison(what, "polars' reading and writing", ratio(*taken.values()), 1.5)


def measure(rounds: int) -> Iterator[Comparison]:
    torch.set_num_threads(1)  # as the command does for a net of this size
    rows = np.random.default_rng(0).normal(50, 9, (ROWS, len(FEATURES))).round(4)
    predictor = make_predictor(rows.astype(np.float32))
    matrix = rows.astype(np.float32)
    predictor.predict_proba(matrix)
    work = partial(wall_seconds, partial(predictor.predict_proba, matrix))
    (seconds,) = in_turns({"normlab": work}, rounds).values()
    rate = ROWS / statistics.median(seconds) / 1e6
    print(f"  the model's part, one thread: {rate:.1f} million rows a second")
    with tempfile.TemporaryDirectory() as folder:
        columns = dict(zip(FEATURES, rows.T, strict=True))
        frame = pl.DataFrame({"id": np.arange(ROWS), **columns})
        frame.write_csv(Path(folder) / "rows.csv")
        frame.write_parquet(Path(folder) / "rows.parquet")
        for kind in ("csv", "parquet"):
            for kept in (None, ["id"]):
                yield compare(predictor, Path(folder), kind, kept, rounds)
