"""A run of a stack is the run alone: the same figures, weights, checkpoints, whatever beside it.

The oracle is the single run: Lightning, torch.optim and the network itself, with no vmap.
"""

from __future__ import annotations

import copy
import csv
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from normlab.app import examine, write_start
from normlab.assembly import make_classifier, make_data, make_trainer
from normlab.config import Settings
from normlab.loading import load_table
from normlab.sweep_runs import Run, train_group
from normlab.training.diagnosed import diagnosed
from normlab.training.environment import quiet_lightning
from normlab.training.resume import ENTRY
from normlab.training.run_folder import BEST, LAST, RunFolder
from normlab.training.single import train
from normlab.training.stacked import batches
from normlab.training.stacked.grouping import group
from normlab.validation import check_settings

Settled = Callable[..., Settings]
Variation = dict[str, Any]

FLOAT64 = 1e-9  # the sums' order differs, no more: about 1e-15 a step
FLOAT32 = 1e-4
RESUMED = 1e-6  # Lightning loads the weights before it converts the module to float64
# 141 training rows of 201 under data.split=random: 25 leave a short last batch, 20 a single row.
SMALL = (
    "trainer.accelerator=cpu",
    "trainer.precision=64-true",
    "trainer.max_epochs=5",
    "trainer.enable_progress_bar=false",
    "data.batch_size=25",
    "model.hidden=[5]",
)
HEART_RATE = ("data.rows=201", "data.autocorrelation=0.5")
NONE: dict[str, Any] = {"name": "none"}
STEP: dict[str, Any] = {"name": "step", "step_size": 2, "gamma": 0.3}
SLOW_STEP: dict[str, Any] = {"name": "step", "step_size": 3, "gamma": 0.9}
COSINE: dict[str, Any] = {"name": "cosine", "eta_min": 0.001}


def varied(base: Settings, variation: Variation) -> Settings:
    """Settings with some of them changed, by their dotted keys."""
    plain = copy.deepcopy(base.to_dict())
    for key, value in variation.items():
        *parents, name = key.split(".")
        node = plain
        for parent in parents:
            node = node[parent]
        node[name] = value
    return check_settings(plain)


