"""What an earlier run left in a folder: a result to keep, epochs to go on from, parts to clear."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from normlab.config import Settings
from normlab.config.changes import changed, read_config, refuse_changes
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.files import PARTIAL
from normlab.layout import CONFIG, EVENTS, LAST, METRICS, RESULT
from normlab.model.tasks import Binary
from normlab.training.folder import RunFolder
from normlab.training.provenance import provenance
from normlab.training.resume import ResumePoint
from normlab.training.same_data import check_same_data

log = logging.getLogger(__name__)


def finished_result(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The content of result.json where a run of these settings has finished; else None.

    One that is now to train for more epochs has not finished.

    Raises:
        UserError: where a run of other settings has finished there.
    """
    if not (path / RESULT).exists():
        return None
    before = yaml.load((path / CONFIG).read_text(encoding="utf-8"), yaml.CSafeLoader)
    keys = changed(before, settings)
    epochs = before["trainer"]["max_epochs"], settings["trainer"]["max_epochs"]
    if list(keys) == ["trainer.max_epochs"] and epochs[0] < epochs[1]:
        return None
    if keys:
        raise UserError(
            f"{path} holds a finished run of other settings ({', '.join(keys)}): "
            "give another hydra.sweep.dir"
        )
    return json.loads((path / RESULT).read_text(encoding="utf-8"))


def points_of(folders: Iterable[Path]) -> list[ResumePoint]:
    """The checkpoints in some run folders that can be read, those with the most epochs first."""
    points = []
    for folder in folders:
        if (folder / LAST).is_file():
            try:
                points.append(ResumePoint.read(folder / LAST))
            except UserError as error:
                log.warning(f"{folder} is trained anew: {error}")
    return sorted(points, key=lambda point: -point.epochs)


def why_not_go_on(point: ResumePoint, folder: Path, settings: Settings) -> str | None:
    """What keeps a run from going on from a checkpoint; None where nothing does."""
    try:
        refuse_changes(folder, read_config(folder), settings)
        point.check_epochs(settings.trainer.max_epochs, finished=False)
    except UserError as error:
        return str(error)
    return None


def begin(folder: RunFolder, settings: Settings, table: Table) -> None:
    """Writes what is known before the first step, over what an unfinished run left."""
    for pattern in (METRICS, EVENTS, f"*{PARTIAL}", "checkpoints/*.ckpt*", RESULT):
        for file in folder.path.glob(pattern):
            file.unlink()
    folder.write_settings(settings.to_dict(), Binary.metrics)
    folder.write_provenance(provenance(table.sha256))


def go_on(
    folder: RunFolder, settings: Settings, table: Table, point: ResumePoint, run: int
) -> None:
    """Takes a folder back to where a checkpoint was written; the record of the start stays.

    Args:
        run: position among the checkpoint's runs.

    Raises:
        UserError: where the data file has changed, or a file of the folder is not what it was.
    """
    check_same_data(folder.path, table)
    if folder.finished and point.complete(settings.trainer.max_epochs):
        return
    folder.cut(point.lengths(run), point.epochs)
    (folder.path / RESULT).unlink(missing_ok=True)
    folder.write_settings(settings.to_dict(), Binary.metrics)
