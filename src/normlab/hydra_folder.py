"""The folder that Hydra makes before a run begins."""

from __future__ import annotations

from pathlib import Path


def discard(folder: Path, job: str) -> None:
    """Removes what Hydra made for a run that cannot start.

    Of the folders above it only those below the working directory, which stays, if empty.
    """
    for file in (*(folder / ".hydra").glob("*.yaml"), folder / f"{job}.log"):
        file.unlink(missing_ok=True)
    above = [path for path in folder.parents if path.is_relative_to(Path.cwd())]
    for path in (folder / ".hydra", folder, *above):
        if path == Path.cwd():
            return
        try:
            path.rmdir()
        except FileNotFoundError:  # hydra.output_subdir=null makes no .hydra
            continue
        except OSError:  # not empty: it holds something else
            return
