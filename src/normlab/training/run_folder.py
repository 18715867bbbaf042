"""What a run leaves behind, the same for a run alone and for a run of a stack.

config.yaml       the resolved settings
provenance.json   versions, the git commit, the data's SHA-256
metrics.csv       a row an epoch
events.out...     the same for TensorBoard, with settings, final metrics, texts and pictures
checkpoints/      best.ckpt, last.ckpt; stack.ckpt while runs train as one
result.json       the figures of the checkpoint that it names
traceback.txt     in a sweep, where a defect of the program has ended the run
"""

# protobuf makes the classes of its messages when they are imported, unseen by pyright.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from normlab.config.changes import flatten
from normlab.defects import TRACEBACK
from normlab.diagnosis.curves import Curves
from normlab.durable import write_durably
from normlab.errors import UserError
from normlab.model.metrics import METRICS as METRIC_NAMES
from normlab.plain_yaml import to_yaml
from normlab.strict_json import strict_json
from normlab.training.epochs import Epoch, Epochs
from normlab.training.events import (
    Event,
    EventFile,
    hparams_end,
    hparams_start,
    layout,
    scalar_records,
    scalars,
)
from normlab.training.metrics_file import MetricsFile

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
# Charts of the page Custom Scalars: both splits in one.
CHARTS = {name: [f"^{split}/{name}$" for split in ("train", "val")] for name in METRIC_NAMES}


class RunFolder:
    """A run's folder. What is logged stays in memory until `flush`, and no file stays open.

    Attributes:
        curves: losses of the epochs that were written here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curves = Curves()
        self._metrics = MetricsFile(path / METRICS)
        self._events_file = EventFile(path)
        self._epochs: list[Epoch] = []
        self._events: list[Event] = []
        self._flushed = time.monotonic()

    def write_settings(self, settings: dict[str, Any]) -> None:
        """The resolved settings, as plain types."""
        write_durably(self.path / CONFIG, to_yaml(settings))
        now = time.time()
        self._events += [
            hparams_start(flatten(settings), now),
            layout("train and val", CHARTS, now),
        ]

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """What the run was made of."""
        write_durably(self.path / PROVENANCE, strict_json(provenance))

    def log_epoch(self, epoch: int, record: dict[str, float]) -> None:
        """An epoch's metrics; `epoch` counts the finished ones, so the first is 1."""
        self._epochs.append(Epoch(epoch, time.time(), record))

    def add_events(self, events: Sequence[Event]) -> None:
        """Texts and pictures for TensorBoard, in their place among the epochs."""
        self._events += events

    def flush(self, at_most_every: float = 0.0) -> None:
        """Appends what was logged to metrics.csv and to the events.

        Args:
            at_most_every: seconds since the last time, below which nothing happens.
        """
        if time.monotonic() - self._flushed >= at_most_every:
            # Taken first: whatever becomes of the writing, no row is written twice.
            logged, self._epochs = self._epochs, []
            self.write_epochs(Epochs.of(logged) if logged else None)
            self._flushed = time.monotonic()

    def write_epochs(self, epochs: Epochs | None) -> None:
        """Appends epochs, and with them the texts and pictures that were added."""
        records = b""
        if epochs is not None:
            self._metrics.append(epochs)
            self.curves.extend(epochs)
            records = b"".join(map(_scalars_of, epochs.complete()))
        self._events_file.append(self._events, records)
        self._events = []

    def all_curves(self) -> Curves:
        """Losses of all epochs, of this process and of others that wrote here."""
        self.flush()
        return self.curves.whole(self.path / METRICS)

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
        (self.path / TRACEBACK).unlink(missing_ok=True)
        for name in now:
            if name in lengths:
                os.truncate(self.path / name, lengths[name])
            else:
                (self.path / name).unlink()
        self._epochs, self._events, self.curves = [], [], Curves()
        self._metrics = MetricsFile(self.path / METRICS)
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


def _scalars_of(epochs: Epochs) -> bytes:
    tags = [RATE_TAG if name == "lr" else name for name in epochs.names]
    return scalar_records(tags, epochs.numbers, epochs.values, epochs.wall_times)
