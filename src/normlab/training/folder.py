"""What a run leaves behind, alone or one of many that train together.

config.yaml       the resolved settings
provenance.json   versions, the git commit, the data's SHA-256
metrics.csv       a row an epoch
events.out...     the same for TensorBoard, with settings, final metrics, texts and pictures
checkpoints/      best.ckpt; last.ckpt, of runs that train together in the first one's folder
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
from normlab.diagnosis.curves import Curves
from normlab.errors import UserError
from normlab.files import force_to_disk, strict_json, to_yaml, write_durably
from normlab.layout import CONFIG, EVENTS, METRICS, PROVENANCE, RESULT, TRACEBACK
from normlab.training.epochs import Epochs
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

# TensorBoard goes by the alphabet: HParams shows the first five metrics until others are ticked,
# hence the final figures come first; Scalars opens the first two groups of tags, hence no `lr` of
# its own before the curves.
FINAL_TAGS = "result/"
RATE_TAG = "train/lr"


class RunFolder:
    """A run's folder. No file in it stays open.

    Attributes:
        curves: losses of the epochs that were written here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curves = Curves()
        self._metrics = MetricsFile(path / METRICS)
        self._events_file = EventFile(path)
        self._events: list[Event] = []

    @property
    def finished(self) -> bool:
        """Whether the run has left its result."""
        return (self.path / RESULT).exists()

    def write_settings(self, settings: dict[str, Any], metrics: Sequence[str]) -> None:
        """The resolved settings, as plain types.

        Args:
            metrics: names of those that TensorBoard's page Custom Scalars gives a chart, both
                splits in one.
        """
        write_durably(self.path / CONFIG, to_yaml(settings))
        now = time.time()
        charts = {name: [f"^{split}/{name}$" for split in ("train", "val")] for name in metrics}
        self._events += [
            hparams_start(flatten(settings), now),
            layout("train and val", charts, now),
        ]

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """What the run was made of."""
        write_durably(self.path / PROVENANCE, strict_json(provenance))

    def add_events(self, events: Sequence[Event]) -> None:
        """Texts and pictures for TensorBoard, in their place among the epochs."""
        self._events += events

    def write(self, epochs: Epochs | None = None) -> None:
        """Appends epochs, and the texts and pictures that were added, to the files that grow."""
        # Taken first: whatever becomes of the writing, nothing is written twice.
        events, self._events = self._events, []
        records = b""
        if epochs is not None:
            self._metrics.append(epochs)
            self.curves.extend(epochs)
            records = b"".join(map(_scalars_of, epochs.complete()))
        self._events_file.append(events, records)

    def sync(self) -> None:
        """Forces metrics.csv to the disk: a checkpoint that counts on its length may follow."""
        force_to_disk(self.path / METRICS)

    def all_curves(self) -> Curves:
        """Losses of all epochs, of this process and of others that wrote here."""
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
            if now.get(name, -1) < length and name == METRICS:
                raise UserError(
                    f"{self.path / name} is not what it was when the checkpoint was written: "
                    f"{now.get(name, 0)} of {length} bytes are left"
                )
        (self.path / TRACEBACK).unlink(missing_ok=True)
        for name in now:
            if name not in lengths:
                (self.path / name).unlink()
            elif lengths[name] < now[name]:
                os.truncate(self.path / name, lengths[name])
        self._events, self.curves = [], Curves()
        self._metrics = MetricsFile(self.path / METRICS)
        self._events_file = EventFile(self.path, after_epoch=epoch)

    def save_checkpoint(self, name: str, checkpoint: dict[str, Any]) -> None:
        """Writes `BEST`, loadable with `weights_only=True`."""
        save_durably(self.path / name, checkpoint)

    def write_result(self, result: dict[str, Any]) -> None:
        """result.json, which marks the run as finished, and its figures for TensorBoard."""
        now = time.time()
        metrics = {
            f"{FINAL_TAGS}{part}_{name}": value
            for part in ("train", "val", "test")
            for name, value in (result[part] or {}).items()
        }
        self._events += [scalars(result["epochs"], metrics, now), hparams_end(now)]
        self.write()
        write_durably(self.path / RESULT, strict_json(result))


def save_durably(path: Path, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint: the old file or the new one is there, whole."""
    path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_durably(path, content.getvalue())


def _scalars_of(epochs: Epochs) -> bytes:
    tags = [RATE_TAG if name == "lr" else name for name in epochs.names]
    return scalar_records(tags, epochs.numbers, epochs.values, epochs.wall_times)
