"""What an earlier run left in a folder: a result to keep, or parts to clear away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from normlab.config.changes import changed
from normlab.defects import TRACEBACK
from normlab.durable import PARTIAL
from normlab.errors import UserError
from normlab.training.run_folder import CONFIG, EVENTS, METRICS, RESULT


def finished_result(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The content of result.json where a run of these settings has finished; else None.

    Raises:
        UserError: where a run of other settings has finished there.
    """
    if not (path / RESULT).exists():
        return None
    before = yaml.load((path / CONFIG).read_text(encoding="utf-8"), yaml.CSafeLoader)
    keys = changed(before, settings)
    if keys:
        raise UserError(
            f"{path} holds a finished run of other settings ({', '.join(keys)}): "
            "give another hydra.sweep.dir"
        )
    (path / TRACEBACK).unlink(missing_ok=True)  # of what came after its result
    return json.loads((path / RESULT).read_text(encoding="utf-8"))


def clear(path: Path) -> None:
    """Removes what an unfinished run left, so that it can be trained anew."""
    for pattern in (METRICS, EVENTS, TRACEBACK, f"*{PARTIAL}", "checkpoints/*.ckpt*"):
        for file in path.glob(pattern):
            file.unlink()
