"""Reading: what finished, running and damaged runs leave behind, and what varies among them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.errors import UserError
from normlab.insight.settings import (
    flatten,
    in_order,
    searched,
    short_names,
    short_values,
    varying,
)
from normlab.insight.standings import rank
from normlab.insight.sweep import read_sweep

from .conftest import AddRun


def test_a_finished_run(sweep_dir: Path, add_run: AddRun) -> None:
    add_run(0.25, seed=7, train=0.2, curve=[0.7, 0.3])
    (run,) = read_sweep(sweep_dir).runs
    assert (run.name, run.seeds) == ("0", ("7", "123"))
    assert run.config["model.hidden"] == "[4]"
    assert run.finals is not None
    assert (run.finals["train/loss"], run.finals["test/loss"]) == (0.2, 0.25)
    assert np.isnan(run.finals["test/auroc"])
    np.testing.assert_array_equal(run.curves["train/loss"], [0.7, 0.3])


def test_folders_are_found_at_any_depth_in_natural_order(sweep_dir: Path, add_run: AddRun) -> None:
    for name in ("more/1", "10", "2", ".hidden"):
        add_run(0.1, name=name)
    assert [run.name for run in read_sweep(sweep_dir).runs] == ["2", "10", "more/1"]


def test_a_split_that_does_not_exist_has_no_losses(sweep_dir: Path, add_run: AddRun) -> None:
    add_run(0.1, splits=("train",))
    run = add_run(0.1)
    (run / "metrics.csv").write_text("epoch,train/loss,val/loss\n1,0.5,\n2,,\n")
    bare, empty = read_sweep(sweep_dir).runs
    assert bare.finals is not None
    assert "val/loss" not in bare.curves
    assert "test/loss" not in bare.finals
    assert "val/loss" not in empty.curves
    np.testing.assert_array_equal(empty.curves["train/loss"], [0.5, np.inf])


def test_a_loss_that_is_no_number_is_infinite(sweep_dir: Path, add_run: AddRun) -> None:
    run = add_run(0.1)
    text = (run / "result.json").read_text()
    (run / "result.json").write_text(text.replace('"loss": 0.1', '"loss": null'))
    (only,) = read_sweep(sweep_dir).runs
    assert only.finals is not None
    assert only.finals["test/loss"] == np.inf


def test_a_line_being_written_is_left_out(sweep_dir: Path, add_run: AddRun) -> None:
    run = add_run(None)
    (run / "metrics.csv").write_text("epoch,train/loss\n1,0.75\n2,0.5\n3,0.2")
    (only,) = read_sweep(sweep_dir).runs
    assert only.finals is None
    np.testing.assert_array_equal(only.curves["train/loss"], [0.75, 0.5])


def test_epochs_keep_their_place(sweep_dir: Path, add_run: AddRun) -> None:
    run = add_run(0.1)
    (run / "metrics.csv").write_text("epoch,train/loss\n2,0.5\n4,0.2\n4,0.1\n")
    curve = read_sweep(sweep_dir).runs[0].curves["train/loss"]
    np.testing.assert_array_equal(curve, [np.nan, 0.5, np.nan, 0.1])


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("metrics.csv", b"epoch,train/loss\n1,oops\n", "its curve is left out"),
        ("metrics.csv", b"epoch,train/loss\n-1,0.5\n", "whole number"),
        ("metrics.csv", b"\xff\xfe\n\x00\n", "its curve is left out"),
        ("metrics.csv", b"train/loss\n0.5\n", "no column 'epoch'"),
        ("result.json", b'{"train": {"lo', "counts as unfinished"),
        ("result.json", b"[]", "counts as unfinished"),
        ("result.json", b'{"train": {"loss": "0.1"}}', "is no number"),
        ("result.json", b'{"train": {"accuracy": 0.1}, "label_entropy": 1}', "as unfinished"),
        ("config.yaml", b"seed: [", "left out"),
        ("config.yaml", b"", "holds no settings"),
    ],
)
def test_a_damaged_file_is_named_and_costs_no_other_run(
    sweep_dir: Path, add_run: AddRun, file: str, content: bytes, words: str
) -> None:
    add_run(0.1)
    damaged = add_run(0.2)
    (damaged / file).write_bytes(content)
    sweep = read_sweep(sweep_dir)
    assert len(sweep.runs) == (1 if file == "config.yaml" else 2)
    (problem,) = sweep.problems
    assert problem.startswith(f"1/{file}: ")
    assert words in problem


def test_the_measures_are_those_that_the_results_hold(sweep_dir: Path, add_run: AddRun) -> None:
    add_run(None)
    assert read_sweep(sweep_dir).measures == ("test/loss", "val/loss", "train/loss")
    path = add_run(0.5) / "result.json"
    result = json.loads(path.read_text())
    for split in ("train", "val", "test"):
        result[split] = {"loss": 0.5, "r2": 0.75}
    path.write_text(json.dumps(result))
    sweep = read_sweep(sweep_dir)
    assert sweep.measures == tuple(
        f"{split}/{name}" for split in ("test", "val", "train") for name in ("loss", "r2")
    )
    (row,) = rank(sweep).rows
    assert row.measures.keys() == set(sweep.measures)
    assert row.measures["val/r2"].median == 0.75


def test_no_sweep_is_said_with_what_to_do(sweep_dir: Path, add_run: AddRun) -> None:
    with pytest.raises(UserError, match=r"no folder .*nowhere.*sweep"):
        read_sweep(sweep_dir / "nowhere")
    with pytest.raises(UserError, match=r"no run in .* a folder with a readable config"):
        read_sweep(sweep_dir)
    with pytest.raises(UserError, match="single run: give the folder of a sweep, one above"):
        read_sweep(add_run(0.1))


def test_settings_that_vary_without_seeds_and_what_follows_from_a_name(
    sweep_dir: Path, add_run: AddRun
) -> None:
    add_run(0.1, seed=0, normalization="none", lr=0.1, extra={"report": {"tune": ["a"]}})
    add_run(0.1, seed=1, normalization="quantile", lr=0.01, extra={"report": {"tune": ["b"]}})
    sweep = read_sweep(sweep_dir)
    assert sweep.keys == ("normalization.name", "model.lr")
    assert sweep.asked == {"tune": ["a"]}


def test_a_groups_key_that_varies_under_one_name_is_a_setting_of_its_own() -> None:
    configs = [
        {"n.name": "none"},
        {"n.name": "quantile", "n.n_quantiles": "10"},
        {"n.name": "quantile", "n.n_quantiles": "100"},
    ]
    assert varying(configs) == ("n.name", "n.n_quantiles")
    assert varying(configs[:2]) == ("n.name",)


def test_names_and_values_in_short() -> None:
    keys = ["normalization.name", "model.lr", "a.b.size", "c.b.size"]
    assert list(short_names(keys).values()) == ["normalization", "lr", "a.b.size", "c.b.size"]
    assert short_names(["n", "n.name"]) == {"n": "n", "n.name": "n.name"}
    assert flatten({"a": {"b": [1, {}], "c": None, "d": True, "e": 1e-5}}) == {
        "a.b": "[1, {}]",
        "a.c": "null",
        "a.d": "true",
        "a.e": "1e-05",
    }
    assert in_order(["10", "b", "9", None, "a"]) == ["9", "10", "a", "b", None]
    assert short_values(["0.0123456", "0.1"]) == {"0.0123456": "0.01235", "0.1": "0.1"}
    # More digits for those alone that 4 would not tell apart; whole numbers and words in full.
    assert short_values(["0.1234561", "0.1234562", "0.0123456", "1e-05", "1048576", "true"]) == {
        "0.1234561": "0.1234561",
        "0.1234562": "0.1234562",
        "0.0123456": "0.01235",
        "1e-05": "1e-05",
        "1048576": "1048576",
        "true": "true",
    }


@given(st.sets(st.floats(1e-9, 1e9), min_size=1, max_size=20))
def test_values_in_short_stay_apart_and_near(numbers: set[float]) -> None:
    brief = short_values([str(number) for number in numbers])
    assert len(set(brief.values())) == len(numbers)
    for value, text in brief.items():
        assert float(text) == pytest.approx(float(value or "nan"), rel=5e-4)


def trials(n: int, seeds: int = 1) -> list[dict[str, str]]:
    """A search over two numbers, one of them of the strategy "b" alone."""
    return [
        {
            "n.name": "ab"[i % 2],
            "model.lr": str(10 ** -(1 + i / 7)),
            **({"n.size": str(i + 3)} if i % 2 else {}),
            "seed": str(seed),
        }
        for i in range(n)
        for seed in range(seeds)
    ]


def test_numbers_that_a_search_has_drawn() -> None:
    keys = ("n.name", "model.lr", "n.size")
    assert searched(trials(20), keys) == ("model.lr", "n.size")
    assert searched(trials(20, seeds=6), keys) == ()  # each is run often enough to be compared
    assert searched(trials(7), keys) == ()  # typed by hand
    grid = [
        {"n.name": name, "model.lr": lr} for name in "abcd" for lr in ("0.1", "0.2", "0.3", "0.4")
    ]
    assert searched(grid, keys[:2]) == ()
