"""A table that is several times as large as the memory, from its file to the run's figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

HEADROOM = 128_000_000  # bytes
TIMES = 4
COLUMNS = 400
BLOCK = 4_000  # different rows
ROWS = BLOCK * -(-TIMES * HEADROOM // (4 * COLUMNS * BLOCK))
# Allocators keep what was freed, which the limit counts: here they give more of it back.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "2000000",
    "_RJEM_MALLOC_CONF": "retain:false,dirty_decay_ms:100,muzzy_decay_ms:0",  # of polars' allocator
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "2",  # whose number multiplies what is read in advance
}
# Several command lines in one process; after the first, a limit on what is allocated further.
LIMITED = """
import json, resource, runpy, sys

script, headroom, lines = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
for i, arguments in enumerate(lines):
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    if i == 0:
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        limit = 1024 * int(status["VmData"].split()[0]) + headroom
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_DATA")
def test_a_table_of_four_times_the_memory_trains(tmp_path: Path, root: Path) -> None:
    """RLIMIT_DATA counts all private memory that can be written, of heaps, stacks and libraries.

    What a run over few rows takes (Python, torch, its threads) is the program's own. Beyond it
    the same process may take `HEADROOM`, and converts, trains on and evaluates tables of four
    times that. The read-only maps of the converted tables are not counted: the system drops
    their pages as it needs.
    """
    random = np.random.default_rng(0)
    cells = random.integers(-9, 10, (BLOCK, COLUMNS))
    frame = pl.DataFrame(cells.astype(np.int8)).with_columns(y=cells[:, :2].sum(1) > 0)
    few, text, parquet = (tmp_path / name for name in ("few.csv", "rows.csv", "rows.parquet"))
    frame.write_csv(few)
    head, _, body = few.read_bytes().partition(b"\n")
    with text.open("wb") as file:
        file.write(head + b"\n")
        for _ in range(ROWS // BLOCK):
            file.write(body)
    pl.concat([frame] * (ROWS // BLOCK), rechunk=False).write_parquet(parquet)

    def line(path: Path, name: str, *more: str) -> list[str]:
        return [
            "data=csv", f"data.path={path}", "data.target=y", "data.batch_size=1024",
            "data.integer_categories=0", "trainer.max_epochs=1", "trainer.accelerator=cpu",
            "trainer.enable_progress_bar=false", f"hydra.run.dir={tmp_path / name}", *more,
        ]  # fmt: skip

    lines = [
        line(few, "few", "data.cache=true"),
        line(text, "text"),
        line(parquet, "parquet", "figures.enabled=false"),  # they were drawn above
        line(parquet, "in_memory", "data.cache=false"),
    ]
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(root / "train.py"), str(HEADROOM), json.dumps(lines)],
        env={
            **os.environ, **ENVIRONMENT,
            "PYTHONPATH": str(root / "src"), "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    for name in ("text", "parquet"):
        assert (tmp_path / name / "result.json").exists(), said[-3_000:]
        result = json.loads((tmp_path / name / "result.json").read_text())
        assert all(result[part]["auroc"] > 0.99 for part in ("train", "val", "test"))
    converted = list((tmp_path / "cache" / "normlab").glob("rows.*/rows.npy"))
    assert [np.load(rows, mmap_mode="r").shape for rows in converted] == [(ROWS, COLUMNS)] * 2
    assert all(rows.stat().st_size >= TIMES * HEADROOM for rows in converted)
    assert ended.returncode != 0  # the limit bites where the table is read into memory
    assert not (tmp_path / "in_memory" / "result.json").exists()
    assert "rows.parquet may need more memory than is free. data.cache=true" in said
    assert "Traceback" not in said