# Everything that may differ inside a stack, in five runs.
FIVE: list[Variation] = [
    {"seed": 0, "model.lr": 0.01, "model.weight_decay": 0.1, "model.scheduler": STEP},
    {"seed": 1, "model.lr": 0.1, "model.pos_weight": "balanced", "model.scheduler": COSINE},
    {"seed": 0, "model.lr": 0.03, "model.init": "he", "model.scheduler": NONE, "data.seed": 7},
    {"seed": 3, "model.lr": 0.1, "model.init": "xavier", "model.pos_weight": 3.0},
    {"seed": 4, "model.lr": 0.02, "model.weight_decay": 0.01, "model.scheduler": SLOW_STEP,
     "data.seed": 8, "data.mean": 60.0, "data.threshold": 59.0},
]  # fmt: skip
AFFINE = ("none", "center", "standardize", "minmax", "robust")
MIXED = [{"normalization.name": name, **one} for name, one in zip(AFFINE, FIVE, strict=True)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet_lightning()


def train_alone(settings: Settings, path: Path) -> Path:
    """As `app.run` does, without Hydra."""
    path.mkdir(parents=True)
    table = load_table(settings)
    data = make_data(settings, table)
    folder = RunFolder(path)
    trainer = make_trainer(settings, folder)
    model = make_classifier(settings, data)
    write_start(folder, settings, table)
    start = examine(model, data)
    result = diagnosed(train(data, model, trainer), start, model, data, folder, settings)
    folder.write_result(result.to_dict())
    return path


def train_stacked(settings: Sequence[Settings], path: Path) -> list[Path]:
    """As the fused launcher does, without Hydra. The settings must make one group."""
    assert group(settings) == [list(range(len(settings)))]
    folders = [path / str(i) for i in range(len(settings))]
    runs = [
        Run(one, folder, folder.name, lambda folder=folder: folder.mkdir(parents=True))
        for one, folder in zip(settings, folders, strict=True)
    ]
    train_group(runs)
    return folders


@pytest.fixture
def both(tmp_path: Path, settings: Settled) -> Callable[..., list[tuple[Path, Path]]]:
    """Trains variations of some settings each alone and all as one; gives pairs of folders."""

    def run(
        variations: Sequence[Variation], *overrides: str, data: Sequence[str] = HEART_RATE
    ) -> list[tuple[Path, Path]]:
        base = settings(*SMALL, *data, *overrides)
        every = [varied(base, variation) for variation in variations]
        stacked = train_stacked(every, tmp_path / "stacked")
        alone = [train_alone(one, tmp_path / "alone" / str(i)) for i, one in enumerate(every)]
        return list(zip(alone, stacked, strict=True))

    return run


def metrics_of(folder: Path) -> dict[str, list[float]]:
    """The columns of metrics.csv; nan where a cell is blank."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


def checkpoint_of(folder: Path, name: str = LAST) -> dict[str, Any]:
    checkpoint = torch.load(folder / name, weights_only=True)
    checkpoint.pop(ENTRY, None)  # times, and lengths of files
    return checkpoint


def result_of(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text())
    return {key: result[key] for key in result if key not in ("seconds", "rows_per_second")}


def assert_alike(one: Any, other: Any, tolerance: float, where: str = "") -> None:
    """Nested containers of one structure, whose numbers agree within the tolerance."""
    if isinstance(one, Tensor):
        assert isinstance(other, Tensor), where
        exact = 0.0 if not one.is_floating_point() else tolerance
        torch.testing.assert_close(
            other, one, atol=exact, rtol=exact, equal_nan=True, msg=lambda m: f"{where}: {m}"
        )
    elif isinstance(one, dict):
        assert isinstance(other, dict), where
        assert one.keys() == other.keys(), where
        for key in one:
            assert_alike(one[key], other[key], tolerance, f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert type(one) is type(other), where
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_alike(a, b, tolerance, f"{where}/{i}")
    elif isinstance(one, float):
        assert isinstance(other, float), where
        assert other == pytest.approx(one, abs=tolerance, rel=tolerance, nan_ok=True), where
    elif not re.search(r"/(stopping_reason_message|reason|warning|way_out/\d+)$", where):  # prose
        assert one == other, where


def assert_same_run(alone: Path, stacked: Path, tolerance: float = FLOAT64) -> None:
    """Every number that the two folders hold, but times."""
    assert_alike(metrics_of(alone), metrics_of(stacked), tolerance, f"{stacked.name}/metrics")
    for name in (BEST, LAST):
        one, other = checkpoint_of(alone, name), checkpoint_of(stacked, name)
        assert_alike(one, other, tolerance, f"{stacked.name}/{name}")
    assert_alike(result_of(alone), result_of(stacked), tolerance, f"{stacked.name}/result")


def assert_same_runs(pairs: list[tuple[Path, Path]], tolerance: float = FLOAT64) -> None:
    for alone, stacked in pairs:
        assert_same_run(alone, stacked, tolerance)
    losses = [tuple(metrics_of(stacked)["train/loss"]) for _, stacked in pairs]
    assert len(set(losses)) == len(losses), "two of the runs are one: they test nothing"
    assert all(len(set(loss)) > 1 for loss in losses if math.isfinite(loss[-1])), "none learns"


Both = Callable[..., list[tuple[Path, Path]]]


@pytest.mark.parametrize(
    ("optimizer", "batch_size"),
    [("adam", "25"), ("adam", "null"), ("adamw", "20"), ("sgd", "25"), ("sgd", "null")],
)
def test_five_strategies_in_one_stack(both: Both, optimizer: str, batch_size: str) -> None:
    """With every setting that may differ; batches with a short end, a joined row, or all rows."""
    pairs = both(MIXED, f"model.optimizer={optimizer}", f"data.batch_size={batch_size}")
    assert_same_runs(pairs)
    steps = {"25": 6, "20": 7, "null": 1}[batch_size]
    assert all(checkpoint_of(stacked)["global_step"] == 5 * steps for _, stacked in pairs)


@pytest.mark.parametrize(
    "overrides",
    [
        ("normalization=log1p",),
        ("normalization=quantile", "normalization.n_quantiles=20"),
        ("normalization=batchnorm",),
        ("normalization=batchnorm", "data.batch_size=20", "model.optimizer=sgd"),
        ("normalization=standardize", "model.batchnorm=true"),
        # Not in full batch: the median row would lie within a rounding error of relu's corner.
        ("normalization=quantile", "model.batchnorm=true", "data.batch_size=20"),
        ("model.hidden=[]",),
        ("model.hidden=[6,3]", "model.activation=tanh", "model.optimizer=adamw"),
        ("model.hidden=[4]", "model.activation=sigmoid"),
    ],
    ids=" ".join,
)
def test_every_strategy_and_shape_of_network(both: Both, overrides: tuple[str, ...]) -> None:
    pairs = both(FIVE, *overrides)
    assert_same_runs(pairs)
    state = checkpoint_of(pairs[0][1])["state_dict"]
    if "batchnorm" in " ".join(overrides):
        steps = 7 if "data.batch_size=20" in overrides else 6
        assert state["network.batchnorm.num_batches_tracked"] == 5 * steps


def test_batchnorm_after_any_affine_strategy_in_one_stack(both: Both) -> None:
    names = ("batchnorm", "none", "standardize", "minmax", "robust")
    variations = [
        {"normalization.name": name, "model.batchnorm": name != "batchnorm", **one}
        for name, one in zip(names, FIVE, strict=True)
    ]
    assert_same_runs(both(variations))


@pytest.mark.parametrize("batch_size", ["30", "null"])
def test_all_rows_train(both: Both, batch_size: str) -> None:
    """data.split=none: no validation, so the last weights are the best."""
    pairs = both(MIXED, "data.split=none", f"data.batch_size={batch_size}")
    assert_same_runs(pairs)
    for _, stacked in pairs:
        assert result_of(stacked)["val"] is None
        assert checkpoint_of(stacked, BEST)["epoch"] == 5


def test_splits_of_one_size_share_a_stack(both: Both) -> None:
    splits = ("random", "chronological", "chronological", "random", "chronological")
    assert_same_runs(
        both([{**one, "data.split": split} for one, split in zip(MIXED, splits, strict=True)])
    )


def test_several_features(both: Both) -> None:
    variations = [
        {**one, "data.noise": 0.05 * (i + 1), "data.factor": 0.1 * (i + 1)}
        for i, one in enumerate(MIXED[:4])
    ]
    assert_same_runs(both(variations, data=("data=circles", "data.rows=201")))


def test_many_features_of_unlike_scales(both: Both) -> None:
    """A real table, whose columns lie five orders of magnitude apart."""
    variations = [
        {key: value for key, value in one.items() if not key.startswith("data.")} for one in MIXED
    ]
    # Raw rows of thousands: a rounding error is as much larger.
    assert_same_runs(both(variations, data=("data=breast_cancer",)), tolerance=1e-7)


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.batch_size=null",),
        ("data.batch_size=20", "model.optimizer=adamw"),
        ("data.batch_size=20", "model.batchnorm=true", "early_stopping.min_delta=0.0"),
        ("data.batch_size=null", "model.optimizer=sgd"),
    ],
    ids=" ".join,
)
def test_runs_that_stop_early_leave_the_others_alone(
    both: Both, overrides: tuple[str, ...]
) -> None:
    """Each at its own epoch, with the weights it had then; the others go on as if alone."""
    rates = (0.2, 1e-5, 0.05, 0.1, 0.4)
    variations = [{**one, "model.lr": rate} for one, rate in zip(MIXED, rates, strict=True)]
    pairs = both(
        variations,
        "trainer.max_epochs=12",
        "early_stopping.patience=2",
        "early_stopping.min_delta=0.01",
        *overrides,
    )
    assert_same_runs(pairs)
    epochs = [result_of(stacked)["epochs"] for _, stacked in pairs]
    assert len(set(epochs)) >= 3, f"the test needs runs that stop at various epochs: {epochs}"
    for (_, stacked), n_epochs in zip(pairs, epochs, strict=True):
        assert len(metrics_of(stacked)["epoch"]) == n_epochs
        assert checkpoint_of(stacked)["epoch"] == n_epochs - 1


@pytest.mark.parametrize("patience", ["null", "2"])
def test_a_run_that_diverges_harms_no_other(both: Both, patience: str) -> None:
    """Its losses are nan; alone and stacked it keeps the weights of the same epoch."""
    rates = (0.1, 1e250, 0.05, 1e120, 0.2)
    variations = [{**one, "model.lr": rate} for one, rate in zip(MIXED, rates, strict=True)]
    pairs = both(variations, "model.optimizer=sgd", f"early_stopping.patience={patience}")
    for alone, stacked in pairs:
        if result_of(stacked)["diverged"] is None:
            assert_same_run(alone, stacked)
        else:  # alone, the last good checkpoint may be the one before the first epoch
            assert_alike(metrics_of(alone), metrics_of(stacked), FLOAT64)
            assert_alike(result_of(alone), result_of(stacked), FLOAT64)
            assert not (stacked / LAST).exists()
            assert (stacked / BEST).exists() == (alone / BEST).exists()
            assert checkpoint_of(alone)["epoch"] < result_of(alone)["epochs"]
    diverged = [not math.isfinite(metrics_of(stacked)["val/loss"][-1]) for _, stacked in pairs]
    assert True in diverged
    assert diverged.count(False) >= 3


def test_validation_in_parts_is_validation_at_once(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 rows of validation in batches of 7; the last two rows make one of their own."""
    monkeypatch.setattr(batches, "EVALUATION_BATCH", 35)
    for alone, stacked in both(MIXED, "model.batchnorm=true"):
        assert_alike(metrics_of(alone), metrics_of(stacked), FLOAT64)
        for name in (BEST, LAST):
            one, other = checkpoint_of(alone, name), checkpoint_of(stacked, name)
            assert_alike(one["state_dict"], other["state_dict"], FLOAT64)
        assert_alike(result_of(alone), result_of(stacked), FLOAT64)


@pytest.mark.parametrize(
    ("experiment", "variations"),
    [
        ("circles", [{"seed": seed} for seed in range(3)]),
        (
            "heart_rate",
            [{"seed": s, "normalization.name": n} for n, s in (("none", 2), ("standardize", 0))],
        ),
        ("heart_rate", [{"seed": s, "normalization.name": "batchnorm"} for s in (0, 2)]),
    ],
)
def test_float32_on_the_nets_that_started_the_project(
    tmp_path: Path, settings: Settled, experiment: str, variations: list[Variation]
) -> None:
    base = settings(
        f"experiment={experiment}",
        "trainer.max_epochs=60",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
    )
    every = [varied(base, variation) for variation in variations]
    stacked = train_stacked(every, tmp_path / "stacked")
    for i, one in enumerate(every):
        assert_same_run(train_alone(one, tmp_path / "alone" / str(i)), stacked[i], FLOAT32)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.optimizer=adam", "model.batchnorm=true"),
        ("model.optimizer=adamw", "early_stopping.patience=3"),
        ("model.optimizer=sgd", "data.batch_size=null", "data.split=none"),
    ],
    ids=" ".join,
)
def test_a_stacked_run_is_resumed_by_lightning_alone(
    tmp_path: Path, settings: Settled, overrides: tuple[str, ...]
) -> None:
    """Two epochs more in a Trainer of its own, and it is where the uninterrupted run is."""
    base = settings(*SMALL, *HEART_RATE, *overrides)
    variations = [one for one in MIXED if one.get("model.scheduler") is not COSINE]
    short = [varied(base, {**one, "trainer.max_epochs": 3}) for one in variations]
    long = [varied(base, one) for one in variations]
    stacked = train_stacked(short, tmp_path / "stacked")
    for i, one in enumerate(long):
        alone = train_alone(one, tmp_path / "alone" / str(i))
        folder = tmp_path / "resumed" / str(i)
        folder.mkdir(parents=True)
        data = make_data(one, load_table(one))
        model = make_classifier(one, data)
        trainer = make_trainer(one, RunFolder(folder))
        trainer.fit(model, datamodule=data, ckpt_path=stacked[i] / LAST, weights_only=True)
        metrics, resumed = metrics_of(alone), metrics_of(folder)
        assert metrics.keys() > resumed.keys()  # the diagnosis looks at the first epoch
        metrics = {name: metrics[name] for name in resumed}
        assert resumed["epoch"] == [4, 5]
        for name, column in metrics.items():
            assert resumed[name] == pytest.approx(column[3:], abs=RESUMED), name
        expected, found = checkpoint_of(alone), checkpoint_of(folder)
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "best", "callbacks",
                    "epoch", "global_step", "hyper_parameters"):  # fmt: skip
            assert_alike(expected[key], found[key], RESUMED, key)


