"""Epochs taken as one of Lightning's steps, against the same epochs step by step."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import (
    Callback,
    DeviceStatsMonitor,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
)

from normlab.assembly import lightning_trainer, make_classifier, make_data
from normlab.config import Settings
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.model.classifier import Classifier
from normlab.model.unrolled import UnrolledClassifier, refuse_steps_apart
from normlab.training.progress import TrainingProgress

Settled = Callable[..., Settings]
Trained = tuple[Classifier, Trainer, list[dict[str, float]]]
Train = Callable[..., Any]

UNROLLED = "trainer.unroll_epochs=true"
BASE = (
    "data.batch_size=16",
    "data.val_fraction=0.2",
    "data.test_fraction=0.1",
    "model.hidden=[5]",
    "model/scheduler=none",
    "trainer.max_epochs=4",
    "trainer.enable_progress_bar=false",
    "diagnosis.every_n_epochs=2",
)


@pytest.fixture
def run(
    settings: Settled,
    blobs: Callable[..., Table],
    make_trainer: Callable[..., Trainer],
    list_logger: Any,
) -> Callable[..., Trained]:
    """Trains on 120 rows, 84 of them for training: six steps, the last of 4 rows."""

    def train(*overrides: str, callbacks: Any = (), n_rows: int = 120) -> Trained:
        chosen = settings(*BASE, *overrides)
        data = make_data(chosen, blobs(n_rows))
        model = make_classifier(chosen, data)
        list_logger.records = []
        own = chosen.trainer
        trainer = make_trainer(
            max_epochs=own.max_epochs,
            precision=own.precision,
            callbacks=list(callbacks),
            enable_progress_bar=any(isinstance(one, ProgressBar) for one in callbacks),
        )
        trainer.fit(model, datamodule=data)
        return model, trainer, list_logger.records

    return train


def assert_same(one: Trained, other: Trained, tolerance: float) -> None:
    (model, trainer, records), (expected, steps, ordinary) = one, other
    assert isinstance(model, UnrolledClassifier)
    assert not isinstance(expected, UnrolledClassifier)
    assert trainer.global_step == steps.global_step > 0
    assert len(records) == len(ordinary) > 0
    for mine, theirs in zip(records, ordinary, strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=tolerance, nan_ok=True)
    torch.testing.assert_close(
        dict(model.state_dict()), dict(expected.state_dict()), rtol=tolerance, atol=tolerance
    )
    assert model.best.epoch == expected.best.epoch


CASES = [
    (),
    ("model.batchnorm=true", "model.dropout=0.3"),
    ("normalization=log1p", "model.dropout=0.5", "model.optimizer=adamw", "model.weight_decay=0.1"),
    ("model/scheduler=step", "model.scheduler.step_size=2", "model.optimizer=sgd", "model.lr=0.1"),
    ("model/scheduler=cosine", "model.pos_weight=balanced", "normalization=quantile"),
    ("data.batch_size=null", "diagnosis.enabled=false"),
    ("data.batch_size=83", "model.hidden=[]"),  # a last batch of one row joins the one before
    ("data.batch_size=1", "model.hidden=[3,3]", "trainer.max_epochs=2"),
    ("data.split=none",),
]


@pytest.mark.parametrize("overrides", CASES, ids=" ".join)
def test_the_same_losses_as_step_by_step(
    run: Callable[..., Trained], overrides: tuple[str, ...]
) -> None:
    chosen = (*overrides, "trainer.precision=64-true")
    assert_same(run(UNROLLED, *chosen), run(*chosen), 1e-9)


def test_the_same_losses_in_32_bits(run: Callable[..., Trained]) -> None:
    assert_same(run(UNROLLED, "model.dropout=0.3"), run("model.dropout=0.3"), 1e-4)


def test_half_precision(run: Callable[..., Trained]) -> None:
    """Of bfloat16 all that is asked is that it trains on what it is given."""
    _, _, records = run(UNROLLED, "trainer.precision=bf16-true")
    assert records[-1]["train/loss"] < records[0]["train/loss"]


def test_early_stopping(run: Callable[..., Trained]) -> None:
    def stopped(*overrides: str) -> Trained:
        stopping = EarlyStopping("val/loss", patience=2, min_delta=0.05)
        chosen = ("trainer.precision=64-true", "trainer.max_epochs=60", "model.lr=0.05")
        return run(*overrides, *chosen, callbacks=[stopping])

    one, other = stopped(UNROLLED), stopped()
    assert_same(one, other, 1e-9)
    assert len(one[2]) < 60


def test_a_divergence_is_explained_alike(run: Callable[..., Trained]) -> None:
    """The same step and the same rows: the mini-batches are found again, in the epoch's order."""
    bad = ("normalization=none", "model.hidden=[]", "model.optimizer=sgd", "model.lr=1e33")
    one, other = run(UNROLLED, *bad)[0], run(*bad)[0]
    assert other.diverged is not None
    assert "at step 4 (epoch 1)" in other.diverged
    assert one.diverged == other.diverged


