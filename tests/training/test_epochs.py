"""Epochs as columns: nothing is lost, and nothing appears, on the way from records and back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from normlab.training.epochs import Epoch, Epochs, Records

Metrics = list[dict[str, float]]
METRICS = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=False), max_size=4), min_size=1
)


def columns_of(records: Metrics) -> Epochs:
    return Epochs.of([Epoch(i, 10.0 * i, record) for i, record in enumerate(records, start=1)])


@given(METRICS)
def test_rows_hold_what_was_logged_and_blanks(records: Metrics) -> None:
    rows = columns_of(records).in_columns(["d", "b", "unheard of", "a"])
    assert rows == [[record.get(name, "") for name in ("d", "b", "x", "a")] for record in records]


@given(METRICS)
def test_parts_without_gaps_hold_every_number_once(records: Metrics) -> None:
    found: Metrics = [{} for _ in records]
    for part in columns_of(records).complete():
        assert part.present.all()
        assert part.names
        assert (part.wall_times == 10.0 * part.numbers).all()
        for number, values in zip(part.numbers, part.values.tolist(), strict=True):
            record = dict(zip(part.names, values, strict=True))
            assert not record.keys() & found[number - 1].keys()
            found[number - 1] |= record
    assert found == records


@given(METRICS)
def test_no_metric_goes_back_in_time(records: Metrics) -> None:
    last = dict.fromkeys("abcd", 0)
    for part in columns_of(records).complete():
        for name in part.names:
            assert last[name] < part.numbers[0]
            assert (np.diff(part.numbers) > 0).all()
            last[name] = part.numbers[-1]


def test_a_column_that_is_absent_is_nan() -> None:
    epochs = columns_of([{"a": 1.0}, {"b": 2.0}])
    np.testing.assert_array_equal(epochs.column("a"), [1.0, np.nan])
    np.testing.assert_array_equal(epochs.column("c"), [np.nan, np.nan])


def test_runs_get_their_own_epochs_after_others_have_left() -> None:
    records = Records()
    assert records.take(2) == [None, None]
    assert records.last() == {}
    values = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    records.add(1, ["a", "b", "c"], values, torch.arange(4))
    records.add(2, ["a", "b"], values[:, :2] + 100, torch.arange(4))
    here = torch.tensor([0, 2, 3])
    records.add(3, ["a", "c"], values[here, 1:] + 200, here)
    assert len(records) == 3
    assert records.last() == {"a": 201, "c": 202}
    taken = records.take(4)
    first, left, _, last = (found for found in taken if found is not None)
    names = ["a", "b", "c"]
    assert first.in_columns(names) == [[0, 1, 2], [100, 101, ""], [201, "", 202]]
    assert left.in_columns(names) == [[3, 4, 5], [103, 104, ""]]
    assert last.in_columns(names) == [[9, 10, 11], [109, 110, ""], [210, "", 211]]
    assert first.numbers.tolist() == [1, 2, 3]
    assert len(records) == 0
    assert records.take(1) == [None], "what was taken is forgotten"
    records.add(4, ["a"], values[here, :1], here)
    assert [found is None for found in records.take(4)] == [False, True, False, False]
