"""From a table's file to the first training step, and an epoch over it, against what is least.

    python -m benchmarks reading            # about ten minutes on two cores, 1.5 GB of disk

A table of 5 million rows and 10 columns, as CSV and as Parquet.

(a) From the file to the end of the first training step, read into memory or converted into a cache
    on the way, against polars' reading of the file into a float32 matrix of NumPy's order of rows.
    And the same once it is converted. Imports are done before.
(b) An epoch over the cached table, against a loop by hand over a tensor in memory: the same
    network, optimizer, batches, shuffling, and loss, accuracy and AUROC of the epoch.

Each measure is taken in turn in a process of its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processes import python
from benchmarks.rounds import Comparison, ratio, spread

if TYPE_CHECKING:
    from normlab.data.table import Table

ROWS = 5_000_000
BATCH, HIDDEN, COLUMNS = 8_192, 16, 10


def make_table(folder: Path, n_rows: int = ROWS) -> list[Path]:
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


def disk_seconds(path: Path, cache: Path) -> dict[str, float]:
    """From the cache, which is made where it is not there."""
    from normlab.data.meaning.cache import cached_table

    return program_seconds(lambda: cached_table(path, "y", cache_dir=cache), epochs=3)


def memory_seconds(path: Path, cache: Path) -> dict[str, float]:
    """Read into memory."""
    from normlab.data.read import read_table

    return program_seconds(lambda: read_table(path, "y"), epochs=1)


def program_seconds(read: Callable[[], Table], epochs: int) -> dict[str, float]:
    """To the end of the first step, and of an epoch: its steps with the metrics at its end."""
    from lightning import Trainer
    from lightning.pytorch.callbacks import Callback

    from normlab.config.model import NoSchedulerSettings
    from normlab.data.serve.module import SplitTable, TableDataModule
    from normlab.model.network import Network
    from normlab.model.scalers import make_scaler
    from normlab.training.environment import quiet_lightning, threads_for
    from normlab.training.module import TrainingModule
    from normlab.training.recipe import Recipe

    class Clock(Callback):
        first = begun = 0.0
        epochs: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            self.first = self.first or time.perf_counter()

        def on_train_epoch_start(self, *args: Any, **kwargs: Any) -> None:
            self.begun = time.perf_counter()

        def on_train_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            self.epochs.append(time.perf_counter() - self.begun)

    quiet_lightning()
    clock = Clock()
    started = time.perf_counter()
    table = read()
    split = SplitTable(table, "random", 0.15, 0.15, BATCH)
    network = Network(make_scaler("standardize", COLUMNS), [HIDDEN]).fit(split.training_rows)
    data = TableDataModule([split])
    module = TrainingModule(network, data, [Recipe("adam", 0.01, NoSchedulerSettings(name="none"))])
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    with threads_for(BATCH, [HIDDEN]):
        trainer.fit(module, datamodule=data)
    return {"first_step": clock.first - started, "epoch": statistics.median(clock.epochs)}


def loop_seconds(path: Path, cache: Path) -> dict[str, float]:
    """By hand, over as many training rows, in memory and standardized."""
    import torch

    from normlab.model.tasks import Binary

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
        Binary().evaluate(*(torch.cat(part) for part in zip(*seen, strict=True)))
        epochs.append(time.perf_counter() - started)
    return {"epoch": statistics.median(epochs)}


MEASURES = {
    "polars": polars_seconds,
    "memory": memory_seconds,
    "disk": disk_seconds,
    "loop": loop_seconds,
}


def measured(name: str, path: Path, cache: Path) -> dict[str, float]:
    printed = python("-m", "benchmarks.reading", name, str(path), str(cache)).printed
    return json.loads(printed.splitlines()[-1])


def measure(rounds: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as place:
        for path in make_table(Path(place)):
            taken: dict[str, list[float]] = {}
            again = "from the cache"
            for i in range(rounds):
                cache = Path(place) / f"cache{i}"
                found = {
                    "polars": measured("polars", path, cache)["read"],
                    "memory": measured("memory", path, cache)["first_step"],
                    "disk": measured("disk", path, cache)["first_step"],
                }
                cached = measured("disk", path, cache)
                found |= {again: cached["first_step"], "epoch": cached["epoch"]}
                found["loop"] = measured("loop", path, cache)["epoch"]
                for name, seconds in found.items():
                    taken.setdefault(name, []).append(seconds)
            kind = {".csv": "CSV", ".parquet": "Parquet"}[path.suffix]
            for name, times in taken.items():
                print(f"  {kind}, {name}: {statistics.median(times):.2f} s", flush=True)
            reading, size = "polars' reading", f"{ROWS:,} x {COLUMNS}"
            for name, how, aim in (
                ("memory", "read into memory", None),
                ("disk", "converted", 1.5),
            ):
                what = f"to the first step, {kind} of {size}, {how}"
                yield Comparison(what, reading, ratio(taken[name], taken["polars"]), aim)
            what = f"seconds to the first step, {kind} of {size}"
            yield Comparison(what, "(converted before)", spread(taken[again]), 1.0)
            what = f"an epoch from disk, {size}, batch {BATCH:,}"
            over = ratio(taken["epoch"], taken["loop"])
            yield Comparison(what, "hand-written loop in memory", over, 1.3)


if __name__ == "__main__":
    name, path, cache = sys.argv[1:]
    print(json.dumps(MEASURES[name](Path(path), Path(cache))))
