"""A sweep whose data file has changed since it began does not go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Train = Callable[..., Any]


def write(path: Path, positives: int) -> str:
    """A table of 60 rows; gives its digest."""
    lines = [f"{i % 7}.5,{int(i % 10 < positives)}" for i in range(60)]
    path.write_text("\n".join(["a,label", *lines]))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(folder: Path) -> dict[Path, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize(
    ("launcher", "unfinished"), [("fused", None), ("fused", "0"), ("basic", None), ("basic", "1")]
)
def test_a_sweep_goes_on_with_its_own_data(
    train: Train, tmp_path: Path, launcher: str, unfinished: str | None
) -> None:
    """Whether a run is new, or one of its own was ended on the way."""
    command = (
        "-m", "data=csv", "data.path=rows.csv", "data.target=label", "hydra.sweep.dir=sweep",
        "trainer.max_epochs=1", "trainer.enable_progress_bar=false", f"hydra/launcher={launcher}",
        "~hydra.callbacks.sweep_report",
    )  # fmt: skip
    before = write(tmp_path / "rows.csv", positives=5)
    assert train(*command, "seed=0,1").status == 0
    now = write(tmp_path / "rows.csv", positives=2)
    kept = state(tmp_path / "sweep")
    assert train(*command, "seed=0,1").status == 0, "nothing is left to train"
    for path, what in state(tmp_path / "sweep").items():
        assert what == kept[path] or path.suffix in (".yaml", ".log"), path  # Hydra's own

    if unfinished is not None:
        (tmp_path / f"sweep/{unfinished}/result.json").unlink()
    seeds = "seed=0,1,2" if unfinished is None else "seed=0,1"
    kept = state(tmp_path / "sweep")
    ended = train(*command, seeds)
    assert ended.status == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("normlab: rows.csv is not the file that sweep/")
    assert before in line
    assert now in line
    assert state(tmp_path / "sweep") == kept

    write(tmp_path / "rows.csv", positives=5)
    assert train(*command, seeds).status == 0
    assert len(list(tmp_path.glob("sweep/*/result.json"))) == len(seeds.split(","))
