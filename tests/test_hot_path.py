"""What a step costs, counted in ways that do not depend on the machine's speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile

from normlab.config import Settings
from normlab.data.load import split_table
from normlab.data.table import Table
from normlab.training.run import Run, Together

Settled = Callable[..., Settings]
Count = Callable[..., Counter[str]]

MOST = 160  # operators of a step: what was counted, and a tenth more for other versions of torch
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


class Operators(Callback):
    """Counts torch's operators in the steps of the second epoch, which Lightning takes as one."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._profiler = profile(activities=[ProfilerActivity.CPU])

    def on_train_batch_start(self, trainer: Trainer, *_: Any, **__: Any) -> None:  # type: ignore[override]
        if trainer.current_epoch == 1:
            self._profiler.__enter__()

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:  # type: ignore[override]
        if trainer.current_epoch == 1:
            self._profiler.__exit__(None, None, None)
            names = (event.name for event in self._profiler.events() or [])
            self.counted.update(name for name in names if name.startswith("aten::"))


@pytest.fixture
def count(
    settings: Settled, blobs: Callable[..., Table], make_trainer: Callable[..., Trainer]
) -> Count:
    """The operators of an epoch's steps of so many runs together."""

    def operators(n_runs: int) -> Counter[str]:
        table, callback = blobs(100), Operators()
        runs = [
            Run(own, split_table(own, table))
            for own in (settings(*BASE, f"seed={seed}") for seed in range(n_runs))
        ]
        Together(runs).train(make_trainer(max_epochs=2, callbacks=[callback]))
        return callback.counted

    return operators


@pytest.mark.parametrize("n_runs", [1, 2, 30])
def test_a_step_takes_few_operators_for_any_number_of_runs(count: Count, n_runs: int) -> None:
    """But for what an epoch's order takes for each seed."""
    counted = count(n_runs)
    assert counted["aten::binary_cross_entropy_with_logits"] == N_STEPS
    assert counted["aten::randperm"] <= 2 * n_runs
    assert counted.total() <= N_STEPS * MOST + 6 * n_runs
