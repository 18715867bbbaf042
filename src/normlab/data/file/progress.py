"""A bar with the time left, on a terminal, for readings that take more than a moment."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl

from normlab.data.file.cells import Unreadable
from normlab.data.file.columns import Columns
from normlab.data.file.source import Source, readable

PATIENCE = 2.0  # seconds before there is a bar
SAMPLE_BYTES = 1 << 18

See = Callable[[int], object]


@contextmanager
def bar(task: str | None, source: Source, columns: Columns) -> Iterator[See | None]:
    """Gives what is to be told of the rows that are read.

    Args:
        task: what is done with the rows; None for no bar, as where standard error is no terminal.
    """
    if task is None or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # slow to load

    with tqdm(
        desc=f"{task} {source.name}",
        total=_about_rows(source, columns),
        unit=" rows",
        unit_scale=True,
        delay=PATIENCE,
        leave=False,
    ) as shown:
        yield shown.update


def _about_rows(source: Source, columns: Columns) -> int | None:
    """The number of rows, of a text file by the length of its first lines."""
    if source.parquet:
        try:
            return pl.scan_parquet(source.path, glob=False).select(pl.len()).collect().item()
        except Unreadable:
            return None
    with readable(source.path), source.path.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
    n_lines = start.count(b"\n")
    if not n_lines:
        return None
    n_bytes = source.path.stat().st_size
    return max(1, n_bytes * n_lines // len(start) - columns.lines_before_rows)
