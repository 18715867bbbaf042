"""What a run leaves behind: every epoch in two formats, strict JSON, and never half a file."""

from __future__ import annotations

import csv
import errno
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
)

from normlab import files
from normlab.config import Settings
from normlab.diagnosis.tags import GRADIENT_NORM, SKILL, UNITS
from normlab.errors import UserError
from normlab.files import strict_json
from normlab.layout import BEST
from normlab.training.epochs import Epoch, Epochs
from normlab.training.events import EventFile
from normlab.training.folder import FINAL_TAGS, RATE_TAG, RunFolder

WATCHED = (SKILL, UNITS, GRADIENT_NORM)  # now and then
RECORDS = [
    {"lr": 0.01, "train/loss": 0.7 / (i + 1), "val/loss": 0.75 / (i + 1), "val/auroc": math.nan}
    for i in range(7)
]


def epochs(first: int, records: Sequence[dict[str, float]]) -> Epochs:
    """The records of consecutive epochs."""
    return Epochs.of([Epoch(first + i, 10.0 * i, record) for i, record in enumerate(records)])


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_events(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    return events.Reload()


def result(**changes: Any) -> dict[str, Any]:
    return {
        "train": {"loss": 0.1, "auroc": math.nan},
        "val": None,
        "test": {"loss": 0.2, "auroc": 0.9},
        "epochs": 7,
        "threshold": [math.inf, 91.0],
        **changes,
    }


@pytest.mark.parametrize("every", [1, 3, 100])
def test_epochs_are_rows_and_events_however_often_they_are_written(
    tmp_path: Path, every: int
) -> None:
    folder = RunFolder(tmp_path)
    for i in range(0, len(RECORDS), every):
        folder.write(epochs(i + 1, RECORDS[i : i + every]))
    folder.write()  # nothing new
    rows = read_csv(tmp_path)
    assert [int(row["epoch"]) for row in rows] == list(range(1, 8))
    assert list(rows[0]) == ["epoch", *RECORDS[0]]
    events = read_events(tmp_path)
    for name in RECORDS[0]:
        expected = [record[name] for record in RECORDS]
        np.testing.assert_array_equal([float(row[name]) for row in rows], expected)
        scalars = events.Scalars(RATE_TAG if name == "lr" else name)
        assert [event.step for event in scalars] == list(range(1, 8))
        np.testing.assert_array_equal([e.value for e in scalars], np.array(expected, np.float32))
    assert len(list(tmp_path.glob("events.*"))) == 1


@pytest.mark.parametrize("every", [1, 3, 100])
def test_what_is_watched_now_and_then_has_blanks_and_no_events(tmp_path: Path, every: int) -> None:
    folder = RunFolder(tmp_path)
    records = [{"lr": 0.1} | ({SKILL: i / 9} if i % 3 == 0 else {}) for i in range(8)]
    for i in range(0, 8, every):
        folder.write(epochs(i + 1, records[i : i + every]))
    cells = [row[SKILL] for row in read_csv(tmp_path)]
    assert [bool(cell) for cell in cells] == [i % 3 == 0 for i in range(8)]
    assert [event.step for event in read_events(tmp_path).Scalars(SKILL)] == [1, 4, 7]


def test_no_row_is_written_twice_where_the_events_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)

    def full(*_: object) -> None:
        raise UserError("no room")

    with monkeypatch.context() as disk:
        disk.setattr(EventFile, "append", full)
        with pytest.raises(UserError, match="no room"):
            folder.write(epochs(1, RECORDS[:1]))
    folder.write()  # as when a training has failed
    assert len(read_csv(tmp_path)) == len(folder.curves.train) == 1


def test_the_first_epoch_makes_the_columns_whenever_they_are_written(tmp_path: Path) -> None:
    records = [{"lr": 0.1, "train/loss": 1 / i} | ({"late": 1.0} if i > 1 else {})
               for i in range(1, 4)]  # fmt: skip
    for name, every in (("often", 1), ("once", 9)):
        (tmp_path / name).mkdir()
        folder = RunFolder(tmp_path / name)
        for i in range(0, 3, every):
            folder.write(epochs(i + 1, records[i : i + every]))
        columns = [list(row) for row in read_csv(tmp_path / name)]
        assert columns == 3 * [["epoch", "lr", "train/loss"]]


