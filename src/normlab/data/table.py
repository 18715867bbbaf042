"""Rows and labels in raw units: what every source of data gives and all later steps take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.data.schema import Schema

CHUNK = 2**18  # numbers


@dataclass(frozen=True, eq=False)
class Table:
    """A binary classification data set, in memory or mapped from disk.

    Attributes:
        rows: float32 (n, features), C-contiguous so that row batches are cheap: numbers in raw
            units, booleans as 0 or 1, categories as codes, nan where a value is missing (`Schema`).
        labels: float32 (n,), each 0 or 1.
        schema: what the columns and the labels mean.
        source: where the rows came from, for messages: a file's name or a data set's.
        sha256: hexadecimal digest of the file that was read; None where there was no file.
        read_as: how that file was read, in words.
    """

    rows: NDArray[np.float32]
    labels: NDArray[np.float32]
    schema: Schema
    source: str
    sha256: str | None = None
    read_as: str | None = None

    @property
    def on_disk(self) -> bool:
        """Whether rows and labels are memory maps (`cache.py`), read-only, of perhaps any size."""
        return isinstance(self.rows, np.memmap)

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """All rows in order: at once from memory, `CHUNK` numbers at a time from disk."""
        n_rows = max(1, CHUNK // self.rows.shape[1]) if self.on_disk else len(self)
        for start in range(0, len(self), n_rows):
            yield np.asarray(self.rows[start : start + n_rows])

    def __getstate__(self) -> dict[str, Any]:
        """Another process that gets the table maps the files of one on disk by itself."""
        state = dict(vars(self))
        for name in ("rows", "labels"):
            if isinstance(state[name], np.memmap):
                state[name] = Path(state[name].filename)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("rows", "labels"):
            if isinstance(state[name], Path):
                state[name] = np.load(state[name], mmap_mode="r")
        vars(self).update(state)

    def __len__(self) -> int:
        return len(self.labels)
