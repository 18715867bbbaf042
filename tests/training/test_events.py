"""Records made without protobuf, read back by TensorBoard."""

# protobuf makes the classes of its messages when they are imported, unseen by pyright.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from normlab.training import events

single = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=60)
@given(
    tags=st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=9),
    epochs=st.integers(1, 5),
    data=st.data(),
)
def test_scalars_of_many_steps_are_the_events_that_protobuf_would_make(
    tmp_path_factory: pytest.TempPathFactory, tags: list[str], epochs: int, data: st.DataObject
) -> None:
    steps = data.draw(st.lists(st.integers(0, 2**35 - 1), min_size=epochs, max_size=epochs))
    row = st.lists(single, min_size=len(tags), max_size=len(tags))
    values = data.draw(st.lists(row, min_size=epochs, max_size=epochs))
    times = data.draw(st.lists(st.floats(0, 4e9), min_size=epochs, max_size=epochs))
    file = tmp_path_factory.mktemp("events") / "events"
    file.write_bytes(events.scalar_records(tags, steps, values, times))

    reader = PyRecordReader_New(str(file))  # it checks the checksums
    for step, expected, time in zip(steps, values, times, strict=True):
        reader.GetNext()
        event = Event.FromString(reader.record())
        assert (event.step, event.wall_time) == (step, time)
        assert [value.tag for value in event.summary.value] == tags
        got = [value.simple_value for value in event.summary.value]
        np.testing.assert_array_equal(got, expected)
