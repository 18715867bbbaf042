"""One process at a time in the folder of a run or a sweep.

The locks are the operating system's: they end with their process, `kill -9` included, and a file
that such an end leaves behind holds nobody up.

A sweep writes into the folders of its runs. So a run holds the lock of its folder and looks whether
a sweep's above it is held; a sweep holds its own and looks at its runs'. Both take before they
look: of two that start at once, at least one sees the other.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.errors import UserError
from normlab.files import cannot_write, remove_empty

if TYPE_CHECKING:
    from filelock import BaseFileLock

OF_RUN, OF_SWEEP = ".run.lock", ".sweep.lock"
A_MOMENT = 0.2  # seconds: another process may hold a lock for as long as it looks
# What a network's file system answers that knows no locks.
WITHOUT_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP})

log = logging.getLogger(__name__)
_held: dict[Path, BaseFileLock | None] = {}


def hold_run(folder: Path) -> None:
    """Takes a run's folder, which is made if need be, until `let_go`.

    Raises:
        UserError: where another process trains in it, naming that process.
    """
    _take(folder, OF_RUN)
    for above in folder.resolve().parents:
        refuse_held(above, OF_SWEEP)


def hold_sweep(folder: Path) -> None:
    """Takes a sweep's folder, which is made if need be, until `let_go`.

    Raises:
        UserError: where another process holds it, naming that process.
    """
    _take(folder, OF_SWEEP)


@contextmanager
def holding_job(folder: Path) -> Iterator[None]:
    """Within, this process has the folder of one of a sweep's runs.

    Jobs may train in processes of their own, which outlive the sweep's where that is killed.

    Raises:
        UserError: where another process trains in it.
    """
    path = _take(folder, OF_RUN)
    try:
        yield
    finally:
        _release(path)


def refuse_held(folder: Path, name: str) -> None:
    """Looks whether another process holds a folder.

    Args:
        name: `OF_RUN` or `OF_SWEEP`.

    Raises:
        UserError: naming the process.
    """
    if os.path.exists(folder / name):
        lock = _lock(folder, name)
        if lock is not None:
            lock.release()


def let_go() -> None:
    """Releases all that this process holds."""
    for path in list(_held):
        _release(path)


def _take(folder: Path, name: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    path = folder.absolute() / name
    lock = _held[path] = _lock(folder, name)
    if lock is not None:
        try:
            path.write_text(f"{os.getpid()} {platform.node()}")
        except OSError as error:
            raise cannot_write(path, error) from error
    return path


def _lock(folder: Path, name: str) -> BaseFileLock | None:
    """The lock, taken; None where the file system has none."""
    from filelock import FileLock, Timeout  # 25 ms, which a refused setting should not take

    path = folder / name
    lock = FileLock(path, timeout=A_MOMENT, poll_interval=0.02, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder} is in use by {_holder(path)}: wait until that has ended, or end it"
        ) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise cannot_write(path, error) from error
        log.warning(f"{folder}: its file system has no locks. Start no second process there.")
        return None
    return lock


def _holder(path: Path) -> str:
    with suppress(OSError):
        pid, _, host = path.read_text().partition(" ")
        if pid:
            return f"process {pid}" + (f" on {host}" if host != platform.node() else "")
    return "another process"


def _release(path: Path) -> None:
    """Also removes the file, and the folder if nothing else was written to it."""
    lock = _held.pop(path)
    if lock is None or lock.is_locked:  # a fork holds nothing
        with suppress(OSError):
            os.remove(path)  # while it is held: whoever waits for it makes another
        if lock is not None:
            lock.release()
        remove_empty(path.parent)
