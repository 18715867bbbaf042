"""What is looked at during training, against autograd's own gradients of torch's layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn

from learners import Learner, train_together
from normlab.config.model import NoSchedulerSettings
from normlab.data.serve.module import SplitTable, TableDataModule
from normlab.data.table import Table
from normlab.diagnosis.watch import Watch, is_due
from normlab.model.network import Network
from normlab.model.tasks import Binary
from normlab.training.module import Recipe

GUESS = 0.6
NAMES = [f"weights/gradient_norm_{name}" for name in ("batchnorm", "layer1", "layer2", "layer3")]


@pytest.fixture
def learners(blobs: Callable[..., Table]) -> list[Learner]:
    """Three runs of two tanh layers behind BatchNorm, of weights that differ."""
    table = blobs(100)
    return [
        Learner(
            SplitTable(table, "random", seed=seed),
            Recipe("adam", 0.01, NoSchedulerSettings(name="none"), weight=weight, seed=seed),
            name, hidden=(6, 2), batchnorm=True, dropout=0.5,
        )
        for seed, name, weight in ((0, "standardize", 1.0), (1, "none", 3.0), (2, "robust", 0.2))
    ]  # fmt: skip


def watch(learners: Sequence[Learner], every_n_epochs: int = 10) -> Watch:
    data = TableDataModule([learner.data for learner in learners])
    weights = [learner.recipe.weight for learner in learners]
    return Watch(data, Binary(), [GUESS] * len(learners), weights, every_n_epochs)


def looked(
    learners: Sequence[Learner], network: Network, runs: Sequence[int] | None = None
) -> list[dict[str, float]]:
    """What a look finds in each run, by its name."""
    runs = range(len(learners)) if runs is None else runs
    losses = torch.full((len(runs),), 0.5, dtype=torch.float64)
    names, values = watch(learners).look(network, torch.tensor(runs), 10, 99, losses)
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def test_gradients_and_units_are_autograds(learners: list[Learner]) -> None:
    """Evaluated, and not trained by the look."""
    network = Network.stack([learner.network() for learner in learners]).double()
    next(network.mlp.parameters()).data[:, :4] *= 1e6  # saturated
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = looked(learners, network)

    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    for run, learner in enumerate(learners):
        layers = learner.layers().double().eval()
        mine = network.of_runs([run]).state_dict()
        for name, value in layers.state_dict().items():
            parts = name.split(".")
            if parts[0] == "mlp":  # dropout stands between
                parts[1] = {"0": "0", "2": "3", "4": "6"}[parts[1]]
            if parts[-1] != "num_batches_tracked":
                value.copy_(mine[".".join(parts)][0])
        rows = torch.from_numpy(learner.data.table.rows[learner.data.split.train])
        logits = layers["mlp"](layers["batchnorm"](learner.normalized(torch.float64)(rows)))[:, 0]
        weight = torch.tensor(learner.recipe.weight, dtype=torch.float64)
        labels = learner.data.train_labels.double()
        nn.BCEWithLogitsLoss(pos_weight=weight)(logits, labels).backward()
        linears = [layer for layer in layers["mlp"].children() if isinstance(layer, nn.Linear)]
        for name, layer in zip(NAMES, (layers["batchnorm"], *linears), strict=True):
            gradients = [parameter.grad for parameter in layer.parameters()]
            norm = torch.cat([g.flatten() for g in gradients if g is not None]).norm()
            assert found[run].pop(name) == pytest.approx(norm.item(), rel=1e-5)
        assert found[run].pop("train/skill") == pytest.approx(1 - 0.5 / GUESS)
        assert found[run].pop("units/saturated") >= 4 / 8
        assert found[run] == {}


def test_a_run_is_looked_at_as_if_alone(learners: list[Learner]) -> None:
    """Also when others have left."""
    network = Network.stack([learner.network() for learner in learners]).double()
    together = looked(learners, network)
    for runs in ([0], [2, 1]):
        some = looked(learners, network.of_runs(runs), runs)
        for run, found in zip(runs, some, strict=True):
            assert found == pytest.approx(together[run], rel=1e-6)
    (alone,) = looked([learners[1]], network.of_runs([1]))
    assert alone == pytest.approx(together[1], rel=1e-6)


def test_a_net_without_hidden_layers_has_no_units(blobs: Callable[..., Table]) -> None:
    recipe = Recipe("adam", 0.01, NoSchedulerSettings(name="none"))
    learner = Learner(SplitTable(blobs(50), "none"), recipe, hidden=())
    (found,) = looked([learner], learner.network())
    assert list(found) == ["train/skill", "weights/gradient_norm_layer1"]


def test_when_it_is_due(learners: list[Learner]) -> None:
    due = [epoch for epoch in range(1, 26) if is_due(epoch, 10, 25)]
    assert due == [1, 10, 20, 25]
    assert [epoch for epoch in range(1, 4) if is_due(epoch, 1, None)] == [1, 2, 3]
    losses = torch.ones(3, dtype=torch.float64)
    network = Network.stack([learner.network() for learner in learners])
    names, values = watch(learners).look(network, torch.arange(3), 7, 99, losses)
    assert (names, values.shape) == ([], (3, 0))


def test_looking_changes_no_training(
    learners: list[Learner], make_trainer: Callable[..., Trainer]
) -> None:
    """To the bit, with dropout's masks drawn between the looks."""
    watched, unwatched = (
        train_together(learners, make_trainer(max_epochs=4), watch=one)
        for one in (watch(learners, every_n_epochs=2), None)
    )
    torch.testing.assert_close(
        dict(watched.network.state_dict()), dict(unwatched.network.state_dict()), rtol=0, atol=0
    )
    for one, other in zip(watched.records.take(3), unwatched.records.take(3), strict=True):
        assert one is not None
        assert other is not None
        assert set(one.names) - set(other.names) == {"train/skill", "units/saturated", *NAMES}
        for name in other.names:
            np.testing.assert_array_equal(one.column(name), other.column(name))
        skills: Any = one.column("train/skill")
        assert [math.isfinite(skill) for skill in skills] == [True, True, False, True]
        expected = 1 - one.column("train/loss") / GUESS
        np.testing.assert_allclose(skills[[0, 1, 3]], expected[[0, 1, 3]])
