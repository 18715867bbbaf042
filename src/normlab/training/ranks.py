"""Training by several processes: what Lightning's DDP leaves to be done around its fit."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from torch import Tensor, distributed
from torch.nn import functional as F

GRACE_SECONDS = 5.0  # for processes that were asked to end


@contextmanager
def on_ranks(trainer: Trainer) -> Iterator[None]:
    """Around a `trainer.fit` over processes.

    Afterwards the module's `outcomes` in every process that was here before are those of the
    training: under ddp_fork and ddp_spawn these did not train themselves.
    """
    handover = Handover()
    trainer.callbacks.append(handover)  # type: ignore[attr-defined]
    try:
        with _threads(trainer), _children_ended(trainer):
            yield
    finally:
        trainer.callbacks.remove(handover)  # type: ignore[attr-defined]
    module: Any = trainer.lightning_module
    if forks(trainer):
        trainer.precision_plugin.convert_module(module)  # as it was in the children
    module.outcomes.load_state_dict(trainer.callback_metrics.pop(Handover.KEY))


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
        module: Any = pl_module
        trainer.callback_metrics[self.KEY] = module.outcomes.state_dict()


def gathered(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs (1, n) and labels (1, n) that all processes have seen; one may have none."""
    dtype = torch.promote_types(outputs.dtype, torch.float32)  # as the metrics have it
    seen = torch.cat([outputs.to(dtype), labels.to(dtype)])
    n_rows = torch.tensor([outputs.shape[-1]], device=seen.device)
    sizes = [int(n) for n in _from_all_ranks(n_rows)]
    # Tensors of one shape alone can be gathered.
    padded = _from_all_ranks(F.pad(seen, (0, max(sizes) - outputs.shape[-1])))
    joined = torch.cat([rank[:, :n] for rank, n in zip(padded, sizes, strict=True)], 1)
    return joined[:1], joined[1:]


def _from_all_ranks(mine: Tensor) -> list[Tensor]:
    every = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, mine)
    return every


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
        started: list[Any] = getattr(trainer.strategy.launcher, "procs", [])
        children = list(started)
        if not forks(trainer):  # a thread of Lightning's would kill this process for their end
            started.clear()
        else:  # one of them writes the run folder: it may finish its line
            for child in children:
                child.terminate()
            patience = time.monotonic() + GRACE_SECONDS
            while any(child.is_alive() for child in children) and time.monotonic() < patience:
                time.sleep(0.05)
        for child in children:
            child.kill()
            (child.join if forks(trainer) else child.wait)()
        raise
