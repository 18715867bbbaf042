"""data.cache from the command line, and a table that the memory could not hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from normlab.assembly import stays_on_disk
from normlab.config import Settings
from normlab.data import memory
from normlab.data.cache import cached_table

Train = Callable[..., Any]
QUIET = ("trainer.enable_progress_bar=false", "trainer.max_epochs=3", "trainer.accelerator=cpu")


def csv_file(path: Path, n_rows: int = 400) -> Path:
    """Two numbers, a category and gaps."""
    random = np.random.default_rng(0)
    numbers = random.standard_normal((n_rows, 2))
    city = random.choice(["Bern", "Genf", "Uri"], n_rows)
    label = (numbers[:, 0] + random.standard_normal(n_rows) > 0).astype(int)
    frame = pl.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "city": city, "y": label})
    frame.with_columns(pl.when(pl.col("b") < 1.5).then("b")).write_csv(path)
    return path


def results(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text())
    return {part: result[part] for part in ("train", "val", "test", "label_entropy")}


def test_a_run_from_disk_equals_one_from_memory(train: Train, tmp_path: Path) -> None:
    """In full batches, whose rows have no order."""
    path = csv_file(tmp_path / "rows.csv")
    common = (
        "data=csv", f"data.path={path}", "data.target=y", "data.missing=impute",
        "data.batch_size=null", *QUIET,
    )  # fmt: skip
    assert train(*common, "hydra.run.dir=memory").status == 0
    for run in ("first", "second"):
        ended = train(*common, "data.cache_dir=kept", f"hydra.run.dir={run}")
        assert ended.status == 0, ended.err
        assert "on disk in kept/rows.csv-" in ended.out + ended.err
        expected = results(tmp_path / "memory")
        for part, figures in results(tmp_path / run).items():
            assert figures == pytest.approx(expected[part], abs=1e-5)
    digests = {
        json.loads((tmp_path / run / "provenance.json").read_text())["data_sha256"]
        for run in ("memory", "first", "second")
    }
    assert len(digests) == 1


def test_runs_of_a_sweep_from_disk_train_one_by_one(train: Train, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "rows.csv")
    ended = train(
        "-m", "data=csv", f"data.path={path}", "data.target=y", "data.missing=drop",
        "data.cache_dir=kept", "seed=0,1", "hydra.sweep.dir=sweep",
        "~hydra.callbacks.sweep_report", *QUIET,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    said = ended.out + ended.err
    assert said.count("alone: its table stays on disk (data.cache)") == 2
    assert said.count("converting into") == 1
    assert len(list((tmp_path / "sweep").glob("*/result.json"))) == 2


def test_processes_share_a_table_on_disk(train: Train, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "rows.csv")
    common = (
        "data=csv", f"data.path={path}", "data.target=y", "data.missing=drop",
        "data.cache_dir=kept", "data.batch_size=32", *QUIET,
    )  # fmt: skip
    assert train(*common, "hydra.run.dir=one").status == 0
    several = ("trainer.devices=2", "trainer.strategy=ddp_fork")
    assert train(*common, *several, "hydra.run.dir=two").status == 0
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    for part, figures in two.items():
        assert figures == pytest.approx(one[part], abs=1e-4)


def test_what_stays_on_disk(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path / "rows.csv")
    base = ("data=csv", f"data.path={path}", "data.target=y")
    assert not stays_on_disk(settings())
    assert not stays_on_disk(settings(*base))
    assert stays_on_disk(settings(*base, "data.cache=true"))
    assert stays_on_disk(settings(*base, "data.cache_dir=kept"))
    assert not stays_on_disk(settings(*base, "data.cache_dir=kept", "data.cache=false"))
    assert not stays_on_disk(settings(*base[:1], "data.path=none.csv", "data.target=y"))
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * path.stat().st_size)
    memory.may_exceed_memory.cache_clear()
    assert stays_on_disk(settings(*base))
    assert not stays_on_disk(settings(*base, "data.cache=false"))
    pl.read_csv(path).write_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr(memory, "free_memory", lambda: 400 * 4 * 4)
    assert memory.may_exceed_memory(tmp_path / "rows.parquet")
    memory.may_exceed_memory.cache_clear()


def test_the_free_memory_is_within_the_machines() -> None:
    assert 0 < memory.free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_limit_of_the_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: what its files in memory take would be given back."""
    files = {"memory.max": "1000000", "memory.current": "900000", "memory.stat": "inactive_file 5"}
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(memory, "GROUP_FOLDER", tmp_path)
    assert memory.free_memory() == 100_005
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() > 100_005


LIMITED = """
import resource, sys
import numpy as np
import torch
from lightning import Trainer
from normlab.app import quiet_lightning
from normlab.data.cache import cached_table
from normlab.data.module import TableDataModule
from normlab.model.classifier import Classifier
from normlab.model.network import Network
from normlab.model.normalization import make_normalizer
from normlab.training.single import train

quiet_lightning()
torch.set_num_threads(1)


def trained(path, cache_dir):
    table = cached_table(path, -1, cache_dir=cache_dir)
    data = TableDataModule(table, batch_size=4096)
    network = Network(make_normalizer("standardize", table.rows.shape[1]), [4])
    data.fit(network)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )
    return table, train(data, Classifier(network, table.schema), trainer)


trained(sys.argv[1], sys.argv[3])  # what is loaded and started the first time is not counted
headroom = int(sys.argv[4])
(used,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmData")]
resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(used) + headroom,) * 2)
table, result = trained(sys.argv[2], sys.argv[3])
print(table.rows.nbytes, result.test["auroc"])
try:
    table.rows[:].copy()
except MemoryError:
    print("does not fit")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_table_of_four_times_the_memory_trains(tmp_path: Path, root: Path) -> None:
    """RLIMIT_DATA counts all private memory that can be written, of the heap and of libraries; not
    the read-only map of the table, which the system drops from memory as it needs."""
    headroom, n_columns = 200_000_000, 400
    n_rows = 4 * headroom // (4 * n_columns) + 4_000
    random = np.random.default_rng(0)
    rows = random.standard_normal((2_000, n_columns)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.int8)
    frame = pl.DataFrame(rows).with_columns(y=labels)
    small, large, cache_dir = (tmp_path / name for name in ("small.parquet", "large.parquet", "c"))
    frame.write_parquet(small)
    pl.concat([frame] * (n_rows // 2_000), rechunk=False).write_parquet(large)
    for path in (small, large):
        cached_table(path, -1, cache_dir=cache_dir)
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, small, large, cache_dir, str(headroom)],
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2_000:]
    figures, refused = ended.stdout.splitlines()[-2:]
    assert int(figures.split()[0]) >= 4 * headroom
    assert float(figures.split()[1]) > 0.9
    assert refused == "does not fit"
