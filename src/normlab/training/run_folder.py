"""What a run leaves behind, the same for a run alone and for a run of a stack.

config.yaml       the resolved settings
provenance.json   versions, the git commit, the data's SHA-256
metrics.csv       a row an epoch
events.out...     the same for TensorBoard, with settings, final metrics, texts and pictures
checkpoints/      best.ckpt, last.ckpt
result.json       the figures of the checkpoint that it names
"""

# protobuf makes the classes of its messages when they are imported, unseen by pyright.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from normlab.errors import UserError
from normlab.model.metrics import METRICS as METRIC_NAMES
from normlab.training.events import Event, EventFile, hparams_end, hparams_start, layout, scalars

CONFIG = "config.yaml"
PROVENANCE = "provenance.json"
METRICS = "metrics.csv"
RESULT = "result.json"
BEST = "checkpoints/best.ckpt"
LAST = "checkpoints/last.ckpt"
# TensorBoard goes by the alphabet: HParams shows the first five metrics until others are ticked,
# hence the final figures come first; Scalars opens the first two groups of tags, hence no `lr` of
# its own before the curves.
FINAL_TAGS = "result/"
RATE_TAG = "train/lr"
# Charts of the page Custom Scalars: both splits in one.
CHARTS = {name: [f"^{split}/{name}$" for split in ("train", "val")] for name in METRIC_NAMES}
# Settings that change no figure of result.json.
NOT_OF_THE_RUN = ("report.", "figures.", "trainer.enable_progress_bar")


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
        write_atomically(
            self.path / CONFIG,
            yaml.dump(settings, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True),
        )
        now = time.time()
        self._events += [
            hparams_start(flatten(settings), now),
            layout("train and val", CHARTS, now),
        ]

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """What the run was made of."""
        write_atomically(self.path / PROVENANCE, strict_json(provenance))

    def log_epoch(self, epoch: int, record: dict[str, float]) -> None:
        """An epoch's metrics; `epoch` counts the finished ones, so the first is 1."""
        self._rows.append({"epoch": epoch, **record})
        tagged = {RATE_TAG if name == "lr" else name: value for name, value in record.items()}
        self._events.append(scalars(epoch, tagged, time.time()))

    def add_events(self, events: Sequence[Event]) -> None:
        """Texts and pictures for TensorBoard, in their place among the epochs."""
        self._events += events

    def flush(self, at_most_every: float = 0.0) -> None:
        """Appends what was logged to metrics.csv and to the events.

        Args:
            at_most_every: seconds since the last time, below which nothing happens.
        """
        if time.monotonic() - self._flushed < at_most_every:
            return
        if self._rows:
            path = self.path / METRICS
            new = not path.exists()
            self._columns = self._columns or list(self._rows[0])
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
                if new:
                    writer.writeheader()
                writer.writerows(self._rows)
        self._events_file.append(self._events)
        self._rows, self._events = [], []
        self._flushed = time.monotonic()

    def save_checkpoint(self, name: str, checkpoint: dict[str, Any]) -> None:
        """Writes `BEST` or `LAST`, loadable with `weights_only=True`."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        torch.save(checkpoint, partial)
        os.replace(partial, path)

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
        write_atomically(self.path / RESULT, strict_json(result))


def finished_result(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The content of result.json where a run of these settings has finished; else None.

    Raises:
        UserError: where a run of other settings has finished there.
    """
    if not (path / RESULT).exists():
        return None
    before = yaml.load((path / CONFIG).read_text(encoding="utf-8"), yaml.CSafeLoader)
    old, new = flatten(before), flatten(settings)
    keys = [
        key
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not key.startswith(NOT_OF_THE_RUN)
    ]
    if keys:
        raise UserError(
            f"{path} holds a finished run of other settings ({', '.join(keys)}): "
            "give another hydra.sweep.dir"
        )
    return json.loads((path / RESULT).read_text(encoding="utf-8"))


def clear(path: Path) -> None:
    """Removes what an unfinished run left, so that it can be trained anew."""
    for pattern in (METRICS, "events.out.tfevents.*", "*.partial", "checkpoints/*.ckpt*"):
        for file in path.glob(pattern):
            file.unlink()


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings as dotted keys with values that TensorBoard's HParams can hold."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (bool, int, float, str)):
            flat[prefix + key] = value
        else:
            flat[prefix + key] = "null" if value is None else str(value)
    return flat


def strict_json(value: Any) -> str:
    """JSON that every parser takes: nan and infinities are null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
