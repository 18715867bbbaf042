"""Each verdict, on curves drawn by hand and on runs made to end so."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from normlab.diagnosis.curves import Curves
from normlab.diagnosis.verdict import Case, judge, learnt_nothing
from normlab.insight.comparison import learnt_nothing as share_of_nothing
from normlab.model.tasks import Binary
from normlab.training.epochs import Epoch, Epochs
from normlab.training.folder import RunFolder

Train = Callable[..., Any]
T = np.linspace(0, 1, 200)
H = 0.65  # a guess's loss
FLAT = np.full(200, H)


def case(train: Any, val: Any = (), final: float | None = None, **more: Any) -> Case:
    if final is None:
        final = float(train[-1])
    return Case(train=train, val=val, guess=H, final=final, **more)


def verdict(*args: Any, **more: Any) -> str:
    return judge(case(*args, **more)).name


def noisy(curve: Any, size: float = 0.02, seed: int = 0) -> Any:
    return curve * (1 + size * np.random.default_rng(seed).standard_normal(len(curve)))


# Curves


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [0.0, 0.02])
def test_curves_of_every_kind(seed: int, size: float) -> None:
    """With and without the noise of mini-batches."""

    def shaken(curve: Any) -> Any:
        return noisy(curve, size, seed)

    learnt = 0.1 + 0.55 * np.exp(-20 * T)
    assert verdict(shaken(learnt)) == "learnt"
    assert verdict(shaken(learnt), shaken(learnt + 0.02), n_val=100) == "learnt"
    assert verdict(shaken(0.65 - 0.4 * T)) == "still falling"
    assert verdict(shaken(30 * np.exp(-3 * T))) == "still falling"  # raw rows: far above a guess
    assert verdict(shaken(FLAT), final=H) == "stuck"
    assert verdict(shaken(H + 0.1 * np.exp(-20 * T)), final=H) == "stuck"
    assert verdict(shaken(np.full(200, 5.0))) == "diverged"
    assert verdict(shaken(0.3 + 3 * T)) == "diverged"
    back = np.where(T < 0.5, learnt, H)
    assert verdict(shaken(back), final=H) == "diverged"
    rising = 0.4 * np.exp(-20 * T) + 0.4 + 0.3 * T
    fading = 0.65 - 0.6 * T**0.3
    assert verdict(shaken(fading), shaken(rising), n_val=200) == "overfitting"


def test_a_nan_is_divergence_and_names_its_epoch() -> None:
    curve = FLAT.copy()
    curve[77:] = math.nan
    found = judge(case(curve, final=H, lr=0.1))
    assert (found.name, found.reason) == ("diverged", "the training loss was no number in epoch 78")
    assert "a smaller rate, such as model.lr=0.01" in found.way_out
    assert judge(case(FLAT, final=math.inf)).name == "diverged"


def test_a_small_validation_set_may_rise_by_chance() -> None:
    """By a fifth: more than 1 / sqrt(200), less than 1 / sqrt(20)."""
    fading = 0.65 - 0.6 * T**0.3
    val = 0.4 + 0.08 * T
    assert verdict(fading, val, n_val=200) == "overfitting"
    assert verdict(fading, val, n_val=20) != "overfitting"
    assert verdict(fading, 0.001 + 0.004 * T, n_val=200) != "overfitting"  # of no account


def test_rows_that_say_nothing_of_the_label() -> None:
    """Learnt by heart, while validation never got better: the weights that are kept are a guess."""
    by_heart = 0.65 - 0.5 * T
    found = judge(case(by_heart, H + 0.4 * T, final=0.649, n_val=100))
    assert found.name == "overfitting"
    assert found.way_out[0].startswith("other features")
    assert verdict(by_heart, H + 0.001 * T, final=0.649, n_val=100) == "overfitting"


def test_more_epochs_are_no_use_where_validation_stands_still() -> None:
    falling, flat = 0.3 - 0.1 * T, np.full(200, 0.3)
    assert verdict(falling, n_val=50) == "still falling"
    assert verdict(falling, flat, n_val=50) == "learnt"
    partly = np.where(np.arange(200) % 2, 0.3, math.nan)  # not validated in every epoch
    assert verdict(falling, partly, n_val=50) == "still falling"


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 5])
def test_short_trainings(n_epochs: int) -> None:
    assert verdict(np.linspace(0.7, 0.6, 5)[:n_epochs], final=0.6) == (
        "still falling" if n_epochs > 1 else "learnt"
    )
    assert verdict(FLAT[:n_epochs], final=H) == "stuck"


def test_the_way_out_of_being_stuck() -> None:
    inputs = {"inputs": "inputs sit 17 standard deviations from zero", "remedies": ("x=1",)}
    found = judge(case(FLAT, final=H, lost=1.0, **inputs))
    assert found.way_out == ("x=1",)
    assert "17 standard deviations" in found.reason
    found = judge(case(FLAT, final=H, lost=0.75, lr=1.0))
    assert found.way_out[0] == "a smaller rate, such as model.lr=0.1"
    assert "75% of its hidden units ended saturated" in found.reason
    found = judge(case(FLAT, final=H, reach=0.02, lr=1e-6))
    assert found.way_out == ("a larger rate, such as model.lr=1e-05", "trainer.max_epochs=2000")
    assert judge(case(FLAT, final=H, reach=20.0)).way_out[0].startswith("other features")
    found = judge(case(0.65 - 0.4 * T, rates=[0.1, 0.001], lr=0.1))
    assert "model/scheduler=none, for the rate has decayed" in found.way_out


def test_a_loss_far_above_a_guesss_is_not_of_rows_learnt_by_heart() -> None:
    """Raw rows: both losses jump, by chance the one down and the other up."""
    jumps = 1e4 * (1.6 - 0.6 * T) * (1 + 0.4 * np.sin(np.arange(200)))
    scale = {"inputs": "'b' has a scale of 1e5", "remedies": ("normalization=standardize",)}
    for val in ((), 1e4 * (0.5 + T)):
        found = judge(case(jumps, val, final=400.0, n_val=9, **scale))
        assert found.name == "diverged"
        assert "'b' has a scale of 1e5" in found.reason
        assert found.way_out[0] == "normalization=standardize"
        assert found.way_out[-1].startswith("a smaller rate")
    assert verdict(jumps / 1e4 + H, 0.5 + T, n_val=100) != "overfitting"
    steady = judge(case(30 * np.exp(-3 * T), final=1.6, **scale))
    assert steady.name == "still falling"
    assert steady.way_out[0] == "normalization=standardize"


def test_no_step_is_one_in_force() -> None:
    by_heart, rising = 0.65 - 0.6 * T**0.3, 0.4 + 0.3 * T
    told = " ".join(judge(case(by_heart, rising, n_val=200)).way_out)
    for step in ("early_stopping.patience=10", "(model.hidden)", "model.weight_decay above 0"):
        assert step in told
    more = {"patience": 50, "hidden": (), "weight_decay": 0.1}
    told = " ".join(judge(case(by_heart, rising, n_val=200, **more)).way_out)
    assert "patience" not in told
    assert "(model.hidden)" not in told
    assert "a larger model.weight_decay" in told
    falling = 0.65 - 0.4 * T
    assert "trainer.max_epochs=600" in judge(case(falling, max_epochs=200)).way_out
    stopped = judge(case(falling, max_epochs=5_000, patience=7)).way_out
    assert stopped[0] == "early_stopping.patience=21"
    assert not any("max_epochs" in step for step in stopped)


def test_one_border_for_the_verdict_and_the_report() -> None:
    for loss in (0.97 * H, 0.979 * H, 0.981 * H, H, math.inf, math.nan):
        assert learnt_nothing(loss, H) == (not loss < 0.98 * H)
    losses = [0.9 * H, 0.981 * H, 2 * H]
    assert share_of_nothing(losses, [H] * 3).count == sum(learnt_nothing(x, H) for x in losses)
    assert verdict(np.full(200, 0.981 * H)) == "stuck"
    assert verdict(np.full(200, 0.979 * H)) == "learnt"


@pytest.mark.parametrize("weight", [1.0, 0.3, 9.0])
def test_a_guess_under_weights(weight: float) -> None:
    """The least weighted loss of a constant logit, found by trying."""
    labels = (np.arange(50) % 5 == 0).astype(np.float32)
    logits = torch.linspace(-6, 6, 120_001, dtype=torch.float64)
    positive = labels.mean()
    plus, minus = -torch.nn.functional.logsigmoid(logits), -torch.nn.functional.logsigmoid(-logits)
    best = (weight * positive * plus + (1 - positive) * minus).argmin()
    expected = float(positive * plus[best] + (1 - positive) * minus[best])
    assert Binary().guess_loss(torch.from_numpy(labels), weight) == pytest.approx(
        expected, abs=1e-4
    )


# Curves in memory and in files


def test_curves_are_read_where_they_are_not_known(tmp_path: Path) -> None:
    """Another process trained, or an earlier one began."""
    whole = RunFolder(tmp_path)
    watched = {"train/skill": 0.5, "units/dead": 0.4}
    for epoch in range(1, 6):
        record = {"lr": 0.1, "train/loss": 1 / epoch, "val/loss": 2 / epoch}
        looked = record | (watched if epoch in (1, 4) else {})
        whole.write(Epochs.of([Epoch(epoch, 0.0, looked)]))
    expected = whole.all_curves()
    assert expected is whole.curves
    assert list(expected.train) == [1 / epoch for epoch in range(1, 6)]
    assert expected.watched == {"units/dead": 0.4}
    other = RunFolder(tmp_path)
    last = {"lr": 0.1, "train/loss": 0.125, "val/loss": math.nan}
    other.write(Epochs.of([Epoch(6, 0.0, last)]))
    read = other.all_curves()
    assert list(read.train) == [*expected.train, 0.125]
    assert list(read.val)[:5] == list(expected.val)
    assert math.isnan(read.val[5])
    assert list(read.rates) == [0.1] * 6
    assert read.watched == {"units/dead": 0.4}
    assert list(Curves().whole(tmp_path / "none.csv").train) == []
