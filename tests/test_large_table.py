"""data.cache from the command line, and when a file is converted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from normlab.app import run
from normlab.config import Settings
from normlab.data.file import memory
from normlab.data.load import stays_on_disk

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
    for name in ("first", "second"):
        ended = train(*common, "data.cache_dir=kept", f"hydra.run.dir={name}")
        assert ended.status == 0, ended.err
        assert "on disk in kept/rows.csv-" in ended.out + ended.err
        expected = results(tmp_path / "memory")
        for part, figures in results(tmp_path / name).items():
            assert figures == pytest.approx(expected[part], abs=1e-5)
    digests = {
        json.loads((tmp_path / name / "provenance.json").read_text())["data_sha256"]
        for name in ("memory", "first", "second")
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


def test_a_full_batch_of_a_table_beyond_the_memory_is_refused(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path / "rows.csv")
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * path.stat().st_size)
    memory.may_exceed_memory.cache_clear()
    common = (
        "data=csv", f"data.path={path}", "data.target=y", "data.missing=drop",
        "data.cache_dir=kept", "hydra.run.dir=run", *QUIET,
    )  # fmt: skip
    refused = train(*common, "data.batch_size=null")
    assert refused.status == 1
    assert refused.err.count("\n") == 1
    assert "data.batch_size=null holds all training rows in memory" in refused.err
    assert "such as 1024" in refused.err
    assert not (tmp_path / "kept").exists()  # nothing was converted for it
    assert not (tmp_path / "run").exists()
    assert train(*common, "data.batch_size=100").status == 0
    in_memory = train(*common, "data.cache=false", "hydra.run.dir=in_memory")
    assert in_memory.status == 0
    said = in_memory.out + in_memory.err
    assert "rows.csv may need more memory than is free. data.cache=true" in said
    memory.may_exceed_memory.cache_clear()


REFUSED = {
    "numpy": "np.empty(2**57)",
    "torch": "torch.empty(2**60)",
    "python": "bytearray(2**60)",
}


@pytest.mark.parametrize("asked", REFUSED.values(), ids=REFUSED)
def test_memory_that_is_refused_is_one_message(
    asked: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(prepared: object) -> None:
        eval(asked, {"np": np, "torch": torch})

    monkeypatch.setattr(run.Alone, "execute", execute)
    ended = train(*QUIET)
    assert ended.status == 1
    assert ended.err.startswith("normlab: the memory does not suffice. ")
    assert "data.cache=true" in ended.err
    assert ended.err.count("\n") == 1


def test_a_defect_keeps_its_traceback(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(prepared: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(run.Alone, "execute", execute)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(*QUIET)


def test_a_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ulimit -v` and `ulimit -d`: what they leave beside what is taken already."""
    resource = pytest.importorskip("resource")
    (taken,) = [
        1024 * int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmData:")
    ]
    limits = {resource.RLIMIT_DATA: taken + 10**8}
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(
        resource, "getrlimit", lambda kind: (limits.get(kind, unlimited), unlimited)
    )
    assert 10**8 / 2 < memory.free_memory() < 2 * 10**8
    limits[resource.RLIMIT_AS] = 10**6  # less than is taken
    assert memory.free_memory() == 0


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
