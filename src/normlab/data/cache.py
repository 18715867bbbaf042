"""Tables on disk: a file is converted once, and later runs map the result into memory.

A table's folder in the cache is named after the file and holds

    rows.npy       float32 (n, features)
    labels.npy     float32 (n,)
    manifest.json  the schema, the file's identity, what was warned of

It is written under another name and renamed once it is whole. It is stale where the file has
another size or time of change, and then made anew.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import numpy as np

from normlab.data.columns import Selection
from normlab.data.conversion import LABELS, ROWS, convert
from normlab.data.detection import Format
from normlab.data.npy import Unwritable
from normlab.data.readers import warn_once
from normlab.data.schema import Schema
from normlab.data.source import opened
from normlab.data.table import Table
from normlab.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: two processes both convert, and the later one's work is dropped
    fcntl = None

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
CHUNK = 2**22  # bytes
VERSION = 2  # of what a folder holds: another one is made anew


def cached_table(
    path: str | Path,
    target: str | int,
    format: Format | None = None,
    selection: Selection | None = None,
    cache_dir: str | Path | None = None,
) -> Table:
    """As `read_table`, but with rows and labels that stay on disk, read-only.

    Several processes may ask for one table at once: one converts, the others wait for it.

    Args:
        path, target, format, selection: as of `read_table`.
        cache_dir: where converted tables are kept; None for `default_folder()`.

    Raises:
        UserError: the file cannot be read or trained on, or the cache cannot be written. What
            was written of it is removed.
    """
    path, format, selection = Path(path), format or Format(), selection or Selection()
    cache = Path(cache_dir).expanduser() if cache_dir is not None else default_folder()
    choices = [VERSION, str(path.absolute()), target, astuple(format), astuple(selection)]
    digest = hashlib.sha256(json.dumps(choices, default=list).encode()).hexdigest()
    folder = cache / f"{path.name}-{digest[:16]}"
    table = _open(folder, path)
    if table is None:
        with _writing(cache), _locked(folder):
            table = _open(folder, path)  # another process may have made it meanwhile
            if table is None:
                _make(folder, path, target, format, selection)
                table = _open(folder, path)
    if table is None:
        raise UserError(f"{path.name} changed while it was read. Start again once it is whole.")
    size = table.rows.nbytes + table.labels.nbytes
    log.info(f"{path.name}: {_in_words(size)} on disk in {folder} (data.cache_dir)")
    return table


def default_folder() -> Path:
    """Where converted tables are kept unless `data.cache_dir` says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "normlab"


def _open(folder: Path, path: Path) -> Table | None:
    """The table in a folder of the cache; None where it is not there, stale or damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["version"] != VERSION or manifest["file"] != _identity(path):
            return None
        rows = np.load(folder / ROWS, mmap_mode="r")
        labels = np.load(folder / LABELS, mmap_mode="r")
        if [list(rows.shape), len(labels)] != [manifest["shape"], manifest["shape"][0]]:
            return None
        schema = Schema.from_dict(manifest["schema"])
        sha256, read_as, messages = (manifest[key] for key in ("sha256", "read_as", "messages"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    for message in messages:
        warn_once(path, sha256, message)
    return Table(rows, labels, schema, path.name, sha256, read_as)


def _make(
    folder: Path, path: Path, target: str | int, format: Format, selection: Selection
) -> None:
    """Converts the file into the folder.

    Raises:
        UserError: the file cannot be trained on.
        OSError: the folder cannot be written.
    """
    again = ", again: the file has changed, or the cache is damaged" if folder.exists() else ""
    log.info(f"{path.name}: converting into {folder}{again}")
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with opened(path, format.encoding) as source, _Sha256(path) as digest:
            identity = _identity(path)
            converted = convert(source, target, format, selection, partial)
            sha256 = digest.result()
        manifest = {
            "version": VERSION,
            "path": str(path.absolute()),
            "file": identity,
            "sha256": sha256,
            "shape": np.load(partial / ROWS, mmap_mode="r").shape,
            "schema": converted.schema.to_dict(),
            "read_as": converted.read_as,
            "messages": converted.messages,
        }
        with (partial / MANIFEST).open("w") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _identity(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}


class _Sha256:
    """A file's digest, taken by a thread of its own; given up where the context ends before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._given_up = False
        self._executor = ThreadPoolExecutor(1)

    def __enter__(self) -> _Sha256:
        self._digest = self._executor.submit(self._read)
        return self

    def _read(self) -> str:
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while not self._given_up and (part := file.read(CHUNK)):
                digest.update(part)
        return digest.hexdigest()

    def result(self) -> str:
        """Hexadecimal; waits for the end of the file."""
        return self._digest.result()

    def __exit__(self, *error: object) -> None:
        self._given_up = True
        self._executor.shutdown()


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    """What the system says of writing, in one line.

    Raises:
        UserError: instead of an OSError.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, Unwritable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"Cannot write the converted table into {cache}: {reason or error}. Make room, "
            f"or set data.cache_dir to a folder on another disk."
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time make a folder; the system frees the lock of one that dies."""
    if fcntl is None:
        yield
        return
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info(f"waiting for another process that converts {folder.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.parent.glob(f".{glob.escape(folder.name)}-*"):
            shutil.rmtree(left, ignore_errors=True)  # by a process that was killed
        yield


def _in_words(size: float) -> str:
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.{0 if units[0] == 'bytes' else 1}f} {units[0]}"
