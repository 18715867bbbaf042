"""Tables on disk: a file is converted once, and later runs map the result into memory.

A table's folder in the cache is named after the file and holds

    rows.npy       float32 (n, features)
    labels.npy     float32 (n,)
    manifest.json  the schema, the file's identity, what was warned of

It is written under another name and renamed once it is whole. It is stale where the file has
another size or time of change, and then made anew. Where all tables together grow beyond a limit,
those that were not used for longest are removed; a run that still reads one keeps its files.
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
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from filelock import FileLock, Timeout

from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.file.source import Sha256, opened
from normlab.data.meaning.convert import convert
from normlab.data.meaning.npy import Unwritable
from normlab.data.meaning.store import Disk
from normlab.data.read import warn_once
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
GB = 10**9
VERSION = 2  # of what a folder holds: another one is made anew


def cached_table(
    path: str | Path,
    target: str | int,
    format: Format | None = None,
    selection: Selection | None = None,
    cache_dir: str | Path | None = None,
    max_gb: float | None = None,
) -> Table:
    """As `read_table`, but with rows and labels that stay on disk, read-only.

    Several processes may ask for one table at once: one converts, the others wait for it.

    Args:
        path, target, format, selection: as of `read_table`.
        cache_dir: where converted tables are kept; None for `default_folder()`.
        max_gb: room for all of them; None for no limit.

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
                _make_room(folder, max_gb)
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
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["version"] != VERSION or manifest["file"] != _identity(path):
            return None
        rows, labels = Disk(folder).opened()
        if [list(rows.shape), len(labels)] != [manifest["shape"], manifest["shape"][0]]:
            return None
        schema, messages = Schema.from_dict(manifest["schema"]), list(manifest["messages"])
        sha256, read_as = manifest["sha256"], manifest["read_as"]
        os.utime(folder / MANIFEST)  # used now
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
        with opened(path, format.encoding) as source, Sha256(path) as digest:
            identity = _identity(path)
            converted = convert(source, target, format, selection, Disk(partial))
            sha256 = digest.result()
        manifest = {
            "version": VERSION,
            "path": str(path.absolute()),
            "file": identity,
            "sha256": sha256,
            "shape": converted.rows.shape,
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


def _make_room(newest: Path, max_gb: float | None) -> None:
    """Removes the tables that were not used for longest, but never the newest one."""
    if max_gb is None:
        return
    used, sizes = {}, {}
    for manifest in newest.parent.glob(f"*/{MANIFEST}"):
        folder = manifest.parent
        if folder.name.startswith("."):
            continue  # on its way
        used[folder] = manifest.stat().st_mtime_ns
        sizes[folder] = sum(file.stat().st_size for file in folder.iterdir())
    used.pop(newest, None)
    for folder in sorted(used, key=lambda folder: used[folder]):
        if sum(sizes.values()) <= max_gb * GB:
            return
        log.info(f"removing {folder}, used least lately (data.cache_max_gb={max_gb:g})")
        shutil.rmtree(folder, ignore_errors=True)
        del sizes[folder]


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
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info(f"waiting for another process that converts {folder.name}")
        lock.acquire()
    try:
        for left in folder.parent.glob(f".{glob.escape(folder.name)}-*"):
            shutil.rmtree(left, ignore_errors=True)  # by a process that was killed
        yield
    finally:
        lock.release()


def _in_words(size: float) -> str:
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.{0 if units[0] == 'bytes' else 1}f} {units[0]}"
