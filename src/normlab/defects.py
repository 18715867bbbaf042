"""A defect of the program in runs of a sweep: noted in their folders, while the others train."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from normlab.continuing import RESULT
from normlab.durable import write_durably
from normlab.errors import UserError
from normlab.messages import OF_THE_DISK, fail
from normlab.out_of_memory import told_of_memory

# In a run's folder: which run and what exception in the first line, the traceback below.
# Whatever keeps the run's result, or trains it once more, removes it.
TRACEBACK = "traceback.txt"

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
        if isinstance(error, OSError) and error.errno in OF_THE_DISK:
            raise
        reason = "".join(traceback.format_exception_only(error)).splitlines()[0]
        lines = "".join(traceback.format_exception(error))
        for folder in [one for one in runs if not (one / RESULT).exists()] or runs:
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(folder / TRACEBACK, f"{runs[folder]}: {reason}\n\n{lines}")
            log.error(f"{runs[folder]}: {reason}; its traceback: {folder / TRACEBACK}")


class Defects(Callback):
    """Names the runs that a defect has ended, when the others have trained."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the last job and the report."""
        notes = Path(config.hydra.sweep.dir).rglob(TRACEBACK)
        found = sorted(notes, key=lambda note: (len(note.parent.name), note))
        if found:
            said = "".join(f"\n  {_first_line(note)}\n    traceback: {note}" for note in found)
            fail(UserError(f"defects of the program; the other runs have trained:{said}"))


def _first_line(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[0]
