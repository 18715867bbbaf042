"""A run's pictures and texts: when they are drawn, of which weights, and at no cost to training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from normlab.config import Settings
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.insight.pictures import callback, dashboard
from normlab.insight.pictures.callback import Pictures
from normlab.insight.pictures.draw import pictures
from normlab.insight.pictures.inputs import MOST_COLUMNS, inputs_of
from normlab.insight.pictures.inputs_tile import inputs_tile
from normlab.insight.pictures.sample import sample_of
from normlab.insight.pictures.texts import before_training
from normlab.training.folder import RunFolder
from normlab.training.run import Run, Together

from .conftest import Pictured

Fitted = Callable[..., Pictured]
MakeTrainer = Callable[..., Trainer]
Train = Callable[..., Any]
QUIET = "trainer.enable_progress_bar=false"
NAMES = {"decision", "precision_recall", "probabilities", "reliability", "roc"}


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
    return found.Reload()


def words(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.texts]
    for panel in figure.axes:
        texts += [panel.get_xlabel(), panel.get_ylabel()]
        texts += [text.get_text() for text in panel.texts]
        texts += [tick.get_text() for tick in (*panel.get_xticklabels(), *panel.get_yticklabels())]
        legend = panel.get_legend()
        texts += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(texts)


# What is drawn


@pytest.mark.parametrize("n_features", [1, 2, 5, 33])
def test_every_number_of_inputs_has_its_pictures(fitted: Fitted, n_features: int) -> None:
    network, data = fitted(n_features)
    drawn = pictures(network, data, sample_of(data), "epoch 7")
    assert drawn.keys() == NAMES
    for figure in drawn.values():
        figure.canvas.draw()
        assert "22 validation rows, epoch 7" in words(figure)
    title = {1: "Decision: ", 2: "Decision: probability of label = yes"}
    assert title.get(n_features, "the two most important inputs") in words(drawn["decision"])
    inputs = inputs_of(network, data)
    assert inputs is not None
    assert inputs.left_out == max(0, n_features - MOST_COLUMNS)
    inputs_tile(inputs).canvas.draw()


def test_the_threshold_stands_in_the_title(fitted: Fitted) -> None:
    network, data = fitted(1)
    with torch.no_grad():
        for name, value in network.mlp.named_parameters():
            value.fill_(1.0 if name.endswith("weight") else 0.0)
        network.mlp[2].bias.fill_(-8 * 0.5)  # type: ignore[union-attr]
    rows = data.sampled_rows().double()
    half = (rows.mean() + rows.std(correction=0) / 2).item()
    figure = pictures(network, data, sample_of(data), "epoch 1")["decision"]
    # The eight units give relu(z), so the logit is 8 z - 4.
    assert words(figure).splitlines()[0] == f"Decision: threshold {half:.4g}"
    with torch.no_grad():
        network.mlp[2].weight.zero_()  # type: ignore[union-attr]
    figure = pictures(network, data, sample_of(data), "epoch 1")["decision"]
    assert "one answer for all rows" in words(figure)


def test_a_table_with_categories_and_gaps(mixed: Pictured) -> None:
    network, data = mixed
    drawn = pictures(network, data, sample_of(data), "epoch 1")
    for figure in drawn.values():
        figure.canvas.draw()  # "$" would be read as a formula
    text = words(drawn["decision"])
    assert "town \\$1 (importance" in text
    assert "Köln" in text
    inputs = inputs_of(network, data)
    assert inputs is not None
    assert inputs.names == ("age", "noise")
    assert np.isfinite(inputs.before).all()


def test_inputs_are_those_before_and_after_the_normalization(fitted: Fitted) -> None:
    network, data = fitted(3, batchnorm=True)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    inputs = inputs_of(network, data)
    assert inputs is not None
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    np.testing.assert_array_equal(inputs.before, data.sampled_rows().double().numpy())
    np.testing.assert_allclose(inputs.after.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.after.std(0), 1, atol=1e-2)
    assert network.training
    assert network.batchnorm is not None
    assert network.batchnorm.training


def test_weights_that_are_no_numbers_are_not_drawn(fitted: Fitted) -> None:
    network, data = fitted(2)
    with torch.no_grad():
        network.mlp[0].bias.fill_(math.nan)  # type: ignore[union-attr]
    assert pictures(network, data, sample_of(data), "epoch 1") == {}


def test_texts(mixed: Pictured, settings: Callable[..., Settings]) -> None:
    network, data = mixed
    sections = dict(before_training(settings(), data, network))
    assert sections.keys() == {"run/data", "run/network", "run/settings", "run/inputs"}
    assert r"Bonn \| Beuel" in sections["run/data"]
    assert r"ill\* = yes is class 1" in sections["run/data"]
    n = sum(parameter.numel() for parameter in network.parameters())
    assert f"{n:,} parameters" in sections["run/network"]
    assert "4 columns to 2 numbers and" in sections["run/network"]
    assert "features=8" in sections["run/network"]  # each layer's widths
    p = data.table.labels[data.split.train].mean(dtype=np.float64)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert f"{entropy:.4f} (label entropy)" in sections["run/data"]
    age = next(line for line in sections["run/inputs"].splitlines() if "| age" in line)
    column = data.table.rows[data.split.train, 1].astype(np.float64)
    column = np.where(np.isnan(column), np.nanmedian(column), column)
    assert f"| {column.mean():.4g} | {column.std():.4g} |" in age


# When


def test_training_does_not_notice_the_pictures(
    blobs: Callable[..., Table],
    settings: Callable[..., Settings],
    make_trainer: MakeTrainer,
    tmp_path: Path,
) -> None:
    chosen = settings("model.batchnorm=true", "model.dropout=0.2", "model.lr=0.1")
    outcomes = []
    for drawing in (False, True):
        torch.manual_seed(3)
        data, folder = SplitTable(blobs(n_features=2)), RunFolder(tmp_path / str(drawing))
        folder.path.mkdir()
        own = [Pictures(folder, data, every_n_epochs=1)] if drawing else []
        runs = Together([Run(chosen, data, folder)])
        runs.train(make_trainer(max_epochs=3, callbacks=own))
        outcomes.append({**runs.network.state_dict(), "random": torch.get_rng_state()})
    for name, value in outcomes[0].items():
        assert torch.equal(value, outcomes[1][name]), name
    drawn = events(tmp_path / "True").Images("visuals/decision")
    assert [event.step for event in drawn] == [1, 2]  # the last epoch is conclude's


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.0, [1, 2, 4, 8, 16]),  # at each doubling
        # The first is taken to cost half a second: from 20 s on it and the last one fit in.
        (0.02, [20]),
        (1.0, [20]),  # a second one would need 60 s
    ],
)
def test_pictures_stay_within_their_share_of_the_time(
    cost: float,
    expected: list[int],
    blobs: Callable[..., Table],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A clock that ticks a second for each epoch."""
    now = 0.0
    monkeypatch.setattr(callback.time, "thread_time", lambda: now)
    data = SplitTable(blobs())
    own = Pictures(RunFolder(tmp_path), data)
    if cost == 0:
        own._cost = 0.0
    drawn = []
    for epoch in range(1, 31):
        now += 1.0
        if own._is_due(epoch):
            drawn.append(epoch)
            own._cost, own._spent, own._next_epoch = cost, own._spent + cost, 2 * epoch
    assert drawn == expected


