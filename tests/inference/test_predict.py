"""`normlab.load`: raw rows in, probabilities out, with scikit-learn's manners and no Lightning."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from sklearn.metrics import log_loss, roc_auc_score

import normlab
from normlab.config import Settings
from normlab.data.file.dialect import Format
from normlab.data.read import read_table
from normlab.data.schema import Column, Schema
from normlab.data.serve.module import SplitTable
from normlab.data.serve.split import split_rows
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.inference import predict
from normlab.inference.predict import Predictor
from normlab.model.checkpoint import describe, load_network, weights_checkpoint
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.scalers import make_scaler
from normlab.training.folder import RunFolder
from normlab.training.run import Run, Together

ROWS = [[5.0, 50.0, 500.0], [7.5, 40.0, 620.0], [2.0, 55.0, 410.0]]


def test_a_run_folder_predicts_as_the_trained_network(finished_run: Path) -> None:
    predictor = normlab.load(finished_run)
    network, _ = load_network(finished_run / "checkpoints/best.ckpt")
    with torch.no_grad():
        (logits,) = network(torch.tensor(ROWS)).numpy()
    np.testing.assert_array_equal(predictor.decision_function(ROWS), logits)
    probabilities = predictor.predict_proba(ROWS)
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(probabilities[:, 1], expected, rtol=1e-6)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert predictor.predict(ROWS).tolist() == ["yes" if z > 0 else "no" for z in logits]
    assert predictor.classes_.tolist() == ["no", "yes"]


def test_its_predictions_give_the_figures_of_the_result(finished_run: Path) -> None:
    """From the file to the figures, with scikit-learn for the rest of the way."""
    table = read_table(finished_run.parent / "rows.csv", "answer", Format(header=True))
    split = split_rows(table.labels, "random", 0.15, 0.15, seed=0)
    figures = json.loads((finished_run / "result.json").read_text())
    predictor = normlab.load(str(finished_run))
    for part in ("train", "val", "test"):
        index = getattr(split, part)
        labels, p = table.labels[index], predictor.predict_proba(table.rows[index])[:, 1]
        assert log_loss(labels, p) == pytest.approx(figures[part]["loss"], abs=1e-5)
        assert roc_auc_score(labels, p) == pytest.approx(figures[part]["auroc"], abs=1e-6)
        names = np.array(table.schema.classes)[labels.astype(int)]
        accuracy = np.mean(predictor.predict(table.rows[index]) == names)
        assert accuracy == pytest.approx(figures[part]["accuracy"], abs=1e-6)


def test_predicting_needs_no_lightning(finished_run: Path) -> None:
    program = (
        "import json, sys, normlab\n"
        "assert 'torch' not in sys.modules\n"
        f"p = normlab.load({str(finished_run)!r}).predict_proba({ROWS})\n"
        "heavy = {'lightning', 'hydra', 'omegaconf', 'pydantic', 'tensorboard', 'polars'}\n"
        "print(json.dumps([p.tolist(), sorted(heavy & sys.modules.keys())]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    probabilities, heavy = json.loads(done.stdout)
    assert heavy == []
    np.testing.assert_array_equal(
        np.float32(probabilities), normlab.load(finished_run).predict_proba(ROWS)
    )


def test_a_file_and_the_last_checkpoint(finished_run: Path, tmp_path: Path) -> None:
    best = normlab.load(finished_run / "checkpoints/best.ckpt")
    np.testing.assert_array_equal(best.predict(ROWS), normlab.load(finished_run).predict(ROWS))
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    last = (finished_run / "checkpoints/last.ckpt").read_bytes()
    (folder / "checkpoints/last.ckpt").write_bytes(last)  # a run that was stopped early
    np.testing.assert_array_equal(
        normlab.load(folder).decision_function(ROWS),
        normlab.load(finished_run / "checkpoints/last.ckpt").decision_function(ROWS),
    )


@pytest.mark.parametrize(
    "rows", [[1.0, 2.0, 3.0], [[1.0, 2.0]], [[1.0, 2.0, 3.0, 4.0]], [[[1.0, 2.0, 3.0]]], 5.0, []]
)
def test_rows_of_another_shape_are_refused(finished_run: Path, rows: object) -> None:
    with pytest.raises(ValueError, match=r"rows must be \(n, 3\), the columns a, b, c; got shape"):
        normlab.load(finished_run).predict_proba(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [list, np.array, lambda rows: np.array(rows, np.float32)])
def test_a_missing_value_is_refused_unless_the_model_imputes(form: Any) -> None:
    rows = form([[1.0, 2.0], [3.0, np.nan]])
    network = Network(make_scaler("none", 2), hidden=[3]).eval()
    for missing in ("error", "drop"):
        predictor = Predictor(network, Schema(("a", "b"), "label", (0, 1), missing=missing))
        for method in (predictor.predict, predictor.predict_proba, predictor.decision_function):
            with pytest.raises(ValueError, match=r"row 1, column 'b': a missing value.*without"):
                method(rows)
    encoder = Encoder(["numeric", "numeric"], [0, 0], 10, impute=True)
    network = Network(make_scaler("none", 2), hidden=[3], encoder=encoder).eval()
    columns = (Column("a", missing=True), Column("b", missing=True))
    schema = Schema(("a", "b"), "label", (0, 1), columns, missing="impute")
    assert np.isfinite(Predictor(network, schema).predict_proba(rows)).all()


def test_text_is_refused(finished_run: Path) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        normlab.load(finished_run).predict([["a", "b", "c"]])


def test_no_rows_give_no_predictions(finished_run: Path) -> None:
    predictor = normlab.load(finished_run)
    assert predictor.predict_proba(np.empty((0, 3))).shape == (0, 2)
    assert predictor.predict(np.empty((0, 3))).shape == (0,)


def test_all_that_is_an_array_is_taken(finished_run: Path) -> None:
    predictor = normlab.load(finished_run)
    expected = predictor.predict_proba(ROWS)
    array = np.array(ROWS)
    for rows in (array, np.asfortranarray(array), array.astype(np.float16).astype(np.int64)):
        got = predictor.predict_proba(rows)
        assert got.shape == expected.shape
    np.testing.assert_array_equal(predictor.predict_proba(np.asfortranarray(array)), expected)
    read_only = array.astype(np.float32)
    read_only.flags.writeable = False
    np.testing.assert_array_equal(predictor.predict_proba(read_only), expected)


def test_many_rows_are_taken_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(make_scaler("none", 2), hidden=[3]).eval()
    predictor = Predictor(network, Schema(("a", "b"), "label", (-1, 1)))
    rows = np.random.default_rng(0).standard_normal((25, 2))
    whole = predictor.decision_function(rows)
    monkeypatch.setattr(predict, "CHUNK", 10)
    np.testing.assert_allclose(predictor.decision_function(rows), whole, rtol=1e-6)
    assert set(predictor.predict(rows)) <= {-1, 1}
    assert predictor.predict(rows).dtype.kind == "i"


def test_a_logit_of_zero_is_class_0() -> None:
    network = Network(make_scaler("none", 1), hidden=[]).eval()
    torch.nn.init.zeros_(network.mlp[0].weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(network.mlp[0].bias)  # type: ignore[arg-type]
    predictor = Predictor(network, Schema(("a",), "label", ("no", "yes")))
    assert predictor.predict([[1.0]]).tolist() == ["no"]
    assert predictor.predict_proba([[1.0]]).tolist() == [[0.5, 0.5]]


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="enable_checkpointing"):
        normlab.load(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        normlab.load(tmp_path / "nowhere")


def test_runs_that_train_together_are_not_one_model(
    blobs: Callable[..., Table],
    settings: Callable[..., Settings],
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
) -> None:
    """Their last.ckpt predicts nothing, each one's best.ckpt does; nor do weights of several."""
    runs = []
    for seed in (0, 1):
        folder = RunFolder(tmp_path / str(seed))
        folder.path.mkdir()
        runs.append(Run(settings(f"seed={seed}"), SplitTable(blobs(), seed=seed), folder))
    together = Together(runs)
    together.train(make_trainer(max_epochs=1))
    with pytest.raises(UserError, match=r"last\.ckpt.*together.*best\.ckpt"):
        normlab.load(tmp_path / "0/checkpoints/last.ckpt")
    rows = runs[0].data.table.rows
    with torch.no_grad():
        expected = together.network(torch.from_numpy(rows)).numpy()
    for folder, logits in zip(("0", "1"), expected, strict=True):
        found = normlab.load(tmp_path / folder).decision_function(rows)
        np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-6)
    entry = describe(together.network, runs[0].data.table.schema)
    torch.save(weights_checkpoint(entry, together.network.state_dict(), 1), tmp_path / "both.ckpt")
    with pytest.raises(UserError, match="holds 2 runs"):
        normlab.load(tmp_path / "both.ckpt")


def test_normlab_exports_load() -> None:
    assert "load" in normlab.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        normlab.nothing  # type: ignore[attr-defined]  # noqa: B018
