"""Training by several processes: what Lightning's DDP leaves to be done around its fit."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from normlab.data.module import TableDataModule
from normlab.model.classifier import Classifier

GRACE_SECONDS = 5.0  # for processes that were asked to end


def fit_on_ranks(
    data: TableDataModule, model: Classifier, trainer: Trainer, path: Path | None = None
) -> int:
    """`trainer.fit` over processes; returns the number of epochs that were trained.

    Args:
        path: of the checkpoint to go on from; None from the start.

    In every process that was here before, `model.best` then holds the best weights: under
    ddp_fork and ddp_spawn a process that did not train itself.
    """
    handover = Handover()
    trainer.callbacks.append(handover)  # type: ignore[attr-defined]
    try:
        with _threads(trainer), _children_ended(trainer):
            trainer.fit(model, datamodule=data, ckpt_path=path, weights_only=True)
    finally:
        trainer.callbacks.remove(handover)  # type: ignore[attr-defined]
    if forks(trainer):
        trainer.precision_plugin.convert_module(model)  # as it was in the children
    handed: Any = trainer.callback_metrics.pop(Handover.KEY)
    model.best.load_state_dict(handed["best"])
    model.diverged = handed["diverged"]
    return handed["epochs"]


def forks(trainer: Trainer) -> bool:
    """Whether the processes start as copies of this one, and this one does not train."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


class Handover(Callback):
    """Brings home what a training has come to, and ends it at once when asked to.

    Of a child's memory Lightning hands back the last weights and `callback_metrics` alone. And its
    handler of SIGTERM broadcasts: in the midst of another collective, processes would wait for
    each other. The handler that was there before takes its place.
    """

    KEY = "handover"

    def __init__(self) -> None:
        self._sigterm = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is threading.main_thread() and self._sigterm is not None:
            signal.signal(signal.SIGTERM, self._sigterm)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        handed: Any = {
            "best": pl_module.best.state_dict(),
            "epochs": trainer.current_epoch,
            "diverged": pl_module.diverged,
        }
        trainer.callback_metrics[self.KEY] = handed


@contextmanager
def _threads(trainer: Trainer) -> Iterator[None]:
    """One thread in each process, where Lightning would take the cores' share.

    Where this process has chosen one, the steps are too small for more. And the threads of OpenMP
    do not survive a fork: the first large operation of a child would wait for them for ever.
    """
    before = torch.get_num_threads()
    # Lightning sets both, and a later training in this process would take them for the user's.
    environment = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MASTER_PORT")}
    if before == 1 or forks(trainer):
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        torch.set_num_threads(before)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _children_ended(trainer: Trainer) -> Iterator[None]:
    """Leaves no process behind that waits for one that has failed or was ended."""
    try:
        yield
    except BaseException:
        children: Sequence[Any] = getattr(trainer.strategy.launcher, "procs", ())
        if forks(trainer):  # one of them writes the run folder: it may finish its line
            for child in children:
                child.terminate()
            patience = time.monotonic() + GRACE_SECONDS
            while any(child.is_alive() for child in children) and time.monotonic() < patience:
                time.sleep(0.05)
        for child in children:
            child.kill()
            (child.join if forks(trainer) else child.wait)()
        raise