def test_settings_reach_tensorboards_hparams(
    tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    chosen = settings("model.hidden=[4,2]", "model.batchnorm=true").to_dict()
    folder = RunFolder(tmp_path)
    folder.write_settings(chosen, ["loss"])
    folder.write(epochs(1, RECORDS[:1]))
    folder.write_result(result())
    assert yaml.safe_load((tmp_path / "config.yaml").read_text("utf-8")) == chosen

    contents = read_events(tmp_path).PluginTagToContent("hparams")
    start, end = (
        HParamsPluginData.FromString(contents[f"_hparams_/session_{name}_info"])
        for name in ("start", "end")
    )
    values = start.session_start_info.hparams
    assert values["model.lr"].number_value == chosen["model"]["lr"]
    assert values["model.scheduler.step_size"].number_value == 30
    assert values["normalization.name"].string_value == "standardize"
    assert values["model.hidden"].string_value == "[4, 2]"
    assert values["model.batchnorm"].string_value == "True"
    assert values["model.pos_weight"].string_value == "null"
    assert end.session_end_info.status == 1  # STATUS_SUCCESS


def test_a_result_is_strict_json_and_a_row_of_events(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_result(result())

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads((tmp_path / "result.json").read_text("utf-8"), parse_constant=refuse)
    assert read == result(train={"loss": 0.1, "auroc": None}, threshold=[None, 91.0])
    events = read_events(tmp_path)
    (event,) = events.Scalars(f"{FINAL_TAGS}test_auroc")
    assert (event.step, event.value) == (7, np.float32(0.9))
    assert set(events.Tags()["scalars"]) == {
        f"{FINAL_TAGS}{name}" for name in ("train_loss", "train_auroc", "test_loss", "test_auroc")
    }  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_numbers_that_are_none(value: float) -> None:
    text = strict_json({"a": [1, (value,)], "ä": value})
    assert json.loads(text) == {"a": [1, [None]], "ä": None}


def test_an_interrupted_checkpoint_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.save_checkpoint(BEST, {"epoch": 1})

    def half(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", half)
    with pytest.raises(UserError, match=r"best\.ckpt: No space left on device"):
        folder.save_checkpoint(BEST, {"epoch": 2})
    monkeypatch.undo()
    assert torch.load(tmp_path / BEST, weights_only=True) == {"epoch": 1}
    folder.save_checkpoint(BEST, {"epoch": 3})
    assert torch.load(tmp_path / BEST, weights_only=True) == {"epoch": 3}
    assert [file.name for file in (tmp_path / BEST).parent.iterdir()] == ["best.ckpt"]


# A folder that is gone on with


def test_a_folder_that_has_lost_rows_is_left_as_it_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write(epochs(1, RECORDS))
    lengths = folder.lengths()
    content = (tmp_path / "metrics.csv").read_bytes()[:-1]
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.csv is not what it was when the checkpoint"):
        RunFolder(tmp_path).cut(lengths, 7)
    assert (tmp_path / "metrics.csv").read_bytes() == content
    assert RunFolder(tmp_path).lengths().keys() == lengths.keys()


@pytest.mark.parametrize("void", [0, 2])
def test_a_folder_is_taken_back_and_goes_on_without_gap_or_double(
    tmp_path: Path, void: int
) -> None:
    """As after a kill: epochs 1 to 3 stand in the checkpoint, later ones are void."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for path in (whole, broken):
        path.mkdir()
    RunFolder(whole).write(epochs(1, RECORDS))
    folder = RunFolder(broken)
    folder.write(epochs(1, RECORDS[:3]))
    lengths = folder.lengths()
    if void:
        folder.write(epochs(4, RECORDS[:1] * void))  # not what the run will find again
    RunFolder(broken).cut(lengths, 3)  # an attempt that was killed at once
    again = RunFolder(broken)
    again.cut(lengths, 3)
    again.write(epochs(4, RECORDS[3:]))
    assert (broken / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    one, other = read_events(whole), read_events(broken)
    for tag in one.Tags()["scalars"]:
        curve, resumed = ([(e.step, e.value) for e in x.Scalars(tag)] for x in (one, other))
        assert str(curve) == str(resumed)  # nan is nan
        assert [step for step, _ in resumed] == list(range(1, 8))


def test_a_tensorboard_that_watches_forgets_what_is_void(tmp_path: Path) -> None:
    """It has read epochs 4 and 5 before the kill; the file of the resumed run revokes them."""
    folder = RunFolder(tmp_path)
    folder.write(epochs(1, [{"val/loss": 1.0}] * 3))
    lengths = folder.lengths()
    folder.write(epochs(4, [{"val/loss": 9.0}] * 2))
    watching = read_events(tmp_path)
    assert [event.value for event in watching.Scalars("val/loss")] == [1, 1, 1, 9, 9]
    again = RunFolder(tmp_path)
    again.cut(lengths, 3)
    again.write(epochs(4, [{"val/loss": 2.0}] * 3))
    watching.Reload()
    assert [event.value for event in watching.Scalars("val/loss")] == [1, 1, 1, 2, 2, 2]
    assert [event.step for event in watching.Scalars("val/loss")] == [1, 2, 3, 4, 5, 6]


def test_a_result_that_is_no_json_leaves_no_result(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(TypeError):
        folder.write_result(result(epochs=7, threshold=torch.ones(1)))
    assert not (tmp_path / "result.json").exists()


def test_a_finished_run_holds_its_epochs_twice_over(finished_run: Path) -> None:
    """The whole way, through Lightning: what one format says, the other says."""
    rows = read_csv(finished_run)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
    events = read_events(finished_run)
    for name in rows[0].keys() - {"epoch"}:
        scalars = events.Scalars(RATE_TAG if name == "lr" else name)
        known = [row for row in rows if row[name]]
        assert len(known) == 5 or name.startswith(WATCHED), name
        assert [event.step for event in scalars] == [int(row["epoch"]) for row in known]
        values = np.array([float(row[name]) for row in known], np.float32)
        np.testing.assert_array_equal([event.value for event in scalars], values)
    read = json.loads((finished_run / "result.json").read_text())
    assert read["diagnosis"]["end"].keys() < rows[0].keys()
    for part in ("train", "val", "test"):
        for name, value in read[part].items():
            (event,) = events.Scalars(f"{FINAL_TAGS}{part}_{name}")
            assert event.value == np.float32(value)
    best = min(rows, key=lambda row: float(row["val/loss"]))
    assert read["val"]["loss"] == pytest.approx(float(best["val/loss"]), abs=1e-6)
    assert not list(finished_run.rglob("*.partial"))
