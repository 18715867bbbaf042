"""A run or a sweep that goes on does so on the data file that it was begun with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.config import Settings
from normlab.config.data import CsvSettings
from normlab.errors import UserError
from normlab.layout import PROVENANCE, RESULT

if TYPE_CHECKING:
    from normlab.data.table import Table

DIGEST = "data_sha256"


def check_same_data(folder: Path, table: Table) -> None:
    """Refuses to go on with a run where the data file has changed.

    Raises:
        UserError: naming the file and both digests.
    """
    before = _trained_on(folder)
    if before is not None and before != table.sha256:
        raise _changed(table.source, folder, table.sha256, before)


def check_same_data_of_sweep(runs: Iterable[tuple[Settings, Path]]) -> None:
    """Refuses to go on with a sweep where a data file has changed since any run was begun on it.

    Files of which all runs have finished are not looked at.

    Args:
        runs: settings and folder of each, finished, begun or not.

    Raises:
        UserError: naming the file and both digests.
    """
    before: dict[str, dict[str, Path]] = {}  # the path of a file -> a digest -> a run's folder
    unfinished = set()
    for settings, folder in runs:
        if isinstance(settings.data, CsvSettings):
            path = settings.data.path
            digest = _trained_on(folder)
            if digest is not None:
                before.setdefault(path, {}).setdefault(digest, folder)
            if not (folder / RESULT).exists():
                unfinished.add(path)
    for path in before.keys() & unfinished:
        now = _digest_of(path)
        for digest, folder in before[path].items():
            if now not in (None, digest):
                raise _changed(path, folder, now, digest)


def _trained_on(folder: Path) -> str | None:
    """The digest that a run has noted; None where it has not, or its rows came from no file."""
    try:
        return json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))[DIGEST]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the columns are compared all the same


def _digest_of(path: str) -> str | None:
    try:
        state = Path(path).stat()
        return _digest(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except OSError:
        return None  # whoever reads the table says why


@cache
def _digest(path: str, *state: int) -> str:
    """Read once for all batches of a search, as long as the file stays as it is."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _changed(source: str, folder: Path, now: str | None, before: str) -> UserError:
    return UserError(
        f"{source} is not the file that {folder} was trained on: its SHA-256 is {now} and was "
        f"{before}. Bring that file back, or train anew in another folder"
    )
