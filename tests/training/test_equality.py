"""A run is the plain loop of torch's own modules, whatever trains beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from sklearn.datasets import make_circles

from learners import AFFINE, Learner, state_of, train_by_hand, train_together
from normlab.config.model import (
    CosineSettings,
    NoSchedulerSettings,
    SchedulerSettings,
    StepSettings,
)
from normlab.data.schema import Schema
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.training.epochs import Epochs
from normlab.training.module import Recipe, TrainingModule

Trainers = Callable[..., Trainer]
Tables = Callable[..., Table]

FLOAT64 = 1e-9  # the sums' order differs, no more: about 1e-15 a step
FLOAT32 = 1e-4
EPOCHS = 8
DOUBLE: dict[str, Any] = {"max_epochs": EPOCHS, "precision": "64-true"}
ONE, TWO = (Schema(tuple("ab"[:n]), "label", (0, 1)) for n in (1, 2))
NONE = NoSchedulerSettings(name="none")
SCHEDULERS: list[SchedulerSettings] = [
    NONE,
    StepSettings(name="step", step_size=2, gamma=0.5),
    CosineSettings(name="cosine", eta_min=0.001),
    StepSettings(name="step", step_size=3, gamma=0.9),
    CosineSettings(name="cosine", eta_min=0.0),
]


@pytest.fixture
def learners(blobs: Tables) -> Callable[..., list[Learner]]:
    """Runs that differ in all that may differ: 84 training rows of 120, 18 of validation."""
    tables = [blobs(120, seed=seed) for seed in range(3)]

    def make(
        n_runs: int, optimizer: str = "adam", batch_size: int | None = 16, **changes: Any
    ) -> list[Learner]:
        recipe = {key: changes.pop(key) for key in ("patience", "min_delta") if key in changes}
        made = []
        for run in range(n_runs):
            data = SplitTable(
                tables[run % 3],
                ("random", "random", "chronological")[run % 3],
                batch_size=batch_size,
                seed=run // 2,
            )
            how = Recipe(
                optimizer,
                lr=(0.01, 0.1, 0.03, 0.002)[run % 4],
                scheduler=SCHEDULERS[run % 5],
                weight_decay=(0.0, 0.1, 0.01)[run % 3],
                momentum=(0.9, 0.0, 0.5)[run % 3] if optimizer == "sgd" else 0.0,
                weight=(1.0, 3.0, 1.0, 0.4, 6.0)[run % 5],
                seed=run,
                **recipe,
            )
            names, inits = tuple(AFFINE), ("torch", "he", "xavier")
            one = Learner(data, how, names[run % 5], init=inits[run % 3])
            made.append(replace(one, **changes))
        return made

    return make


def epochs_of(module: TrainingModule) -> list[Epochs]:
    taken = module.records.take(len(module.recipes))
    return [epochs for epochs in taken if epochs is not None]


def assert_by_hand(
    learners: Sequence[Learner], module: TrainingModule, epochs: int, tolerance: float = FLOAT64
) -> None:
    """Losses of every epoch, weights, running statistics and outcomes."""
    outcomes, dtype = module.outcomes, next(module.parameters()).dtype
    active = outcomes.active.tolist()
    close: dict[str, Any] = {"rtol": tolerance, "atol": tolerance}
    for run, (learner, found) in enumerate(zip(learners, epochs_of(module), strict=True)):
        expected = train_by_hand(learner, epochs, dtype)
        numbers: dict[str, Any] = {"err_msg": f"run {run}", **close}
        np.testing.assert_allclose(found.column("train/loss"), expected.train, **numbers)
        np.testing.assert_allclose(found.column("lr"), expected.rates, rtol=1e-12)
        if expected.val:
            np.testing.assert_allclose(found.column("val/loss"), expected.val, **numbers)
        assert outcomes.best_epoch[run] == expected.best_epoch
        assert outcomes.epochs[run] == len(expected.train)
        torch.testing.assert_close(state_of(outcomes.best, run), expected.best, **close)
        if run in active:
            state = state_of(dict(module.network.state_dict()), active.index(run))
            torch.testing.assert_close(state, expected.last, **close)


CASES: dict[str, dict[str, Any]] = {
    "adam, a short last batch": {},
    "adam, all rows": {"batch_size": None, "activation": "sigmoid"},
    "adamw, two layers, a last row that joins": {
        "optimizer": "adamw", "hidden": (6, 3), "batch_size": 83
    },
    "adamw, batchnorm": {"optimizer": "adamw", "batchnorm": True, "activation": "gelu"},
    "sgd with momenta, batchnorm": {"optimizer": "sgd", "batchnorm": True},
    "sgd, all rows": {"optimizer": "sgd", "batch_size": None, "activation": "relu"},
    "logistic regression": {"hidden": ()},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_run_alone_and_every_run_of_24(
    learners: Callable[..., list[Learner]], make_trainer: Trainers, case: str
) -> None:
    runs = learners(24, **CASES[case])
    together = train_together(runs, make_trainer(**DOUBLE))
    assert_by_hand(runs, together, EPOCHS)
    for run in runs[1:12:4]:
        assert_by_hand([run], train_together([run], make_trainer(**DOUBLE)), EPOCHS)


def test_runs_that_stop_early_leave_the_others_alone(
    learners: Callable[..., list[Learner]], make_trainer: Trainers
) -> None:
    """Each at its own epoch; the weights and the stopping go by the loss that is trained."""
    runs = learners(24, patience=2, min_delta=0.01, batch_size=40)
    epochs = 25
    module = train_together(runs, make_trainer(max_epochs=epochs, precision="64-true"))
    assert_by_hand(runs, module, epochs)
    ends = module.outcomes.epochs
    assert len(np.unique(ends)) >= 6, "the test needs runs that stop at various epochs"
    assert ((ends < epochs) <= module.outcomes.stopped).all()
    assert 0 < len(module.outcomes.active) < 24
    alone = train_together([runs[1]], make_trainer(max_epochs=epochs, precision="64-true"))
    assert_by_hand([runs[1]], alone, epochs)
    assert alone.outcomes.epochs[0] < epochs


def test_best_weights_and_stopping_go_by_the_weighted_loss(
    learners: Callable[..., list[Learner]], make_trainer: Trainers
) -> None:
    """The losses that are told stay unweighted; here their lowest lies in another epoch."""
    (run, *_) = learners(1, hidden=(8,))
    run = replace(run, recipe=replace(run.recipe, weight=6.0, lr=0.1, patience=3))
    module = train_together([run], make_trainer(max_epochs=30, precision="64-true"))
    expected = train_by_hand(run, 30)
    (found,) = epochs_of(module)
    np.testing.assert_allclose(found.column("val/loss"), expected.val, rtol=FLOAT64)
    best, unweighted = (int(np.argmin(values)) + 1 for values in (expected.weighted, expected.val))
    assert best != unweighted
    assert module.outcomes.best_epoch[0] == best
    assert module.outcomes.best_loss[0].item() == pytest.approx(min(expected.weighted), abs=FLOAT64)
    assert module.outcomes.epochs[0] == best + 3


@pytest.mark.parametrize("batch_size", [None, 30])
def test_without_validation_all_rows_train_and_the_last_weights_are_the_best(
    learners: Callable[..., list[Learner]], make_trainer: Trainers, batch_size: int | None
) -> None:
    runs = [
        replace(one, data=SplitTable(one.data.table, "none", batch_size=batch_size, seed=run))
        for run, one in enumerate(learners(5))
    ]
    module = train_together(runs, make_trainer(**DOUBLE))
    assert_by_hand(runs, module, EPOCHS)
    assert module.outcomes.best_epoch.tolist() == [EPOCHS] * 5
    assert np.isnan(module.outcomes.best_loss).all()


# Company


def figures_of(module: TrainingModule, run: int = 0) -> dict[str, Any]:
    """All figures of a run's epochs, and its best weights."""
    epochs = epochs_of(module)[run]
    figures = {name: torch.from_numpy(epochs.column(name)) for name in epochs.names}
    return {**figures, **state_of(module.outcomes.best, run)}


