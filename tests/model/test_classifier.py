"""A run against the same training written out in PyTorch, and what an epoch's record means."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor, nn

from normlab.assembly import make_classifier, make_data
from normlab.config import Settings
from normlab.data.serve.module import TableDataModule
from normlab.data.table import Table
from normlab.model.best import BestWeights
from normlab.model.classifier import Classifier
from normlab.model.metrics import METRICS
from normlab.seeding import Stream, epoch_seed

Settled = Callable[..., Settings]
Trained = tuple[Classifier, TableDataModule, list[dict[str, float]]]

BASE = (
    "data.batch_size=16",
    "data.val_fraction=0.2",
    "data.test_fraction=0.1",
    "model.hidden=[5]",
    "model.activation=tanh",
    "model/scheduler=none",
    "trainer.max_epochs=4",
    "seed=3",
)


@pytest.fixture
def run(
    settings: Settled,
    blobs: Callable[..., Table],
    make_trainer: Callable[..., Trainer],
    list_logger: Any,
) -> Callable[..., Trained]:
    """Trains on blobs under BASE and some overrides; gives the model, the data, the records."""

    def train(*overrides: str, table: Table | None = None, **arguments: Any) -> Trained:
        chosen = settings(*BASE, *overrides)
        if table is None:
            table = blobs(123)
        data = make_data(chosen, table)
        model = make_classifier(chosen, data)
        list_logger.records = []
        arguments = {"max_epochs": chosen.trainer.max_epochs, **arguments}
        make_trainer(**arguments).fit(model, datamodule=data)
        return model, data, list_logger.records

    return train


def bce(logits: Tensor, labels: Tensor, pos_weight: float = 1.0) -> Tensor:
    """Each row's cross-entropy, as its definition has it."""
    log_p = -torch.log1p(torch.exp(-logits))
    log_q = -torch.log1p(torch.exp(logits))
    return -(pos_weight * labels * log_p + (1 - labels) * log_q)


