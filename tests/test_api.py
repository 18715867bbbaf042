"""normlab from Python: settings as the command line has them, and training without files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

import normlab
from normlab.config.compose import compose, parsed
from normlab.errors import UserError

Composed = Callable[..., DictConfig]
Train = Callable[..., Any]
FEW = ("trainer.max_epochs=3", "trainer.enable_progress_bar=false")

# Of every group, and values of every kind; each is allowed beside each other one.
CHOICES = [
    "data=circles", "data=breast_cancer", "data=csv", "data=heart_rate",
    *(f"normalization={name}" for name in (
        "none", "center", "standardize", "minmax", "robust", "log1p", "quantile", "batchnorm"
    )),
    *(f"model/scheduler={name}" for name in ("none", "step", "cosine")),
    "experiment=circles", "experiment=heart_rate", "model=mlp", "trainer=default",
    "seed=7", "data.split=none", "data.val_fraction=0.25", "data.batch_size=null",
    "data.batch_size=1_000", "model.lr=1e-3", "model.lr=.5", "model.lr=2.", "model.lr=+3E2",
    "model.hidden=[]", "model.hidden=[4,5]", "model.activation=tanh", "model.batchnorm=True",
    "model.batchnorm=FALSE", "model.pos_weight=balanced", "model.pos_weight=NULL",
    "model.init='he'", "model.init=\"xavier\"", "ckpt_path=yes", "ckpt_path=no", "ckpt_path=012",
    "ckpt_path='12'", "ckpt_path=12:30", "ckpt_path=2026-01-31", "ckpt_path=0x1f",
    "ckpt_path=a b", "ckpt_path='a, b'", "ckpt_path=0_1", "ckpt_path=1__0",
    "ckpt_path=", "ckpt_path=inf", "ckpt_path=-nan",
    "report.tune=[model.lr,'seed','1',2,null]", "report.target_loss=0.1",
    "++trainer.gradient_clip_val=0.5", "++trainer.deterministic=true",
    "++trainer.max_time={minutes: 5}", "trainer.max_epochs=-3",
    "early_stopping.patience=4", "figures.enabled=auto", "diagnosis.enabled=false",
    "checkpoint.every_n_seconds=0",
]  # fmt: skip


@examples(deadline=None, max_examples=80)
@given(st.lists(st.sampled_from(CHOICES), max_size=8, unique_by=lambda one: one.split("=")[0]))
def test_conf_is_composed_as_hydra_composes_it(composed: Composed, overrides: list[str]) -> None:
    """Before any check, and with the types of all values."""
    expected: Any = OmegaConf.to_container(composed(*overrides), resolve=False)
    found = compose([parsed(one) for one in overrides])
    expected.pop("hydra", None)
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_settings_by_overrides_by_names_and_by_mappings_are_the_same() -> None:
    other = normlab.settings(
        data="circles",
        model={"scheduler": "cosine", "hidden": (4, 5)},
        trainer={"gradient_clip_val": 1.5},
        seed=3,
    )
    mixed = normlab.settings("data=circles", model={"hidden": [4, 5], "scheduler": "cosine"})
    one = normlab.settings("data=circles", "model/scheduler=cosine", "model.hidden=[4,5]",
                           "+trainer.gradient_clip_val=1.5", "seed=3")  # fmt: skip
    assert one == other
    assert other.model.hidden == mixed.model.hidden == [4, 5]
    assert other.model.scheduler.name == mixed.model.scheduler.name == "cosine"
    assert normlab.settings().data.name == "heart_rate"


REFUSED = [
    ["model.lrr=1"], ["+model.lrr=1"], ["data=cvs"], ["model/scheduler=steps"], ["data=csv"],
    ["model.lr=fast"], ["model.lr=0", "seed=-1"], ["data.val_fraction=1.5"],
    ["trainer.gradient_clip_val=2"], ["+trainer.callbacks=[x]"], ["trainer.unroll_epochs=true"],
    ["+trainer.unroll_epochs=true"], ["normalization.n_quantiles=5"],
    ["normalization=quantile", "normalization.n_quantile=5"], 
    ["model=4"], ["data=null"], ["data="], ["model.lr="],
    ["data.batch_size=1", "model.batchnorm=true"],
]  # fmt: skip


@pytest.mark.parametrize("overrides", REFUSED, ids=" ".join)
def test_refusals_are_those_of_the_command_line(train: Train, overrides: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        normlab.settings(*overrides)
    assert train(*overrides).err == f"normlab: {refused.value}\n"


def test_what_only_python_can_write_wrongly() -> None:
    for wrong, message in (
        ({"seeds": 3}, "seeds is not a setting; did you mean seed?"),
        ({"model": {"lrr": 3}}, "model.lrr is not a setting; did you mean model.lr?"),
        ({"model": {"lr": [1]}}, "model.lr: should be a valid number"),
        ({"data": "cvs"}, "data=cvs: choose one of"),
        ({"trainer": {"callbacks": []}}, "trainer.callbacks cannot be set here"),
    ):
        with pytest.raises(UserError) as refused:
            normlab.settings(**wrong)
        assert str(refused.value).startswith(message)
    with pytest.raises(UserError, match="'seed' is no setting: write KEY=VALUE"):
        normlab.settings("seed")
    with pytest.raises(UserError, match="put the value between quotes"):
        normlab.settings("model.hidden=[4")


# Training


def figures(result: Any) -> dict[str, Any]:
    plain = result if isinstance(result, dict) else result.to_dict()
    parts = ("train", "val", "test", "label_entropy", "threshold", "epochs", "diverged")
    return {part: plain[part] for part in parts}


def test_a_run_from_python_is_that_of_the_command_and_writes_nothing(
    train: Train, tmp_path: Path
) -> None:
    """To the bit; the model predicts as the folder's does."""
    overrides = ("data.rows=300", "model.dropout=0.2", "seed=5", *FEW)
    trained = normlab.train(normlab.settings(*overrides))
    assert list(tmp_path.iterdir()) == []
    ended = train(*overrides, "hydra.run.dir=run")
    assert ended.status == 0, ended.err
    written = json.loads((tmp_path / "run/result.json").read_text())
    (result,), (model,) = trained.results, trained.models
    assert figures(result) == figures(written)
    assert result.checkpoint is None
    assert result.diagnosis is not None
    assert result.diagnosis["verdict"] == written["diagnosis"]["verdict"]
    rows = [[80.0], [91.0], [99.0]]
    expected = normlab.load(tmp_path / "run").predict_proba(rows)
    np.testing.assert_array_equal(model.predict_proba(rows), expected)