def assert_same(one: dict[str, Any], other: dict[str, Any], tolerance: float) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.4, "hidden": (6, 4)},
        {"dropout": 0.4, "batchnorm": True, "hidden": (1,), "optimizer": "sgd"},
        {"dropout": 0.2, "batch_size": None, "optimizer": "adamw", "patience": 3},
    ],
    ids=str,
)
def test_a_run_is_the_same_in_any_company(
    learners: Callable[..., list[Learner]], make_trainer: Trainers, changes: dict[str, Any]
) -> None:
    """With its own masks of dropout, in stacks of 1, 2, 6 and 24, at whatever place."""
    runs = learners(24, **changes)
    found = [
        figures_of(train_together(company, make_trainer(**DOUBLE)), company.index(runs[4]))
        for company in (runs, runs[4:5], runs[3:5], runs[2:8])
    ]
    for figures in found[1:]:
        assert_same(figures, found[0], FLOAT64)
    dry = train_together([replace(runs[4], dropout=0.0)], make_trainer(**DOUBLE))
    assert (figures_of(dry)["train/loss"] - found[0]["train/loss"]).abs().max() > 0.01


@pytest.mark.parametrize(
    "changes",
    [{"dropout": 0.3, "batchnorm": True}, {"batch_size": 83, "patience": 2}, {"batch_size": None}],
    ids=str,
)
def test_an_epoch_at_once_is_the_epoch_step_by_step(
    learners: Callable[..., list[Learner]], make_trainer: Trainers, changes: dict[str, Any]
) -> None:
    runs = learners(6, **changes)
    at_once, by_steps = (train_together(runs, make_trainer(**DOUBLE), way) for way in (True, False))
    steps = len(by_steps.trainer.train_dataloader)  # type: ignore[arg-type]
    assert (at_once.trainer.global_step, by_steps.trainer.global_step) == (8, 8 * steps)
    taken = [module.records.take(6) for module in (at_once, by_steps)]
    for one, other in zip(*taken, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-12, atol=1e-12)
    assert_same(at_once.outcomes.best, by_steps.outcomes.best, 1e-12)


