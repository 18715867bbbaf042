"""Files that are whole or not there, whatever ends the program; JSON and YAML in them.

A file is written beside its place, forced to the disk and renamed: a reader, or a run that goes on
after a crash, sees the old file or the new one. What grows line by line is cut back where an
addition fails.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from normlab.errors import UserError

PARTIAL = ".partial"  # ends the names of files that are being written


def write_durably(path: Path, content: bytes | str) -> None:
    """Replaces the file, or makes it.

    Args:
        content: bytes, or a text that is written in UTF-8.

    Raises:
        UserError: where it cannot be written: the disk is full, the folder read-only or gone. The
            old file is untouched then.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def append_whole(path: Path, data: bytes) -> None:
    """Adds to the file's end, or makes it: all of the data or nothing.

    Raises:
        UserError: where it cannot be written.
    """
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while data:  # a disk that holds a part alone says why at the next writing
                    data = data[file.write(data) :]
            except BaseException:
                file.truncate(before)
                raise
    except OSError as error:
        raise cannot_write(path, error) from error


def force_to_disk(path: Path) -> None:
    """Waits until what was appended to a file would survive a loss of power; no file, no wait.

    Raises:
        UserError: where the disk refuses it.
    """
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_empty(*folders: Path) -> None:
    """Removes folders that are empty, each within the next.

    Of the folders above the last one only those below the working directory, which stays.
    """
    here = Path.cwd()
    above = [path for path in folders[-1].parents if path.is_relative_to(here)]
    for path in (*folders, *above):
        if path == here:
            return
        try:
            path.rmdir()
        except FileNotFoundError:  # hydra.output_subdir=null makes no .hydra
            continue
        except OSError:  # not empty: it holds something else
            return


def cannot_write(path: Path, error: OSError) -> UserError:
    """The message for a file that the disk or its rights refuse."""
    return UserError(f"Cannot write {path}: {error.strerror or error}")


def strict_json(value: Any) -> str:
    """The value as text; nan and infinities, for which JSON has no words, are null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


MOST_KNOWN = 4_096  # entries remembered

_known: dict[tuple[str, str], str] = {}


def to_yaml(content: Mapping[str, Any], under: str | None = None) -> str:
    """A mapping of plain values in block style, its keys in their order.

    An entry that another mapping had is remembered: hundreds of jobs differ in a few, and PyYAML
    takes a millisecond for a page.

    Args:
        under: a key that the whole mapping is to be the value of.
    """
    text = "".join(_entry(key, value) for key, value in content.items()) or "{}\n"
    return text if under is None else f"{under}:\n{indent(text, '  ')}"


def _entry(key: str, value: Any) -> str:
    mark = key, repr(value)
    if mark not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        entry = {key: value}
        _known[mark] = yaml.dump(
            entry, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True
        )
    return _known[mark]