# Dropout draws other masks than a single run, of the same law


DROPOUT = (
    "model.dropout=0.5",
    "model.hidden=[8]",
    "data.batch_size=null",
    "trainer.enable_checkpointing=false",
)
FROZEN = ("model.optimizer=sgd", "model.lr=1e-12")  # nothing but the masks moves the loss


def test_dropouts_masks_are_of_the_law_of_a_single_run(tmp_path: Path, settings: Settled) -> None:
    """One network that does not learn: its training losses are draws of the masks alone."""
    base = settings(*SMALL, *HEART_RATE, *DROPOUT, *FROZEN)
    alone = varied(base, {"trainer.max_epochs": 300})
    single = metrics_of(train_alone(alone, tmp_path / "alone"))["train/loss"]
    runs = train_stacked([base] * 60, tmp_path / "stacked")
    drawn = np.array([metrics_of(folder)["train/loss"] for folder in runs])  # (60 runs, 5 epochs)
    assert len(np.unique(drawn)) == drawn.size, "every run and every epoch draws masks of its own"
    assert chance_of_one_law(single, drawn) > 0.01
    # Runs draw independently: their mean spreads by a tenth of a run's own spread, not more.
    assert drawn.mean(0).std() < 3 * drawn.std() / math.sqrt(60)

    other = varied(base, {"model.dropout": 0.3})
    folders = train_stacked([other] * 60, tmp_path / "other")
    changed = np.array([metrics_of(folder)["train/loss"] for folder in folders])
    assert chance_of_one_law(single, changed) < 1e-4, "the test could tell another rate"


