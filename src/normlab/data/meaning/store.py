"""Where rows and labels go: into memory, or into files that are mapped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from normlab.data.meaning.npy import NpyWriter

ROWS, LABELS = "rows.npy", "labels.npy"

Part = tuple[NDArray[np.float32], NDArray[np.float32]]


@final
class Memory:
    """Arrays in memory."""

    def fill(self, shape: tuple[int, int], parts: Iterable[Part]) -> Part:
        rows, labels = np.empty(shape, np.float32), np.empty(shape[0], np.float32)
        stop = 0
        for some_rows, some_labels in parts:
            start, stop = stop, stop + len(some_rows)
            rows[start:stop], labels[start:stop] = some_rows, some_labels
        return rows, labels


@final
class Disk:
    """`ROWS` and `LABELS` in a folder, as memory maps that cannot be written to.

    Raises:
        Unwritable: the disk is full, or the like.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, shape: tuple[int, int], parts: Iterable[Part]) -> Part:
        with (
            NpyWriter(self.folder / ROWS, shape) as rows,
            NpyWriter(self.folder / LABELS, shape[:1]) as labels,
        ):
            for some_rows, some_labels in parts:
                rows.append(some_rows)
                labels.append(some_labels)
        return self.opened()

    def opened(self) -> Part:
        """The arrays that were written."""
        rows = np.load(self.folder / ROWS, mmap_mode="r")
        return rows, np.load(self.folder / LABELS, mmap_mode="r")
