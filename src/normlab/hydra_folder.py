"""The folder that Hydra makes before a run begins."""

from __future__ import annotations

from pathlib import Path


def discard(folder: Path, job: str) -> None:
    """Removes what Hydra made for a run that cannot start."""
    for file in (*(folder / ".hydra").glob("*.yaml"), folder / f"{job}.log"):
        file.unlink(missing_ok=True)
    remove_empty(folder / ".hydra", folder)


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
