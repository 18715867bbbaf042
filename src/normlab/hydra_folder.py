"""The folder that Hydra makes before a run begins."""

from __future__ import annotations

from pathlib import Path

_made: list[Path] = []


def discard(folder: Path, job: str) -> None:
    """Removes what Hydra made for a run that cannot start.

    Of the folders above it only those below the working directory, which stays, if empty.
    """
    for file in (*(folder / ".hydra").glob("*.yaml"), folder / f"{job}.log"):
        file.unlink(missing_ok=True)
    _remove_empty(folder / ".hydra", folder)


def note(folder: Path) -> None:
    """Remembers a folder that was made before all was checked, for `remove_unused`."""
    _made.append(folder.absolute())


def remove_unused() -> None:
    """Removes the folders of `note` into which nothing was written."""
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