def table(n_rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.choice(["no", "yes"], n_rows)
    return random.normal(50, 5, (n_rows, 2)) + 6 * (labels == "yes")[:, None], labels


def test_several_runs_on_rows_of_ones_own(tmp_path: Path) -> None:
    """Each as by itself; labels come back as they were given."""
    rows, labels = table()
    every = [
        normlab.settings("trainer.precision=64-true", *FEW, seed=seed, model={"lr": lr})
        for seed, lr in ((0, 0.01), (1, 0.1), (2, 0.3))
    ]
    together = normlab.train(rows, labels, every[0], runs=every[1:])
    for i, settings in enumerate(every):
        alone = normlab.train(rows, labels, settings)
        for part in ("train", "val", "test"):
            expected = getattr(alone.results[0], part)
            assert getattr(together.results[i], part) == pytest.approx(expected, abs=1e-9)
        ours, theirs = together.models[i], alone.models[0]
        np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), atol=1e-6)
        assert set(ours.predict(rows)) <= {"no", "yes"}
    best = together.models[2].predict(rows)
    assert np.mean(best == labels) > 0.7


def test_a_folder_holds_what_the_command_leaves(train: Train, tmp_path: Path) -> None:
    """But for what is Hydra's and what is drawn; a second run does not write over it."""
    overrides = ("data.rows=200", *FEW, "figures.enabled=false")
    settings = normlab.settings(*overrides)
    normlab.train(settings, folder=tmp_path / "here")
    assert train(*overrides, "hydra.run.dir=there").status == 0
    for name in ("metrics.csv", "config.yaml"):
        here, there = (tmp_path / place / name for place in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
    made = {path.name for path in (tmp_path / "here").iterdir() if "events" not in path.name}
    assert made == {"checkpoints", "config.yaml", "metrics.csv", "provenance.json", "result.json"}
    assert normlab.load(tmp_path / "here").predict([[99.0]]).tolist() == [1]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="here already holds a run"):
        normlab.train(settings, folder=tmp_path / "here")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    normlab.train(settings, runs=[normlab.settings(*overrides, seed=1)], folder=tmp_path / "two")
    seeds = [
        yaml.safe_load((tmp_path / f"two/{i}/config.yaml").read_text())["seed"] for i in (0, 1)
    ]
    assert seeds == [0, 1]
    assert len(list(tmp_path.glob("two/*/result.json"))) == 2


def test_any_trainer_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own arguments count at each step, as those of the settings do."""
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=0.01,
    )  # fmt: skip
    rows, labels = table()
    plain = normlab.settings("model.optimizer=sgd", "data.batch_size=10", "trainer.max_epochs=2")
    clipped = normlab.settings(**plain.to_dict(), **{"trainer.gradient_clip_val": 0.01})
    results = [
        normlab.train(rows, labels, plain, trainer=trainer).results[0],
        normlab.train(rows, labels, clipped).results[0],
        normlab.train(rows, labels, plain).results[0],
    ]
    assert figures(results[0]) == figures(results[1]) != figures(results[2])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="clips gradients"):
        normlab.train(rows, labels, plain, runs=[plain], trainer=trainer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows, labels: (rows[:, 0], labels), "rows must be (n, features)"),
        (lambda rows, labels: (rows, labels[1:]), "labels (n,)"),
        (lambda rows, labels: (np.where(rows == rows[3, 1], np.inf, rows), labels),
         "row 3, column 1: inf"),
        (lambda rows, labels: (rows, np.arange(len(rows))), "must have two values, and have 120"),
        (lambda rows, labels: (rows.astype(str), np.zeros(len(rows))), "two values"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_trained_on(change: Callable[..., Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        normlab.train(*change(*table()), normlab.settings())
    assert message in str(refused.value)


def test_runs_that_cannot_train_together_name_what_differs() -> None:
    wide = normlab.settings(model={"hidden": [3]})
    with pytest.raises(UserError, match=r"run 1 .*model\.hidden"):
        normlab.train(normlab.settings(), runs=[wide])
    with pytest.raises(UserError, match="takes settings, or rows, labels and settings"):
        normlab.train([[1.0]], normlab.settings())
