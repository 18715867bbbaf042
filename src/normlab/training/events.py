"""TensorBoard's event file, written without a thread or an open handle.

A SummaryWriter keeps a thread and a file for each run, and an event for each scalar; a sweep has
hundreds of runs. Here the events of many epochs are appended at once, the values of an epoch in
one event.
"""

# protobuf makes the classes of its messages when they are imported, unseen by pyright.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import google_crc32c
from matplotlib.figure import Figure
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.metadata import (
    NULL_TENSOR,
    PLUGIN_DATA_VERSION,
    PLUGIN_NAME,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from normlab.durable import append_whole

_serial = count()  # two files of one process and second get two names


class EventFile:
    """Appends events to one file in a folder, which is made at the first writing.

    Args:
        after_epoch: of a run that goes on; the steps that another file has after it are void.
    """

    def __init__(self, folder: Path, after_epoch: int | None = None) -> None:
        seconds = int(time.time())
        if after_epoch is not None:  # TensorBoard reads the files in the order of their names
            others = (path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*"))
            seconds = max([seconds, *(int(one) + 1 for one in others if one.isdecimal())])
        stamp = f"{seconds}.{socket.gethostname()}.{os.getpid()}.{next(_serial)}"
        self.path = folder / f"events.out.tfevents.{stamp}"
        self._after_epoch = after_epoch

    def append(self, events: Sequence[Event]) -> None:
        """Writes the events behind those already there."""
        if not self.path.exists():
            events = [*self._start(), *events]
        if events:
            append_whole(self.path, b"".join(record(e.SerializeToString()) for e in events))

    def _start(self) -> list[Event]:
        now = time.time()
        version = Event(wall_time=now, file_version="brain.Event:2")
        if self._after_epoch is None:
            return [version]
        log = SessionLog(status=SessionLog.START)
        return [version, Event(wall_time=now, step=self._after_epoch + 1, session_log=log)]


def record(data: bytes) -> bytes:
    """A TFRecord: length, its checksum, the data, its checksum; all little-endian.

    TensorBoard's own RecordWriter computes the checksums in Python, a tenth of a microsecond a
    byte, which for hundreds of runs or for a picture is longer than to train or to draw.
    """
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted as TensorFlow's record format masks it."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def scalars(step: int, values: dict[str, float], wall_time: float) -> Event:
    """All scalars of a step in one event."""
    summary = Summary(
        value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    )
    return Event(wall_time=wall_time, step=step, summary=summary)


def figure(tag: str, picture: Figure, wall_time: float, step: int = 0) -> Event:
    """A matplotlib figure as an image."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png")
    width, height = (round(inches * picture.dpi) for inches in picture.get_size_inches())
    image = Summary.Image(
        height=height, width=width, colorspace=4, encoded_image_string=buffer.getvalue()
    )
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    return Event(wall_time=wall_time, step=step, summary=summary)


def hparams_start(settings: dict[str, bool | int | float | str], wall_time: float) -> Event:
    """A run's settings for TensorBoard's HParams page.

    No list of all settings and metrics goes with it, though torch's `add_hparams` writes one:
    TensorBoard takes the first run's list for all runs, and without one finds their union.
    """
    info = SessionStartInfo(start_time_secs=wall_time)
    for key, value in settings.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            info.hparams[key].number_value = value
        else:
            info.hparams[key].string_value = str(value)
    return _hparams_event(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def hparams_end(wall_time: float) -> Event:
    """Marks a run as finished on the HParams page."""
    info = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"), end_time_secs=wall_time)
    return _hparams_event(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _hparams_event(tag: str, data: HParamsPluginData) -> Event:
    data.version = PLUGIN_DATA_VERSION
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=data.SerializeToString())
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=NULL_TENSOR)
    return Event(wall_time=time.time(), summary=Summary(value=[value]))
