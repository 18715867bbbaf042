"""Runs from their settings to their results, with no folder: what notebooks and sweeps share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer

from learners import Learner, train_by_hand
from normlab.config import Settings
from normlab.data.schema import Schema
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.model.metrics import auroc
from normlab.training.result import Result
from normlab.training.run import Run, Together, make_recipe

Settled = Callable[..., Settings]
Start = Callable[..., tuple[Together, list[Result]]]

BASE = ("data.batch_size=16", "model.hidden=[5]", "model.activation=tanh", "seed=3")


@pytest.fixture
def run(settings: Settled, blobs: Callable[..., Table]) -> Callable[..., Run]:
    """Of 84 training rows, 18 of validation and 18 of the test, under BASE and some overrides."""
    table = blobs(120)

    def make(*overrides: str) -> Run:
        own = settings(*BASE, *overrides)
        data = own.data
        split = SplitTable(
            table, data.split, data.val_fraction, data.test_fraction, data.batch_size, own.seed
        )
        return Run(own, split)

    return make


@pytest.fixture
def start(make_trainer: Callable[..., Trainer]) -> Start:
    def train(*runs: Run, epochs: int = 15) -> tuple[Together, list[Result]]:
        together = Together(runs)
        together.examine()
        trainer = make_trainer(max_epochs=epochs, precision="64-true")
        return together, together.train(trainer)

    return train


def test_a_result_is_that_of_the_best_weights_of_the_loop_by_hand(
    run: Callable[..., Run], start: Start
) -> None:
    """With a balanced loss, whose best epoch is not the last one, and every setting of a recipe."""
    overrides = (
        "model.lr=0.1", "model.optimizer=sgd", "model.momentum=0.9", "model.weight_decay=0.01",
        "model.pos_weight=balanced", "model/scheduler=cosine", "model.init=he",
        "normalization=robust", "model.batchnorm=true",
    )  # fmt: skip
    one = run(*overrides)
    recipe = make_recipe(one.settings, one.data)
    labels = one.data.train_labels
    assert recipe.weight == pytest.approx(((1 - labels).sum() / labels.sum()).item())
    learner = Learner(one.data, recipe, "robust", batchnorm=True, init="he")
    expected = train_by_hand(learner, 15)
    together, (result,) = start(one)
    assert 1 < expected.best_epoch < 15, "the test needs a best epoch in between"
    assert result.val is not None
    assert result.val["loss"] == pytest.approx(expected.val[expected.best_epoch - 1], abs=1e-9)
    for part in ("train", "val", "test"):
        figures: Any = getattr(result, part)
        rows, labels = together.data.take(part, slice(None))
        with torch.no_grad():
            logits = together.network(rows.double())
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.double())
        assert figures["loss"] == pytest.approx(loss.item(), abs=1e-12)
        assert figures["accuracy"] == pytest.approx(((logits > 0) == labels).double().mean().item())
        assert figures["auroc"] == pytest.approx(auroc(logits, labels).item())
    share = one.data.train_labels.mean().item()
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert result.label_entropy == pytest.approx(entropy)
    assert (result.epochs, result.checkpoint, result.threshold) == (15, None, None)
    assert not together.network.training


def test_runs_that_share_a_network_come_to_what_they_are_alone(
    run: Callable[..., Run], start: Start
) -> None:
    runs = [
        run(f"normalization={name}", f"seed={seed}", f"model.lr={lr}", "model.dropout=0.2")
        for seed, (name, lr) in enumerate((("standardize", 0.1), ("none", 0.01), ("minmax", 0.3)))
    ]
    _, together = start(*runs)
    for one, found in zip(runs, together, strict=True):
        _, (alone,) = start(one)
        for part in ("train", "val", "test"):
            assert getattr(found, part) == pytest.approx(getattr(alone, part), abs=1e-6)
        assert found.diagnosis is not None
        assert alone.diagnosis is not None
        assert found.diagnosis["verdict"] == alone.diagnosis["verdict"]
        assert found.diagnosis["start"] == alone.diagnosis["start"]
        assert found.diagnosis["end"] == pytest.approx(alone.diagnosis["end"], rel=1e-6)


def test_a_verdict_goes_by_the_curves_of_all_epochs(run: Callable[..., Run], start: Start) -> None:
    tidy = run("model.lr=0.05")
    raw = run("normalization=none", "model.lr=1e-7", "seed=4")
    _, (good, bad) = start(tidy, raw)
    assert good.diagnosis is not None
    assert bad.diagnosis is not None
    assert good.diagnosis["verdict"] in ("learnt", "still falling", "overfitting")
    assert bad.diagnosis["verdict"] in ("stuck", "diverged")
    assert good.diagnosis["warning"] is None
    assert "x2" in bad.diagnosis["warning"]


def test_without_diagnosis_and_validation(run: Callable[..., Run], start: Start) -> None:
    _, (result,) = start(run("diagnosis.enabled=false", "data.split=none"))
    assert (result.val, result.test, result.diagnosis) == (None, None, None)


def test_the_threshold_of_one_column_is_in_its_unit(
    settings: Settled, make_trainer: Callable[..., Trainer]
) -> None:
    """Labels of `x > 91`, with gaps between: the threshold lies within."""
    values = np.concatenate([np.linspace(80, 90, 60), np.linspace(92, 99, 60)])
    table = Table(
        values[:, None].astype(np.float32),
        (values > 91).astype(np.float32),
        Schema(("x",), "y", (0, 1)),
        "made",
    )
    runs = [
        Run(
            settings("model.lr=0.1", f"seed={seed}", "model.hidden=[3]"),
            SplitTable(table, seed=seed),
        )
        for seed in range(2)
    ]
    results = Together(runs).train(make_trainer(max_epochs=40))
    for result in results:
        assert result.threshold is not None
        (threshold,) = result.threshold
        assert 88 < threshold < 94
