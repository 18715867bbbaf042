"""Tables larger than memory: the way to the first step, and an epoch, against what is least.

    python benchmarks/large_tables.py              # about five minutes on two cores, 1.5 GB of disk
    python benchmarks/large_tables.py --repeat 5 --rows 5_000_000

(a) From a file to the end of the first training step, converting it into a cache on the way,
    against polars' reading of the file into a float32 matrix of NumPy's order of rows. And the
    same once it is converted. Imports are done before.
(b) An epoch over the cached table, against a loop by hand over a tensor in memory: the same
    network, optimizer, batches, shuffling, and loss, accuracy and AUROC of the epoch.

Each measure is taken in turn in a process of its own. Only ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BATCH, HIDDEN, COLUMNS = 8_192, 16, 10


def make_table(n_rows: int, folder: Path) -> list[Path]:
    """A CSV and a Parquet file of ten columns of unlike scales and a label."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(0)
    rows = random.standard_normal((n_rows, COLUMNS)).astype(np.float32)
    labels = (rows[:, 0] + random.standard_normal(n_rows) > 0).astype(np.int64)
    rows *= np.logspace(-2, 3, COLUMNS, dtype=np.float32)
    frame = pl.DataFrame(rows, schema=[f"x{i}" for i in range(COLUMNS)]).with_columns(y=labels)
    frame.write_csv(folder / "table.csv")
    frame.write_parquet(folder / "table.parquet")
    return [folder / "table.csv", folder / "table.parquet"]


def read_by_polars(path: Path) -> Any:
    """The whole table in float32, row by row."""
    import polars as pl

    names = [*(f"x{i}" for i in range(COLUMNS)), "y"]
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path).cast(pl.Float32)
    else:
        frame = pl.read_csv(path, schema=dict.fromkeys(names, pl.Float32))
    return frame.to_numpy(order="c")


def polars_seconds(path: Path, cache: Path) -> dict[str, float]:
    import polars as pl

    pl.DataFrame({"x": [1.0]}).to_numpy()
    started = time.perf_counter()
    read_by_polars(path)
    return {"read": time.perf_counter() - started}


def program_seconds(path: Path, cache: Path) -> dict[str, float]:
    """To the end of the first step, and of an epoch: its steps with the metrics at its end."""
    from lightning import Trainer
    from lightning.pytorch.callbacks import Callback

    from normlab.data.cache import cached_table
    from normlab.data.module import TableDataModule
    from normlab.model.classifier import Classifier
    from normlab.model.network import Network
    from normlab.model.normalization import make_normalizer
    from normlab.training.environment import choose_threads, quiet_lightning

    class Clock(Callback):
        first = begun = 0.0
        epochs: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, *args: Any) -> None:
            self.first = self.first or time.perf_counter()

        def on_train_epoch_start(self, *args: Any) -> None:
            self.begun = time.perf_counter()

        def on_train_epoch_end(self, *args: Any) -> None:
            self.epochs.append(time.perf_counter() - self.begun)

    quiet_lightning()
    clock = Clock()
    started = time.perf_counter()
    table = cached_table(path, "y", cache_dir=cache)
    data = TableDataModule(table, "random", 0.15, 0.15, BATCH)
    choose_threads(BATCH, [HIDDEN])
    network = Network(make_normalizer("standardize", COLUMNS), [HIDDEN])
    data.fit(network)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit(Classifier(network, table.schema), datamodule=data)
    return {"first_step": clock.first - started, "epoch": statistics.median(clock.epochs)}


def loop_seconds(path: Path, cache: Path) -> dict[str, float]:
    """By hand, over as many training rows, in memory and standardized."""
    import torch

    from normlab.model.metrics import binary_metrics

    torch.set_num_threads(1)
    matrix = torch.from_numpy(read_by_polars(path))
    matrix = matrix[: round(0.7 * len(matrix))].clone()
    rows, labels = matrix[:, :-1].contiguous(), matrix[:, -1].contiguous()
    del matrix
    rows = (rows - rows.mean(0)) / rows.std(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(COLUMNS, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1)
    )
    loss_of = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(network.parameters(), 0.01, fused=True)
    epochs = []
    for _ in range(3):
        started = time.perf_counter()
        seen = []
        for batch in torch.randperm(len(rows)).split(BATCH):
            answers = labels[batch]
            logits = network(rows[batch]).squeeze(-1)
            loss = loss_of(logits, answers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append((logits.detach(), answers))
        binary_metrics(*(torch.cat(part) for part in zip(*seen, strict=True)))
        epochs.append(time.perf_counter() - started)
    return {"epoch": statistics.median(epochs)}


MEASURES = {"polars": polars_seconds, "program": program_seconds, "loop": loop_seconds}


def measured(name: str, path: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name, str(path), str(cache)]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="times each is measured")
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the table")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, path, cache = arguments.measure
        print(json.dumps(MEASURES[name](Path(path), Path(cache))))
        return
    with tempfile.TemporaryDirectory() as place:
        for path in make_table(arguments.rows, Path(place)):
            figures: dict[str, list[float]] = {}
            for i in range(arguments.repeat):
                cache = Path(place) / f"cache{i}"
                polars = measured("polars", path, cache)["read"]
                first = measured("program", path, cache)["first_step"]
                again = measured("program", path, cache)
                loop = measured("loop", path, cache)["epoch"]
                for key, value in {
                    "polars' reading, s": polars,
                    "first step, s": first,
                    "  / polars' reading": first / polars,
                    "first step from the cache, s": again["first_step"],
                    "epoch, s": again["epoch"],
                    "  / epoch by hand": again["epoch"] / loop,
                }.items():
                    figures.setdefault(key, []).append(value)
            print(path.name)
            for key, values in figures.items():
                low, high = min(values), max(values)
                print(f"  {key:30}{statistics.median(values):8.2f}  ({low:.2f}-{high:.2f})")


if __name__ == "__main__":
    main()
