"""Arrays in NumPy's own format (.npy), written part by part before their length is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

CHUNK = 2**20  # numbers rewritten at once


class Unwritable(Exception):
    """A file cannot be written: the system's reason. Not an OSError, which is of files read."""


class NpyWriter:
    """A float32 array that grows along its first axis; whole on disk once the context ends.

    A thread writes some rows while the next ones are made, and holds those alone.

    Raises:
        Unwritable: by all methods.
    """

    def __init__(self, path: Path) -> None:
        with _told():
            self._file = path.open("wb")
        self._n_rows = 0
        self._row_shape: tuple[int, ...] | None = None
        self._thread = ThreadPoolExecutor(1)
        self._being_written: Future[int] | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        """Adds rows, all of one shape, which must not change afterwards."""
        rows = np.ascontiguousarray(rows, np.float32)
        if self._row_shape is None:
            self._row_shape = rows.shape[1:]
            with _told():
                self._write_header()
        self._n_rows += len(rows)
        self._wait()
        self._being_written = self._thread.submit(self._file.write, rows.data)

    def _wait(self) -> None:
        if self._being_written is not None:
            with _told():
                self._being_written.result()

    def _write_header(self) -> None:
        # NumPy leaves room for the first axis to grow: a later header is as long.
        shape = (self._n_rows, *(self._row_shape or ()))
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        npy_format.write_array_header_1_0(self._file, header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        self._thread.shutdown()
        with _told(), self._file:
            if kind is None:
                self._wait()
                self._file.seek(0)
                self._write_header()
                self._file.flush()
                os.fsync(self._file.fileno())


def rewrite(path: Path, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    """Replaces the values of a one-dimensional array on disk, part by part."""
    values = np.load(path, mmap_mode="r+")
    for start in range(0, len(values), CHUNK):
        values[start : start + CHUNK] = function(values[start : start + CHUNK])
    with _told():
        values.flush()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(error.strerror or str(error)) from error