def chance_of_one_law(one: Any, other: Any) -> float:
    """Kolmogorov and Smirnov's p-value."""
    result: Any = ks_2samp(np.ravel(one), np.ravel(other), method="asymp")
    return float(result.pvalue)


def test_trained_with_dropout_runs_agree_in_the_mean(tmp_path: Path, settings: Settled) -> None:
    """Final losses of the same seeds: paired, the masks are all that differs."""
    base = settings(*SMALL, *HEART_RATE, *DROPOUT, "model.lr=0.05", "trainer.max_epochs=15")
    every = [varied(base, {"seed": seed}) for seed in range(64)]
    runs = train_stacked(every, tmp_path / "stacked")
    single = [train_alone(one, tmp_path / "alone" / str(i)) for i, one in enumerate(every[:20])]
    final = [metrics_of(folder)["train/loss"][-1] for folder in runs]
    alone = [metrics_of(folder)["train/loss"][-1] for folder in single]
    difference = np.array(final[:20]) - alone
    assert abs(difference.mean()) < 3 * difference.std(ddof=1) / math.sqrt(20)
    assert 0.5 < np.std(final, ddof=1) / np.std(alone, ddof=1) < 2
    dry = train_stacked([varied(one, {"model.dropout": 0.0}) for one in every], tmp_path / "dry")
    without = np.array([metrics_of(folder)["train/loss"][-1] for folder in dry])
    effect = np.array(final) - without
    assert abs(effect.mean()) > 6 * effect.std(ddof=1) / math.sqrt(64), "it could tell"


def test_validation_has_no_dropout(tmp_path: Path, settings: Settled) -> None:
    """Logged while it trained, and measured afterwards on the best weights."""
    base = settings(*SMALL, *HEART_RATE, *DROPOUT, "model.lr=0.05")
    for folder in train_stacked([varied(base, {"seed": s}) for s in range(4)], tmp_path):
        expected = min(metrics_of(folder)["val/loss"])
        assert result_of(folder)["val"]["loss"] == pytest.approx(expected, abs=FLOAT64)
