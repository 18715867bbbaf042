"""Training a stack: one Trainer for many runs, then every run's own figures."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lightning import Trainer

from normlab.interruption import until_epoch_end
from normlab.training.result import Result
from normlab.training.single import AlreadyRead
from normlab.training.stacked.batches import StackedData
from normlab.training.stacked.classifier import StackedClassifier
from normlab.training.stacked.member import Member
from normlab.training.stacked.memory import keep_freed_memory
from normlab.training.stacked.resume import StackPoint


def train_stack(
    members: Sequence[Member],
    trainer: Trainer,
    patience: int | None = None,
    min_delta: float = 0.0,
    resumed: StackPoint | None = None,
    rows: Sequence[int] = (),
) -> list[Result]:
    """Trains runs that `grouping` let together; each is left as `single.train` leaves its model.

    Args:
        members: of one shape of network, data and batches.
        trainer: without logger and checkpoints: the members write their own folders.
        patience, min_delta: of early stopping on val/loss; None never stops.
        resumed: where the stack goes on; None at its beginning.
        rows: the members' there.

    Returns:
        Each run's figures, in the order of the members.
    """
    keep_freed_memory()
    started = time.perf_counter()
    data = StackedData([member.data for member in members])
    model = StackedClassifier(members, data, patience, min_delta)
    path, before = None, 0.0
    if resumed is not None:
        path, before = resumed.path, resumed.seconds
        trainer.strategy.checkpoint_io = AlreadyRead(resumed.of_rows(rows))
    with until_epoch_end(waits=bool(trainer.checkpoint_callbacks)):
        trainer.fit(model, datamodule=data, ckpt_path=path, weights_only=True)
    seconds = (time.perf_counter() - started + before) / len(members)
    return [member.evaluate(seconds) for member in members]
