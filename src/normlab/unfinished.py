"""How runs that were ended go on: from what each of them has left."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from normlab.config import Settings
from normlab.continuing import check_continuation, read_config, refuse_changes
from normlab.errors import UserError
from normlab.training.leftovers import clear
from normlab.training.resume import ResumePoint
from normlab.training.run_folder import LAST, RESULT, STACK, RunFolder
from normlab.training.stacked.resume import StackPoint

log = logging.getLogger(__name__)


def unfinished(folder: Path, settings: Settings) -> ResumePoint | None:
    """Where a run goes on; None where it has left no checkpoint of its own of these settings."""
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        refuse_changes(folder, read_config(folder), settings)
        resumed = ResumePoint.read(path)
        resumed.check_epochs(settings.trainer.max_epochs, finished=False)
    except UserError as error:
        log.warning(f"{folder} is trained anew: {error}")
        return None
    return resumed


def asked_for(settings: Settings, writes: bool) -> ResumePoint | None:
    """The checkpoint that `ckpt_path` names; None where the run was ended before its first one.

    Raises:
        UserError: where the run cannot go on from it.
    """
    path = Path(settings.ckpt_path or "")
    folder = path.parent.parent
    if not check_continuation(folder, settings):
        if writes:
            clear(folder)
        return None
    resumed = ResumePoint.read(path)
    resumed.check_epochs(settings.trainer.max_epochs, (folder / RESULT).exists())
    return resumed


def write_continuation(folder: RunFolder, settings: Settings, resumed: ResumePoint) -> None:
    """Takes the folder back to the checkpoint; the record of how the run was begun stays."""
    folder.cut(resumed.lengths, resumed.epochs)
    (folder.path / RESULT).unlink(missing_ok=True)
    folder.write_settings(settings.to_dict())


@dataclass
class Unfinished:
    """Which of some runs go on, by their positions.

    Attributes:
        stacked: in the stack that they trained in.
        own: from their own last checkpoint, of all their epochs or of some.
    """

    stacked: dict[int, StackPoint] = field(default_factory=dict)
    own: dict[int, ResumePoint] = field(default_factory=dict)


def find_unfinished(
    folders: Iterable[Path], waiting: Iterable[tuple[int, Path, Settings]]
) -> Unfinished:
    """Looks through folders for checkpoints of stacks and of runs.

    A stack's checkpoint comes first: its runs repeat the epochs since then together, to the same
    bits, also those that have left it after that.

    Args:
        folders: of all runs, also finished ones: a stack's checkpoint lies with any of its runs.
        waiting: position, folder and settings of each run that has no result.
    """
    found = Unfinished()
    stacks: dict[Path, StackPoint] = {}
    for folder in folders:
        path = folder / STACK
        if not path.is_file():
            continue
        try:
            point = StackPoint.read(path)
        except UserError as error:
            log.warning(str(error))
            continue
        for one in point.folders:
            before = stacks.get(one.resolve())
            if before is None or before.epochs < point.epochs:
                stacks[one.resolve()] = point
    for i, folder, settings in waiting:
        stack = stacks.get(folder.resolve())
        if stack is not None:
            if _goes_on(folder, settings, stack):
                found.stacked[i] = stack
            continue
        own = unfinished(folder, settings)
        if own is not None:
            found.own[i] = own
    return found


def _goes_on(folder: Path, settings: Settings, point: StackPoint) -> bool:
    try:
        refuse_changes(folder, read_config(folder), settings)
    except UserError as error:
        log.warning(f"{folder} is trained anew: {error}")
        return False
    return point.epochs <= settings.trainer.max_epochs
