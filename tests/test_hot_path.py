"""What a step costs, counted in ways that do not depend on the machine's speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from normlab.assembly import make_classifier, make_data
from normlab.training.stacked.member import Member
from normlab.training.stacked.train import train_stack
from torch.profiler import ProfilerActivity, profile

from normlab.config import Settings
from normlab.data.table import Table

Settled = Callable[..., Settings]
Count = Callable[..., Counter[str]]

# What was counted in a step, and a tenth more for other versions of torch.
RUN, STACK = 170, 250
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


class Steps(Callback):
    """Counts torch's operators of one of Lightning's steps of the second epoch.

    Args:
        batch_idx: which of them.
    """

    def __init__(self, batch_idx: int) -> None:
        self.batch_idx = batch_idx
        self.operators: Counter[str] = Counter()
        self._profiler = profile(activities=[ProfilerActivity.CPU])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1 and batch_idx == self.batch_idx:
            self._profiler.__enter__()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.current_epoch == 1 and batch_idx == self.batch_idx:
            self._profiler.__exit__(None, None, None)
            names = (event.name for event in self._profiler.events() or [])
            self.operators.update(name for name in names if name.startswith("aten::"))


@pytest.fixture
def table(blobs: Callable[..., Table]) -> Table:
    return blobs(100)


@pytest.fixture
def operators(settings: Settled, table: Table, make_trainer: Callable[..., Trainer]) -> Count:
    """The operators of an epoch's steps of so many runs as one, or of a step of one alone."""

    def count(n_runs: int | None = None) -> Counter[str]:
        steps = Steps(1 if n_runs is None else 0)
        trainer = make_trainer(max_epochs=2, callbacks=[steps])
        members = []
        for seed in range(n_runs or 1):
            chosen = settings(*BASE, f"seed={seed}")
            data = make_data(chosen, table)
            members.append(Member(make_classifier(chosen, data), data))
        if n_runs is None:
            trainer.fit(members[0].classifier, datamodule=members[0].data)
        else:
            train_stack(members, trainer)
        return steps.operators

    return count


def test_a_step_of_a_run_takes_few_operators(operators: Count) -> None:
    counted = operators()
    assert counted["aten::_fused_adam_"] == 1  # one kernel for all parameters
    assert counted.total() <= RUN


def test_an_epoch_of_a_stack_takes_as_many_operators_for_any_number_of_runs(
    operators: Count,
) -> None:
    few, many = operators(2), operators(30)
    assert few == many
    assert 0 < many.total() <= N_STEPS * STACK
    assert many["aten::binary_cross_entropy_with_logits"] == N_STEPS
