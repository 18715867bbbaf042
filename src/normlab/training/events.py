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
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from numpy.typing import ArrayLike, NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout
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
from tensorboard.plugins.text import metadata as text_metadata

from normlab.files import append_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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

    def append(self, events: Sequence[Event], records: bytes = b"") -> None:
        """Writes events, then such as are records already, behind those that are there."""
        if not self.path.exists():
            events = [*self._start(), *events]
        data = b"".join(record(event.SerializeToString()) for event in events) + records
        if data:
            append_whole(self.path, data)

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
    return struct.pack("<I", _masked(google_crc32c.value(data)))


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def scalars(step: int, values: dict[str, float], wall_time: float) -> Event:
    """All scalars of a step in one event."""
    summary = Summary(
        value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    )
    return Event(wall_time=wall_time, step=step, summary=summary)


def scalar_records(
    tags: Sequence[str],
    steps: ArrayLike,
    values: ArrayLike,
    wall_times: ArrayLike,
) -> bytes:
    """The records of many steps' scalars under the same tags.

    protobuf takes 15 us for an event, which for hundreds of runs is as long as their training. But
    one event differs from the next in its time, its step and its values alone: all of them are
    written at once into copies of one. A step has five bytes, whatever its size: a varint may have
    leading zeros.

    Args:
        steps, wall_times: (steps,); steps below 2**35.
        values: (steps, tags).
    """
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=0.0) for tag in tags])
    body = Event(summary=summary).SerializeToString()
    event = np.frombuffer(b"\x09" + bytes(8) + b"\x10" + bytes(5) + body, np.uint8)
    step = np.asarray(steps, np.int64)
    events = np.tile(event, (len(step), 1))
    events[:, 1:9] = _bytes_of(wall_times, "<f8")
    for i in range(5):
        events[:, 10 + i] = (step >> 7 * i & 0x7F) | (0x80 if i < 4 else 0)
    with np.errstate(over="ignore"):  # of float64 metrics; inf is what there is to show
        singles = np.asarray(values, "<f4").T
    end = len(event)  # of the last value; each stands at the end of its own message
    for tag, column in zip(reversed(tags), reversed(singles), strict=True):
        events[:, end - 4 : end] = _bytes_of(column, "<f4")
        value = Summary.Value(tag=tag, simple_value=0.0)
        end -= Summary(value=[value]).ByteSize()
    length = struct.pack("<Q", len(event))
    header = length + _checksum(length)
    return b"".join(part for data in map(bytes, events) for part in (header, data, _checksum(data)))


def _bytes_of(numbers: Any, dtype: str) -> NDArray[np.uint8]:
    column = np.ascontiguousarray(numbers, dtype)
    return column.view(np.uint8).reshape(len(column), -1)


def figure(tag: str, picture: Figure, wall_time: float, step: int = 0) -> Event:
    """A matplotlib figure as an image."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # Less compression halves the time of encoding, for a tenth more bytes. Text is half of what is
    # left, and a third of it to fit the glyphs to pixels.
    with rc_context({"text.hinting": "none"}):
        picture.savefig(buffer, format="png", pil_kwargs={"compress_level": 3})
    width, height = (round(inches * picture.dpi) for inches in picture.get_size_inches())
    image = Summary.Image(
        height=height, width=width, colorspace=4, encoded_image_string=buffer.getvalue()
    )
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    return Event(wall_time=wall_time, step=step, summary=summary)


def text(tag: str, markdown: str, wall_time: float, step: int = 0) -> Event:
    """A text that TensorBoard sets as Markdown, with tables and fenced code."""
    metadata = text_metadata.create_summary_metadata(display_name=None, description=None)
    return _text_event(tag, markdown.encode(), metadata, wall_time, step)


def layout(category: str, charts: Mapping[str, Sequence[str]], wall_time: float) -> Event:
    """Which tags share a chart on the page of custom scalars.

    TensorBoard merges the layouts of all runs by the names of categories and charts.

    Args:
        category: name of the group of charts.
        charts: the tags of each chart, as regular expressions, by its title.
    """
    shown = Layout(
        category=[
            Category(
                title=category,
                chart=[
                    Chart(title=title, multiline={"tag": tags}) for title, tags in charts.items()
                ],
            )
        ]
    )
    metadata = custom_scalar.create_summary_metadata()
    tag = custom_scalar.CONFIG_SUMMARY_TAG
    return _text_event(tag, shown.SerializeToString(), metadata, wall_time)


def _text_event(
    tag: str, content: bytes, metadata: SummaryMetadata, wall_time: float, step: int = 0
) -> Event:
    tensor = TensorProto(dtype=DT_STRING, string_val=[content])
    value = Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
    return Event(wall_time=wall_time, step=step, summary=Summary(value=[value]))


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