def test_the_last_picture_is_of_the_best_weights(train: Train, tmp_path: Path) -> None:
    captions = []
    inner = dashboard._add_pictures

    def record(folder: RunFolder, drawn: dict[str, Figure], step: int) -> None:
        captions.append((step, words(drawn["roc"])))
        inner(folder, drawn, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dashboard, "_add_pictures", record)
        ended = train(
            "data=circles", "model.lr=1", "trainer.max_epochs=4", "figures.every_n_epochs=3", QUIET
        )
    assert ended.status == 0, ended.err
    assert [step for step, _ in captions] == [3, 4]
    assert "75 validation rows, epoch 3" in captions[0][1]
    best = torch.load(ended.folder / "checkpoints/best.ckpt", weights_only=True)["epoch"]
    assert best < 4, "choose another learning rate"
    assert f"best epoch: {best} of 4" in captions[1][1]
    auroc = json.loads((ended.folder / "result.json").read_text())["val"]["auroc"]
    assert f"area {auroc:.4f}" in captions[1][1]


@pytest.mark.parametrize(
    ("arguments", "folders", "n_pictures"),
    [
        (("figures.enabled=false",), ["run"], 0),
        (("-m", "seed=0,1"), ["run/0", "run/1"], 0),
        (("-m", "seed=0,1", "figures.enabled=true"), ["run/0", "run/1"], 6),
        (("-m", "seed=0", "hydra/launcher=basic"), ["run/0"], 0),
    ],
)
def test_which_runs_are_drawn(
    train: Train, tmp_path: Path, arguments: tuple[str, ...], folders: list[str], n_pictures: int
) -> None:
    place = "hydra.sweep.dir" if "-m" in arguments else "hydra.run.dir"
    ended = train(*arguments, "trainer.max_epochs=2", f"{place}=run", QUIET)
    assert ended.status == 0, ended.err
    for folder in folders:
        found = events(tmp_path / folder)
        assert len(found.Tags()["images"]) == n_pictures
        assert "custom_scalars__config__" in found.Tags()["tensors"]


def test_of_several_processes_the_first_draws(
    blobs: Callable[..., Table],
    settings: Callable[..., Settings],
    make_trainer: MakeTrainer,
    tmp_path: Path,
) -> None:
    data, folder = SplitTable(blobs(n_features=2)), RunFolder(tmp_path)
    own = [Pictures(folder, data, every_n_epochs=1)]
    trainer = make_trainer(max_epochs=2, devices=2, strategy="ddp_fork", callbacks=own)
    Together([Run(settings(), data, folder)]).train(trainer)
    assert len(list(tmp_path.glob("events.*"))) == 1
    assert [event.step for event in events(tmp_path).Images("visuals/roc")] == [1]