def test_the_bar_counts_steps(run: Callable[..., Trained]) -> None:
    for overrides in ((UNROLLED,), ()):
        progress = TrainingProgress()
        _, trainer, _ = run(*overrides, callbacks=[progress])
        assert progress._bar is not None
        assert (progress._bar.n, progress._bar.total) == (24, 24)
        assert trainer.limit_val_batches == 1.0, "the next training validates too"


# What goes on, and what is refused

FEW = (*BASE, "data.rows=300", "hydra.run.dir=whole", UNROLLED)


def metrics_of(folder: Path) -> list[list[float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [[float(cell) for cell in row if cell] for row in list(csv.reader(file))[1:]]


def test_a_run_goes_on_to_the_same_bits(train: Train, tmp_path: Path) -> None:
    assert train(*FEW).status == 0
    assert train(*FEW, "trainer.max_epochs=2", "hydra.run.dir=cut").status == 0
    assert train("resume=cut", "trainer.max_epochs=4").status == 0
    metrics = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "cut")]
    assert metrics[0] == metrics[1]
    last = [torch.load(tmp_path / name / "checkpoints/last.ckpt") for name in ("whole", "cut")]
    assert last[0]["global_step"] == last[1]["global_step"] == 4 * 14
    assert train(*FEW, "trainer.unroll_epochs=false", "hydra.run.dir=steps").status == 0
    for mine, theirs in zip(
        *map(metrics_of, (tmp_path / "whole", tmp_path / "steps")), strict=True
    ):
        assert mine == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(
    "override",
    [
        "+trainer.accumulate_grad_batches=2",
        "+trainer.gradient_clip_val=1.0",
        "+trainer.limit_train_batches=3",
        "+trainer.limit_val_batches=0.5",
        "+trainer.overfit_batches=1",
        "+trainer.max_steps=10",
        "+trainer.min_steps=10",
        "+trainer.max_time=00:00:01:00",
        "trainer.precision=bf16-mixed",
        "trainer.devices=2",
        "trainer.strategy=ddp",
    ],
)
def test_what_needs_the_steps_one_by_one_is_refused(settings: Settled, override: str) -> None:
    name = "devices" if "strategy" in override else override.lstrip("+").split(".")[1].split("=")[0]
    given = ("trainer.accelerator=cpu", override)
    lightning_trainer(settings(*given), logger=False, enable_checkpointing=False)
    with pytest.raises(UserError, match=rf"unroll_epochs=true .*\n  trainer\.{name}\b[^\n]*\Z"):
        lightning_trainer(settings(UNROLLED, *given), logger=False, enable_checkpointing=False)


@pytest.mark.parametrize(
    ("callback", "allowed"),
    [
        (TrainingProgress(), True),
        (EarlyStopping("val/loss"), True),
        (ModelCheckpoint(), True),
        (ModelCheckpoint(every_n_train_steps=5), False),
        (GradientAccumulationScheduler({2: 4}), False),
        (LearningRateMonitor(), False),
        (DeviceStatsMonitor(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_callbacks_that_act_within_an_epoch(
    make_trainer: Callable[..., Trainer], callback: Callback, allowed: bool
) -> None:
    arguments = {"enable_checkpointing": True} if isinstance(callback, ModelCheckpoint) else {}
    arguments |= {"enable_progress_bar": True} if isinstance(callback, TrainingProgress) else {}
    trainer = make_trainer(callbacks=[callback], **arguments)
    if allowed:
        refuse_steps_apart(trainer)
        return
    with pytest.raises(UserError, match=rf"callbacks: {type(callback).__name__} acts within"):
        refuse_steps_apart(trainer)


def test_a_trainer_of_ones_own_is_checked_too(run: Callable[..., Trained]) -> None:
    with pytest.raises(UserError, match="LearningRateMonitor"):
        run(UNROLLED, callbacks=[LearningRateMonitor()])


def test_a_refusal_writes_nothing(train: Train, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    before = set(tmp_path.iterdir())
    on_disk = (
        "data=csv",
        "data.path=rows.csv",
        "data.target=y",
        "data.cache=true",
        "data.cache_dir=cache",
    )
    cases = {
        "the table stays on disk: leave it out, or set data.cache=false": on_disk,
        "trainer.accumulate_grad_batches=4: acts within": ("+trainer.accumulate_grad_batches=4",),
    }
    for message, given in cases.items():
        ended = train(UNROLLED, *given, f"hydra.run.dir={tmp_path / 'run'}")
        assert ended.status == 1
        assert ended.err.startswith("normlab: trainer.unroll_epochs=true takes")
        assert message in ended.err
        assert set(tmp_path.iterdir()) - before <= {tmp_path / "cache"}


def test_in_a_sweep_each_run_is_alone(train: Train, tmp_path: Path) -> None:
    small = (*BASE, UNROLLED, "data.rows=60", "trainer.max_epochs=1", "hydra.sweep.dir=sweep")
    small = (*small, "~hydra.callbacks.sweep_report")
    refused = train("-m", *small, "seed=0,1", "+trainer.max_steps=5")
    assert refused.status == 1
    assert "trainer.max_steps=5: acts within an epoch" in refused.err
    assert not list(tmp_path.rglob("metrics.csv"))
    ended = train("-m", *small, "seed=0,1")
    assert ended.status == 0
    assert ended.out.count("alone: trainer.unroll_epochs=true") == 2
