"""The folders of runs and sweeps, before anything is written into them."""

from __future__ import annotations

import os
from pathlib import Path

from normlab.config.typed import shell_quoted
from normlab.errors import UserError
from normlab.files import remove_empty
from normlab.layout import CONFIG


def own_folder(named: Path) -> Path:
    """Makes a folder, with a number behind its name where another program has it.

    Making it is what decides between programs that start in the same second.

    Raises:
        UserError: where no folder can be made.
    """
    folder, number = named, 1
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            break
        except FileExistsError:
            number += 1
            folder = named.with_name(f"{named.name}_{number}")
        except OSError as error:
            raise UserError(f"Cannot make {folder}: {error.strerror}") from error
    return folder


def refuse_occupied(folder: Path) -> None:
    """A run never writes over another one.

    Raises:
        UserError: where the folder already holds a run.
    """
    if (folder / CONFIG).exists():
        raise UserError(
            f"{folder} already holds a run: give another folder as hydra.run.dir, or go on with "
            f"it: {shell_quoted(f'resume={folder}')}"
        )


def refuse_file(key: str, folder: Path) -> None:
    """A folder cannot be made where a file is: at its place, or above it.

    Raises:
        UserError: naming the file.
    """
    for path in (folder, *folder.parents):
        if os.path.lexists(path) and not path.is_dir():
            raise UserError(f"{key}={folder}: {path} is no folder; give another name")


def discard(folder: Path, job: str) -> None:
    """Removes what Hydra made for a run that cannot start."""
    for file in (*(folder / ".hydra").glob("*.yaml"), folder / f"{job}.log"):
        file.unlink(missing_ok=True)
    remove_empty(folder / ".hydra", folder)