def by_hand(
    settings: Settings, table: Table, optimizer: type[torch.optim.Optimizer]
) -> tuple[nn.Module, list[dict[str, float]]]:
    """The same training, with nothing of this program but its split and its random streams."""
    from normlab.data.serve.split import split_rows

    chosen = settings.model
    split = split_rows(table.labels, "random", 0.2, 0.1, settings.seed)
    train, val = table.rows[split.train], table.rows[split.val]
    mean, std = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    x, x_val = (torch.from_numpy(((r - mean) / std).astype(np.float32)) for r in (train, val))
    y, y_val = (torch.from_numpy(table.labels[i]) for i in (split.train, split.val))
    n = len(x)

    torch.manual_seed(settings.seed)
    net = nn.Sequential(nn.Linear(x.shape[1], 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))
    epochs, lr = settings.trainer.max_epochs, chosen.lr
    updates = optimizer(net.parameters(), lr=lr, weight_decay=chosen.weight_decay)  # type: ignore[call-arg]
    pos_weight = chosen.pos_weight
    if pos_weight == "balanced":
        pos_weight = ((y == 0).sum() / (y == 1).sum()).item()

    records = []
    size = settings.data.batch_size or n
    for epoch in range(epochs):
        match chosen.scheduler.model_dump():
            case {"name": "step", "step_size": step_size, "gamma": gamma}:
                rate = lr * gamma ** (epoch // step_size)
            case {"name": "cosine", "eta_min": low}:
                rate = low + (lr - low) * (1 + math.cos(math.pi * epoch / epochs)) / 2
            case _:
                rate = lr
        updates.param_groups[0]["lr"] = rate
        generator = torch.Generator().manual_seed(epoch_seed(settings.seed, epoch, Stream.SHUFFLE))
        order = torch.randperm(n, generator=generator) if size < n else torch.arange(n)
        total = 0.0
        for start in range(0, n, size):
            batch = order[start : start + size]
            updates.zero_grad()
            logits = net(x[batch])
            bce(logits, y[batch], pos_weight or 1.0).mean().backward()
            updates.step()
            total += bce(logits, y[batch]).sum().item()
        with torch.no_grad():
            val_loss = bce(net(x_val), y_val).mean().item()
        records.append({"lr": rate, "train/loss": total / n, "val/loss": val_loss})
    return net, records


@pytest.mark.parametrize(
    ("overrides", "optimizer"),
    [
        ((), torch.optim.Adam),
        (("data.batch_size=null", "trainer.max_epochs=12"), torch.optim.Adam),
        (("model.optimizer=adamw", "model.weight_decay=0.3"), torch.optim.AdamW),
        (("model.weight_decay=0.3",), torch.optim.Adam),
        (("model.optimizer=sgd", "model.lr=0.3", "model.weight_decay=0.1"), torch.optim.SGD),
        (("model/scheduler=step", "model.scheduler.step_size=2", "model.scheduler.gamma=0.3",
          "trainer.max_epochs=6"), torch.optim.Adam),
        (("model/scheduler=cosine", "model.scheduler.eta_min=0.001"), torch.optim.Adam),
        (("model.pos_weight=3.5",), torch.optim.Adam),
        (("model.pos_weight=balanced", "data.batch_size=null"), torch.optim.Adam),
    ],
    ids=["batches", "full", "adamw", "decay", "sgd", "step", "cosine", "weighted", "balanced"],
)  # fmt: skip
def test_a_run_is_the_training_written_by_hand(
    run: Callable[..., Trained],
    settings: Settled,
    blobs: Callable[..., Table],
    overrides: tuple[str, ...],
    optimizer: type[torch.optim.Optimizer],
) -> None:
    model, data, records = run(*overrides)
    assert len(data.split.train) == 86  # 16 * 5 + 6: the last batch is short
    net, expected = by_hand(settings(*BASE, *overrides), blobs(123), optimizer)
    assert len(records) == len(expected)
    for epoch, (record, by_hand_record) in enumerate(zip(records, expected, strict=True)):
        for name, value in by_hand_record.items():
            assert record[name] == pytest.approx(value, abs=1e-5), (epoch, name)
        assert record["epoch"] == epoch
    weights = list(model.network.mlp.parameters())
    for weight, other in zip(weights, net.parameters(), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-5, rtol=0)
    assert records[-1]["train/loss"] < records[0]["train/loss"]  # it did learn


def test_a_batch_of_one_row_joins_the_one_before(run: Callable[..., Trained]) -> None:
    steps: list[int] = []

    class Sizes(Callback):
        def on_train_batch_start(
            self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
        ) -> None:
            steps.append(len(batch[0]))

    run("data.batch_size=17", "trainer.max_epochs=1", "model.batchnorm=true", callbacks=[Sizes()])
    assert steps == [17, 17, 17, 17, 18]  # 86 rows


def test_two_runs_of_one_config_are_identical_to_the_bit(run: Callable[..., Trained]) -> None:
    overrides = ("model.dropout=0.3", "model.batchnorm=true", "normalization=quantile")
    model, _, records = run(*overrides)
    torch.rand(7)  # what else draws random numbers must not matter
    again, _, records_again = run(*overrides)
    assert records == records_again
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    other, _, records_other = run(*overrides, "seed=4")
    assert records != records_other
    weights, others = (m.network.mlp.state_dict()["0.weight"] for m in (model, other))
    assert not torch.equal(weights, others)


def test_dropouts_masks_come_from_seed_and_epoch(run: Callable[..., Trained]) -> None:
    """A resumed run meets the masks of an uninterrupted one, whatever was drawn before."""
    seen: list[Tensor] = []

    class Draws(Callback):
        def on_train_batch_start(
            self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
        ) -> None:
            seen.append(torch.get_rng_state())

    run("model.dropout=0.3", "data.batch_size=null", callbacks=[Draws()])
    assert len(seen) == 4
    for epoch, state in enumerate(seen):
        torch.manual_seed(epoch_seed(3, epoch, Stream.DROPOUT))
        assert torch.equal(state, torch.get_rng_state())


def test_the_best_weights_are_those_of_the_lowest_validation_loss(
    run: Callable[..., Trained],
) -> None:
    kept: list[dict[str, Tensor]] = []

    class Keep(Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            state = pl_module.network.state_dict()
            kept.append({name: value.clone() for name, value in state.items()})

    model, _, records = run(
        "model.lr=0.3", "model.batchnorm=true", "trainer.max_epochs=15", callbacks=[Keep()]
    )
    losses = [record["val/loss"] for record in records]
    best = int(np.argmin(losses))
    assert 0 < best < 14, "the test needs a lowest loss in between"
    assert model.best.epoch == best + 1
    assert model.best.loss == losses[best]
    for name, value in kept[best].items():
        assert torch.equal(model.best.weights[name], value), name
    assert not torch.equal(
        model.best.weights["mlp.0.weight"], model.network.mlp.state_dict()["0.weight"]
    )


def test_without_validation_the_last_weights_are_the_best(run: Callable[..., Trained]) -> None:
    model, _, records = run("data.split=none")
    assert set(records[1]) == {"lr", "epoch", "train/loss", "train/accuracy", "train/auroc"}
    assert model.best.epoch == 4
    assert math.isnan(model.best.loss)
    for name, value in model.network.state_dict().items():
        assert torch.equal(model.best.weights[name], value), name


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([3, 2, 5, 2], 2),  # the first of equals
        ([math.nan, 4, math.nan, 3, math.nan], 4),
        ([math.nan, math.nan], 1),
        ([None, None, None], 3),
        ([None, 4, None, 5, None], 2),  # Lightning did not validate in every epoch
    ],
)
def test_best_weights(losses: list[float | None], best: int) -> None:
    layer = nn.Linear(1, 1)
    remembered = BestWeights()
    for epoch, loss in enumerate(losses):
        with torch.no_grad():
            layer.weight.fill_(epoch + 1)
        remembered.update(layer, loss, epoch)
    assert remembered.epoch == best
    assert remembered.weights["weight"].item() == best
    restored = BestWeights()
    restored.load_state_dict(remembered.state_dict())
    assert (restored.epoch, restored.weights) == (best, remembered.weights)


