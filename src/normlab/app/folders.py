"""The folders of runs and sweeps, before anything is written into them."""

from __future__ import annotations

from pathlib import Path

from normlab.config.typed import shell_quoted
from normlab.errors import UserError

_made: list[Path] = []


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
    _made.append(folder.absolute())
    return folder


def refuse_occupied(folder: Path) -> None:
    """A run never writes over another one.

    Raises:
        UserError: where the folder already holds a run.
    """
    if (folder / "config.yaml").exists():
        raise UserError(
            f"{folder} already holds a run: give another folder as hydra.run.dir, or go on with "
            f"it: {shell_quoted(f'resume={folder}')}"
        )


def discard(folder: Path, job: str) -> None:
    """Removes what Hydra made for a run that cannot start.

    Of the folders above it only those below the working directory, which stays, if empty.
    """
    for file in (*(folder / ".hydra").glob("*.yaml"), folder / f"{job}.log"):
        file.unlink(missing_ok=True)
    _remove_empty(folder / ".hydra", folder)


def remove_unused() -> None:
    """Removes the folders of `own_folder` into which nothing was written."""
    while _made:
        _remove_empty(_made.pop())


def _remove_empty(*folders: Path) -> None:
    """Also the folders above the last one, below the working directory."""
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