def heart_rates() -> Table:
    """The column that started the project: its label is no more than `above 91`."""
    rows = np.random.default_rng(0).normal(92.6, 5.49, (1_000, 1)).astype(np.float32)
    return Table(rows, (rows[:, 0] > 91).astype(np.float32), ONE, "heart rates")


def circles() -> Table:
    made = make_circles(500, noise=0.1, factor=0.2, random_state=123)
    rows, labels = (np.asarray(part, np.float32) for part in made)
    return Table(rows, labels, TWO, "circles")


@pytest.mark.parametrize(
    ("table", "lr", "changes"),
    [
        (circles, 0.1, {"normalization": "none"}),
        (heart_rates, 0.01, {"normalization": "none"}),
        (heart_rates, 0.01, {"normalization": "standardize"}),
        (heart_rates, 0.01, {"normalization": "none", "batchnorm": True}),
    ],
)
def test_float32_on_the_nets_that_started_the_project(
    make_trainer: Trainers, table: Callable[[], Table], lr: float, changes: dict[str, Any]
) -> None:
    data = SplitTable(table(), "none")
    runs = [
        Learner(data, Recipe("adam", lr, NONE, seed=seed), hidden=(4,), activation="sigmoid")
        for seed in (2, 0, 1, 3, 4, 5)
    ]
    runs = [replace(run, **changes) for run in runs]
    for company in (runs, runs[:1]):
        module = train_together(company, make_trainer(max_epochs=60))
        assert_by_hand(company, module, 60, FLOAT32)