@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (3, 0.0), (2, 0.02)])
def test_early_stopping_stops_at_the_right_epoch(
    run: Callable[..., Trained], patience: int, min_delta: float
) -> None:
    overrides = ("model.lr=0.2", "trainer.max_epochs=40")
    _, _, all_records = run(*overrides)
    best, waited, expected = math.inf, 0, 0
    for record in all_records:
        expected += 1
        if record["val/loss"] < best - min_delta:
            best, waited = record["val/loss"], 0
        else:
            waited += 1
            if waited == patience:
                break
    assert expected < 40, "the test needs a run that gets worse"
    stop = EarlyStopping(
        "val/loss", min_delta=min_delta, patience=patience, check_on_train_epoch_end=True
    )
    model, _, records = run(*overrides, callbacks=[stop])
    assert records == all_records[:expected]
    assert model.trainer.current_epoch == expected


def test_lightnings_sanity_check_leaves_no_trace(run: Callable[..., Trained]) -> None:
    _, _, records = run()
    _, _, checked = run(num_sanity_val_steps=2)
    assert checked == records


def test_a_run_that_ends_within_an_epoch_keeps_a_validated_best(
    run: Callable[..., Trained],
) -> None:
    """Six steps an epoch: the eighth is the second of epoch 2."""
    model, _, records = run(max_steps=8)
    assert len(records) == 2
    losses = [record.get("val/loss", math.inf) for record in records]
    assert model.best.epoch == 1 + int(np.argmin(losses))


def test_double_precision(run: Callable[..., Trained], settings: Settled) -> None:
    """float64 from the rows on: the losses move by float32's rounding, no more."""
    _, _, single = run()
    model, _, double = run(precision="64-true")
    assert all(p.dtype == torch.float64 for p in model.network.parameters())
    for a, b in zip(single, double, strict=True):
        assert a["val/loss"] == pytest.approx(b["val/loss"], abs=1e-5)
        assert a["val/loss"] != b["val/loss"]


def test_every_record_holds_loss_accuracy_and_auroc_of_both_parts(
    run: Callable[..., Trained],
) -> None:
    _, _, records = run()
    names = [f"{part}/{name}" for part in ("train", "val") for name in METRICS]
    assert set(records[1]) == {*names, "lr", "epoch"}
    assert records[0].keys() > records[1].keys()  # the diagnosis looks at the first and the last
    assert records[0].keys() == records[3].keys()
    assert all(isinstance(value, (int, float)) for value in records[0].values())
