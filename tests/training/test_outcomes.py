"""What becomes of the runs, against Lightning's EarlyStopping and a plain loop over each."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EarlyStopping

from normlab.model.network import Network
from normlab.model.scalers import make_scaler
from normlab.training.outcomes import Outcomes

Losses = Sequence[Sequence[float]]

NAN, INF = math.nan, math.inf
LOSS = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.5, NAN, INF])  # many ties


def network(n_runs: int) -> Network:
    single = Network(make_scaler("standardize", 1), [2], batchnorm=True)
    return Network.stack([single] * n_runs)


def played(losses: Losses, patience: int | None = None, min_delta: float = 0.0) -> Outcomes:
    """The outcomes of runs with these validation losses (runs, epochs)."""
    return play(Outcomes(network(len(losses)), patience, min_delta), losses)


def play(
    outcomes: Outcomes,
    losses: Losses,
    start: int = 0,
    validated: bool = True,
    fails: dict[int, int] | None = None,
) -> Outcomes:
    """Goes through the epochs after `start`.

    The weights are the number of the epoch and a hundredth of the run's, so that it shows from
    where they were taken.

    Args:
        fails: the epoch in which a run diverges.
    """
    values = torch.tensor(losses, dtype=torch.float64)
    for epoch in range(start + 1, values.shape[1] + 1):
        net = network(len(outcomes.active))
        for moved in net.trained_state().values():
            runs = outcomes.active.view(-1, *[1] * (moved.ndim - 1))
            moved.copy_((epoch + runs / 100).expand_as(moved))
        finite = [epoch != (fails or {}).get(run) for run in outcomes.active.tolist()]
        loss = values[outcomes.active, epoch - 1]
        goes_on = outcomes.update(net, epoch, loss, torch.tensor(finite), validated)
        if not goes_on.any():
            break
        outcomes.active = outcomes.active[goes_on]
    return outcomes


def lightnings_end(losses: Sequence[float], patience: int, min_delta: float) -> int:
    """The epoch in which Lightning's callback stops a run, or the last one."""
    callback = EarlyStopping("loss", min_delta, patience, check_on_train_epoch_end=True)
    trainer: Any = SimpleNamespace(
        callback_metrics={},
        fast_dev_run=False,
        should_stop=False,
        world_size=1,
        current_epoch=0,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda stop, all: stop),
    )
    for epoch, loss in enumerate(losses, start=1):
        trainer.callback_metrics["loss"] = torch.tensor(loss, dtype=torch.float64)
        callback._run_early_stopping_check(trainer)
        if trainer.should_stop:
            return epoch
    return len(losses)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(LOSS, min_size=9, max_size=9), min_size=1, max_size=5),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.1, 0.2]),
)
def test_runs_stop_where_lightnings_callback_stops_them(
    losses: list[list[float]], patience: int, min_delta: float
) -> None:
    outcomes = played(losses, patience, min_delta)
    expected = [lightnings_end(own, patience, min_delta) for own in losses]
    assert outcomes.epochs.tolist() == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(LOSS, min_size=6, max_size=6), min_size=1, max_size=5))
def test_the_best_weights_are_the_first_of_the_lowest_loss(losses: list[list[float]]) -> None:
    outcomes = played(losses)
    for run, own in enumerate(losses):
        best = 1 if np.isnan(own).all() else int(np.nanargmin(own)) + 1
        assert outcomes.best_epoch[run] == best
        assert outcomes.best_loss[run].item() == pytest.approx(own[best - 1], nan_ok=True)
        for name, value in outcomes.best.items():
            if not name.startswith("normalizer"):
                expected = torch.full_like(value[run], best + run / 100)
                torch.testing.assert_close(value[run], expected)


def test_without_validation_the_last_weights_are_the_best() -> None:
    outcomes = Outcomes(network(3), None, 0.0)
    play(outcomes, [[NAN] * 4] * 3, validated=False, fails={1: 3})
    assert outcomes.best_epoch.tolist() == [4, 2, 4]
    assert outcomes.epochs.tolist() == [4, 3, 4]
    assert outcomes.stopped.tolist() == [False, True, False]
    assert np.isnan(outcomes.best_loss).all()
    assert outcomes.best["mlp.2.bias"].flatten().tolist() == pytest.approx([4, 2.01, 4.02])


def test_a_run_that_diverges_keeps_what_was_best_before() -> None:
    losses = [[0.5, 0.4, 0.1, 0.6], [0.5, 0.4, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4]]
    outcomes = play(Outcomes(network(3), None, 0.0), losses, fails={0: 3, 2: 1})
    assert outcomes.best_epoch.tolist() == [2, 4, 1]
    assert outcomes.epochs.tolist() == [3, 4, 1]
    outcomes.diverged = ["so", None, "so"]
    assert [outcomes.never_good(run) for run in range(3)] == [False, False, True]


def test_its_state_goes_on() -> None:
    """Cut anywhere, the same epochs come to the same; as through a file, of its tensors alone."""
    losses = np.random.default_rng(0).random((4, 12)).round(1).tolist()
    whole = played(losses, patience=3)
    cut = played([own[:3] for own in losses], patience=3)
    again = Outcomes(network(4), 3, 0.0)
    again.load_state_dict(copy.deepcopy(cut.state_dict()))
    play(again, losses, start=3)
    assert len(np.unique(whole.epochs)) > 1
    torch.testing.assert_close(again.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_the_best_weights_follow_the_precision_of_the_training() -> None:
    outcomes = Outcomes(network(2), None, 0.0)
    outcomes.to(torch.zeros(1, dtype=torch.float64))
    assert {value.dtype for value in outcomes.best.values()} == {torch.float64}
