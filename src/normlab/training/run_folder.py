"""What a run leaves behind, the same for a run alone and for a run of a stack.

config.yaml       the resolved settings
provenance.json   versions, the git commit, the data's SHA-256
metrics.csv       a row an epoch
events.out...     the same for TensorBoard, with the settings and final metrics (HParams)
checkpoints/      best.ckpt, last.ckpt; stack.ckpt while runs train as one
result.json       the figures of the checkpoint that it names
"""

# protobuf makes the classes of its messages when they are imported, unseen by pyright.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from normlab.config.changes import changed, flatten
from normlab.durable import PARTIAL, append_whole, write_durably
from normlab.errors import UserError
from normlab.training.events import Event, EventFile, hparams_end, hparams_start, scalars

CONFIG = "config.yaml"
PROVENANCE = "provenance.json"
METRICS = "metrics.csv"
RESULT = "result.json"
BEST = "checkpoints/best.ckpt"
LAST = "checkpoints/last.ckpt"
STACK = "checkpoints/stack.ckpt"
EVENTS = "events.out.tfevents.*"
# TensorBoard goes by the alphabet: HParams shows the first five metrics until others are ticked,
# hence the final figures come first; Scalars opens the first two groups of tags, hence no `lr` of
# its own before the curves.
FINAL_TAGS = "result/"
RATE_TAG = "train/lr"


class RunFolder:
    """A run's folder. Epochs are kept in memory until `flush`, and no file stays open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events_file = EventFile(path)
        self._rows: list[dict[str, float]] = []
        self._events: list[Event] = []
        self._columns: list[str] | None = None
        self._flushed = time.monotonic()

    def write_settings(self, settings: dict[str, Any]) -> None:
        """The resolved settings, as plain types."""
        write_durably(
            self.path / CONFIG,
            yaml.dump(settings, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True),
        )
        self._events.append(hparams_start(flatten(settings), time.time()))

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """What the run was made of."""
        write_durably(self.path / PROVENANCE, strict_json(provenance))

    def log_epoch(self, epoch: int, record: dict[str, float]) -> None:
        """An epoch's metrics; `epoch` counts the finished ones, so the first is 1."""
        self._rows.append({"epoch": epoch, **record})
        tagged = {RATE_TAG if name == "lr" else name: value for name, value in record.items()}
        self._events.append(scalars(epoch, tagged, time.time()))

    def flush(self, at_most_every: float = 0.0) -> None:
        """Appends what was logged to metrics.csv and to the events.

        Args:
            at_most_every: seconds since the last time, below which nothing happens.
        """
        if time.monotonic() - self._flushed < at_most_every:
            return
        if self._rows:
            append_whole(self.path / METRICS, self._csv(self._rows).encode())
            self._rows = []
        self._events_file.append(self._events)
        self._events = []
        self._flushed = time.monotonic()

    def _csv(self, rows: list[dict[str, float]]) -> str:
        """The rows as lines, below a header where the file has none yet."""
        path = self.path / METRICS
        new = not path.exists() or path.stat().st_size == 0
        if self._columns is None:
            self._columns = list(rows[0]) if new else _header(path)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="", extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def lengths(self) -> dict[str, int]:
        """The files that grow by the epoch, with their bytes: what a checkpoint notes of them."""
        growing = [self.path / METRICS, *self.path.glob(EVENTS)]
        return {path.name: path.stat().st_size for path in growing if path.exists()}

    def cut(self, lengths: dict[str, int], epoch: int) -> None:
        """Takes the folder back to where a checkpoint was written, to go on from there.

        The events go on in a file of their own, which tells a TensorBoard that has seen the later
        ones to forget them.

        Args:
            lengths: as of `lengths`, at that time.
            epoch: number of epochs finished then.

        Raises:
            UserError: where a file is gone or shorter than it was; nothing is cut then.
        """
        now = self.lengths()
        for name, length in lengths.items():
            if now.get(name, -1) < length:
                raise UserError(
                    f"{self.path / name} is not what it was when the checkpoint was written: "
                    f"{now.get(name, 0)} of {length} bytes are left"
                )
        for name in now:
            if name in lengths:
                os.truncate(self.path / name, lengths[name])
            else:
                (self.path / name).unlink()
        self._rows, self._events, self._columns = [], [], None
        self._events_file = EventFile(self.path, after_epoch=epoch)

    def save_checkpoint(self, name: str, checkpoint: dict[str, Any]) -> None:
        """Writes `BEST` or `LAST`, loadable with `weights_only=True`."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_durably(path, content.getvalue())

    def write_result(self, result: dict[str, Any]) -> None:
        """result.json, which marks the run as finished, and its figures for TensorBoard."""
        now = time.time()
        metrics = {
            f"{FINAL_TAGS}{part}_{name}": value
            for part in ("train", "val", "test")
            for name, value in (result[part] or {}).items()
        }
        self._events += [scalars(result["epochs"], metrics, now), hparams_end(now)]
        self.flush()
        write_durably(self.path / RESULT, strict_json(result))


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
    return json.loads((path / RESULT).read_text(encoding="utf-8"))


def clear(path: Path) -> None:
    """Removes what an unfinished run left, so that it can be trained anew."""
    for pattern in (METRICS, EVENTS, f"*{PARTIAL}", "checkpoints/*.ckpt*"):
        for file in path.glob(pattern):
            file.unlink()


def strict_json(value: Any) -> str:
    """JSON that every parser takes: nan and infinities are null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _header(path: Path) -> list[str]:
    """The names of the columns of metrics.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))
