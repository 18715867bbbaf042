"""What is looked at during training, against autograd's own gradients written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn

from normlab.assembly import make_classifier, make_data
from normlab.config import Settings
from normlab.data.module import TableDataModule
from normlab.data.table import Table
from normlab.diagnosis.probe import sample_positions
from normlab.diagnosis.watch import SAMPLE, Watch, is_due
from normlab.loading import load_table
from normlab.model.metrics import guess_loss
from normlab.model.network import Network
from normlab.model.normalization import make_normalizer

Settled = Callable[..., Settings]


def test_gradients_and_units_by_hand(blobs: Callable[..., Table]) -> None:
    """Standardized rows, two tanh layers and BatchNorm, evaluated and not trained by the look."""
    data = TableDataModule(blobs(100), "none")
    network = Network(make_normalizer("standardize", 3), [6, 2], "tanh", 0.5, batchnorm=True)
    data.fit(network)
    network.double()
    next(network.mlp.parameters()).data[:4] *= 1000  # saturated
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0, dtype=torch.float64))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = Watch(data, 10).record(network, loss, 10, None, 0.5)

    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    network.eval()
    rows, labels = data.train_rows.double(), data.train_labels.double()
    loss(network(rows), labels).backward()
    linears = [layer for layer in network.mlp if isinstance(layer, nn.Linear)]
    for name, layer in zip(
        ("batchnorm", "layer1", "layer2", "layer3"), (network.batchnorm, *linears), strict=True
    ):
        gradients = [parameter.grad.ravel() for parameter in layer.parameters()]  # type: ignore[union-attr]
        expected = torch.cat(gradients).norm().item()
        assert found.pop(f"weights/gradient_norm_{name}") == pytest.approx(expected, rel=1e-5)
    assert found.pop("train/skill") == pytest.approx(1 - 0.5 / guess_loss(data.train_labels))
    assert found.pop("units/saturated") == pytest.approx(4 / 8)
    assert found == {}


def test_a_net_without_hidden_layers_has_no_units(blobs: Callable[..., Table]) -> None:
    data = TableDataModule(blobs(50), "none")
    network = Network(make_normalizer("standardize", 3), [])
    data.fit(network)
    found = Watch(data, 1).record(network, nn.BCEWithLogitsLoss(), 1, 5, 0.5)
    assert list(found) == ["train/skill", "weights/gradient_norm_layer1"]


def test_when_it_is_due() -> None:
    due = [epoch for epoch in range(1, 26) if is_due(epoch, 10, 25)]
    assert due == [1, 10, 20, 25]
    assert [epoch for epoch in range(1, 4) if is_due(epoch, 1, None)] == [1, 2, 3]


def test_a_sample_spans_all_rows() -> None:
    assert sample_positions(5, 10).tolist() == [0, 1, 2, 3, 4]
    positions = sample_positions(10_001, SAMPLE)
    assert (len(positions), positions[0], positions[-1]) == (SAMPLE, 0, 10_000)
    assert len(positions.unique()) == SAMPLE
    steps = positions.diff().double()
    assert steps.max() - steps.min() <= 1


def test_looking_changes_no_training(
    settings: Settled, make_trainer: Callable[..., Trainer], list_logger: object
) -> None:
    """To the bit, with dropout's masks drawn between the looks."""
    weights, losses = [], []
    for enabled in ("true", "false"):
        run = settings(
            "model.dropout=0.3", "model.batchnorm=true", "data.rows=200", "seed=3",
            f"diagnosis.enabled={enabled}", "diagnosis.every_n_epochs=1",
        )  # fmt: skip
        data = make_data(run, load_table(run))
        model = make_classifier(run, data)
        make_trainer(max_epochs=4).fit(model, datamodule=data)
        weights.append(torch.cat([p.detach().ravel() for p in model.network.parameters()]))
        records = list_logger.records  # type: ignore[attr-defined]
        losses.append([record["train/loss"] for record in records])
        assert [("train/skill" in record) for record in records] == [enabled == "true"] * 4
        records.clear()
    assert torch.equal(*weights)
    assert losses[0] == losses[1]
    assert all(map(math.isfinite, np.ravel(losses)))
