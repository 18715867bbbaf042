"""Arrays in NumPy's own format (.npy), written part by part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray


class Unwritable(Exception):
    """A file cannot be written: the system's reason. Not an OSError, which is of files read."""


class NpyWriter:
    """A float32 array of a known shape; whole on disk once the context ends.

    A thread writes some rows while the next ones are made, and holds those alone.

    Raises:
        Unwritable: by all methods.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        with _told():
            self._file = path.open("wb")
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            npy_format.write_array_header_1_0(self._file, header)
        self._thread = ThreadPoolExecutor(1)
        self._being_written: Future[int] | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        """Adds rows, which must not change afterwards."""
        rows = np.ascontiguousarray(rows, np.float32)
        self._wait()
        self._being_written = self._thread.submit(self._file.write, rows.data)

    def _wait(self) -> None:
        if self._being_written is not None:
            with _told():
                self._being_written.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        self._thread.shutdown()
        with _told(), self._file:
            if kind is None:
                self._wait()
                self._file.flush()
                os.fsync(self._file.fileno())


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(error.strerror or str(error)) from error
