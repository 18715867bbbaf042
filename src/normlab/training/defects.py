"""A defect of the program in runs of a sweep: noted in their folders, while the others train."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from normlab.errors import UserError, of_the_disk, told_of_memory
from normlab.files import write_durably
from normlab.layout import RESULT, TRACEBACK

log = logging.getLogger(__name__)


@contextmanager
def set_aside(runs: Mapping[Path, str]) -> Iterator[None]:
    """Within, a defect ends these runs alone: it is noted in their folders, and that is all.

    Not what a user can mend, which ends the sweep with a message.

    Args:
        runs: folder and title of each; of several those without a result are meant.
    """
    try:
        with told_of_memory():
            yield
    except UserError:
        raise
    except Exception as error:
        if of_the_disk(error):
            raise
        reason = "".join(traceback.format_exception_only(error)).splitlines()[0]
        lines = "".join(traceback.format_exception(error))
        for folder in [one for one in runs if not (one / RESULT).exists()] or runs:
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(folder / TRACEBACK, f"{runs[folder]}: {reason}\n\n{lines}")
            log.error(f"{runs[folder]}: {reason}; its traceback: {folder / TRACEBACK}")


def refuse_defects(sweep: Path) -> None:
    """To be called when all runs of a sweep have been trained.

    Raises:
        UserError: naming each run that a defect has ended, and where its traceback stands.
    """
    notes = sorted(sweep.rglob(TRACEBACK), key=lambda note: (len(note.parent.name), note))
    if notes:
        said = (f"  {_first_line(note)}\n    its traceback: {note}" for note in notes)
        raise UserError("defects of the program; the other runs have trained:\n" + "\n".join(said))


def _first_line(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[0]
