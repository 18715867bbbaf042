"""What a step costs, counted in ways that do not depend on the machine's speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile

from normlab.config import Settings
from normlab.data.load import split_table
from normlab.data.table import Table
from normlab.training.run import Run, Together

Settled = Callable[..., Settings]
Count = Callable[..., Counter[str]]

STEP = 150  # what was counted in a step, and a tenth more for other versions of torch
N_STEPS = 4  # of an epoch
BASE = (
    "data.batch_size=20",
    "data.val_fraction=0.1",
    "data.test_fraction=0.1",
    "model.hidden=[4]",
    "model.activation=relu",
    "model.dropout=0",
    "model/scheduler=none",
    "normalization=standardize",
    "trainer.max_epochs=2",
)


class SecondEpoch(Callback):
    """Counts torch's operators in the steps of the second epoch."""

    def __init__(self) -> None:
        self.operators: Counter[str] = Counter()
        self._profiler = profile(activities=[ProfilerActivity.CPU])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1:
            self._profiler.__enter__()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.current_epoch == 1:
            self._profiler.__exit__(None, None, None)
            names = (event.name for event in self._profiler.events() or [])
            self.operators.update(name for name in names if name.startswith("aten::"))


@pytest.fixture
def operators(
    settings: Settled, blobs: Callable[..., Table], make_trainer: Callable[..., Trainer]
) -> Count:
    """The operators of an epoch's steps of so many runs."""

    def count(n_runs: int) -> Counter[str]:
        epoch, table = SecondEpoch(), blobs(100)
        chosen = [settings(*BASE, f"seed={seed}") for seed in range(n_runs)]
        runs = [Run(one, split_table(one, table)) for one in chosen]
        Together(runs).train(make_trainer(max_epochs=2, callbacks=[epoch]))
        return epoch.operators

    return count


@pytest.mark.parametrize("n_runs", [1, 30])
def test_a_step_takes_few_operators(operators: Count, n_runs: int) -> None:
    counted = operators(n_runs)
    assert counted["aten::binary_cross_entropy_with_logits"] == N_STEPS
    assert counted["aten::addcdiv_"] == N_STEPS  # Adam, of all parameters at once
    drawn = 2 * counted["aten::randperm"]  # the orders of the epoch's rows, drawn run by run
    assert counted.total() - drawn <= N_STEPS * STEP


def test_more_runs_take_no_more_operators(operators: Count) -> None:
    """But for the orders of their rows, which are drawn one by one."""
    few, many = operators(30), operators(60)
    drawn = {name for name in few | many if few[name] != many[name]}
    assert drawn <= {"aten::randperm", "aten::empty", "aten::scalar_tensor", "aten::resize_"}
