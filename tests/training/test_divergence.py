"""A loss that turns nan or infinite ends its run alone, and says where and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer

from learners import Learner, batches, state_of, train_together
from normlab.config.model import NoSchedulerSettings
from normlab.data.serve.module import SplitTable, TableDataModule
from normlab.data.table import Table
from normlab.model.layers import Linear
from normlab.training.divergence import first_not_finite
from normlab.training.module import Recipe, TrainingModule

Trainers = Callable[..., Trainer]
Make = Callable[..., Learner]

NONE = NoSchedulerSettings(name="none")
WILD = 1e308  # a learning rate
LARGE_INPUTS = "inputs as large as"
TOO_FAST = "the learning rate is too high: lower model.lr=1e+308"


@pytest.fixture
def run(blobs: Callable[..., Table]) -> Make:
    """A run of 84 training rows and 18 of validation, or of 120; in steps of 16 if not told."""
    table = blobs(120)

    def make(
        seed: int = 0, lr: float = 0.1, split: Any = "random", patience: Any = None, **changes: Any
    ) -> Learner:
        batch_size = changes.pop("batch_size", 16)
        data = SplitTable(table, split, batch_size=batch_size, seed=seed)
        return Learner(data, Recipe("sgd", lr, NONE, seed=seed, patience=patience), **changes)

    return make


@pytest.fixture
def train(make_trainer: Trainers) -> Callable[..., TrainingModule]:
    """Trains runs together in float64, so that their own losses stay numbers for long."""

    def start(*runs: Learner, epochs: int = 4, at_once: bool = True) -> TrainingModule:
        trainer = make_trainer(max_epochs=epochs, precision="64-true")
        return train_together(runs, trainer, at_once)

    return start


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(("split", "patience"), [("random", None), ("random", 2), ("none", None)])
def test_it_ends_alone_and_touches_no_other(
    run: Make, train: Callable[..., TrainingModule], at_once: bool, split: str, patience: int | None
) -> None:
    """To the bit while it is there; the layout of those that remain may change a last digit."""
    rates = (0.1, 0.2, 0.05, 0.3, 0.15)
    well = [run(seed, lr, split, patience) for seed, lr in enumerate(rates)]
    ill = [replace(one, recipe=replace(one.recipe, lr=WILD)) if place in (1, 3) else one
           for place, one in enumerate(well)]  # fmt: skip
    for epochs, tolerance in ((1, 0.0), (6, 1e-12)):
        modules = [train(*runs, epochs=epochs, at_once=at_once) for runs in (well, ill)]
        texts = modules[1].outcomes.diverged
        assert modules[0].outcomes.diverged == [None] * 5
        assert [text is not None for text in texts] == [False, True, False, True, False]
        taken = [module.records.take(5) for module in modules]
        for place, (one, other) in enumerate(zip(*taken, strict=True)):
            assert one is not None
            assert other is not None
            if place in (1, 3):
                assert len(other) == modules[1].outcomes.epochs[place] == 1
                continue
            np.testing.assert_allclose(other.values, one.values, rtol=tolerance, atol=0)
            weights, others = (state_of(module.outcomes.best, place) for module in modules)
            torch.testing.assert_close(others, weights, rtol=tolerance, atol=tolerance)


def test_the_text_names_step_epoch_column_and_cause(
    run: Make, train: Callable[..., TrainingModule]
) -> None:
    """The step is the first whose loss is no number, its rows those of the epoch's order."""
    shape: dict[str, Any] = {"hidden": (), "split": "none"}
    ill = run(3, WILD, normalization="none", **shape)
    module = train(run(0, **shape), ill)
    (text,) = [text for text in module.outcomes.diverged if text]
    steps = batches(len(ill.data.split.train), 16, ill.data.seed, epoch=0)
    step = next(i for i in range(len(steps)) if f"at step {i + 1} (epoch 1)" in text)
    assert step >= 1, "the first loss is that of the first weights"
    rows = torch.from_numpy(ill.data.table.rows[ill.data.split.train])[steps[step]]
    largest = rows.abs().max().item()  # of scales of 1, 10 and 100
    assert f"largest input is {largest:.6g} (column x2)" in text
    assert f"{LARGE_INPUTS} {largest:.3g}" in text
    assert "normalization=standardize" in text


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"normalization": "none"}, LARGE_INPUTS),
        ({"normalization": "none", "batchnorm": True}, TOO_FAST),
        ({"normalization": "standardize"}, TOO_FAST),
    ],
    ids=str,
)
def test_the_likely_cause(
    run: Make, train: Callable[..., TrainingModule], changes: dict[str, Any], cause: str
) -> None:
    module = train(run(0, WILD, **changes))
    assert cause in str(module.outcomes.diverged[0])
    assert module.trainer.should_stop
    assert module.outcomes.never_good(0), "the first epoch has left no weights to keep"


@pytest.mark.parametrize("split", ["random", "none"])
def test_a_later_divergence_leaves_the_weights_before(
    run: Make, make_trainer: Trainers, split: str
) -> None:
    class SpoiledInEpoch4(TrainingModule):
        def on_train_epoch_start(self) -> None:
            super().on_train_epoch_start()
            first = self.network.mlp[0]
            if self.current_epoch == 3 and isinstance(first, Linear):
                first.weight.data.fill_(torch.nan)

    learner = run(0, 0.05, split)
    expected = train_together([learner], make_trainer(max_epochs=3)).outcomes
    data = TableDataModule([learner.data])
    module = SpoiledInEpoch4(learner.network(), data, [learner.recipe])
    make_trainer(max_epochs=9).fit(module, datamodule=data)
    outcomes = module.outcomes
    assert outcomes.epochs.tolist() == [4]
    n_steps = 6 if split == "random" else 8
    assert f"at step {3 * n_steps + 1} (epoch 4)" in str(outcomes.diverged[0])
    assert not outcomes.never_good(0)
    assert outcomes.best_epoch.tolist() == expected.best_epoch.tolist()
    torch.testing.assert_close(outcomes.best, expected.best, rtol=0, atol=0)


def test_weights_that_the_last_step_has_lost_are_not_kept(
    run: Make, make_trainer: Trainers
) -> None:
    """Nothing is validated, and the epoch's only loss is that of its first weights."""
    runs = [run(seed, lr, "none", batch_size=None) for seed, lr in ((0, 0.1), (1, WILD))]
    outcomes = train_together(runs, make_trainer(max_epochs=3)).outcomes  # in float32: infinite
    assert outcomes.epochs.tolist() == [3, 1]
    assert [text is None for text in outcomes.diverged] == [True, False]
    assert outcomes.never_good(1)


def test_the_first_batch_that_is_no_number() -> None:
    losses = torch.tensor([1.0, 2.0, torch.inf, 1.0, torch.nan])
    assert first_not_finite(losses, [2, 4, 5]) == 1
    assert first_not_finite(losses[:2], [1, 2]) is None
    assert first_not_finite(losses, [0, 2, 2, 5]) == 3  # a process may have no rows of a batch
