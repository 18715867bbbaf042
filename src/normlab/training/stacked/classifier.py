"""The LightningModule of a stack: `Classifier`'s training, for all runs in one pass.

As in `UnrolledClassifier`, Lightning's loop is paid once an epoch: all mini-batches but the last
are stepped here, and what is held out for validation is passed here too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from normlab.model.classifier import Batch
from normlab.model.divergence import explanation, first_not_finite, rows_of_batch
from normlab.model.lean_module import LeanModule
from normlab.model.metrics import METRICS, binary_metrics
from normlab.model.unrolled import count_steps
from normlab.seeding import Stream, epoch_seed, seed_device
from normlab.training.stacked.batches import StackedBatches, StackedData
from normlab.training.stacked.best_weights import BestOfRuns
from normlab.training.stacked.member import Member
from normlab.training.stacked.optimizer import StackedOptimizer
from normlab.training.stacked.records import RecordsOfRuns
from normlab.training.stacked.schedule import set_schedules
from normlab.training.stacked.stack import Stack
from normlab.training.stacked.stopping import StoppingOfRuns
from normlab.training.stacked.watch import StackedWatch

WRITE_SECONDS = 10.0  # between two writings of metrics: hundreds of files take a while


class StackedClassifier(LeanModule):
    """Trains the classifiers of many runs; a run that stops early leaves the stack.

    Args:
        members: runs that `grouping` let together.
        data: of the same runs.
        patience, min_delta: as of Lightning's EarlyStopping on val/loss; None never stops.
    """

    def __init__(
        self,
        members: Sequence[Member],
        data: StackedData,
        patience: int | None = None,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__()
        self.stack = Stack([member.classifier for member in members])
        self.members = list(members)
        self._n_runs = len(members)
        self._data = data
        self._best = BestOfRuns(self.stack, has_validation=data.index["val"].shape[1] > 0)
        self._stopping = StoppingOfRuns(len(members), patience, min_delta)
        watched = members[0].classifier.watch is not None
        self._watch = StackedWatch(members, data) if watched else None
        self._restored: dict[str, Any] | None = None
        self._train: list[Batch] = []
        self._val: list[Batch] = []
        self._validation: StackedBatches | None = None
        self._records = RecordsOfRuns()
        self._written_at = time.monotonic()

    def on_fit_start(self) -> None:
        epochs = self.trainer.max_epochs
        assert epochs is not None
        set_schedules(self.members, epochs)
        self._validation = self._data.validation_batches()

    def configure_optimizers(self) -> StackedOptimizer:
        def column(name: str) -> Tensor:
            values = [[member.classifier.hparams[name]] for member in self.members]
            return self.stack.weights.new_tensor(values)

        kind = self.members[0].classifier.hparams["optimizer"]
        return StackedOptimizer(self.stack.weights, kind, column("lr"), column("weight_decay"))

    @property
    def _optimizer(self) -> StackedOptimizer:
        optimizer = self.trainer.optimizers[0]
        assert isinstance(optimizer, StackedOptimizer)
        return optimizer

    def on_train_epoch_start(self) -> None:
        seed = self.members[0].classifier.hparams["seed"]
        seed_device(epoch_seed(seed, self.current_epoch, Stream.DROPOUT), self.device)
        rates = [[member.schedule[self.current_epoch]] for member in self.members]
        self._optimizer.lr = self.stack.weights.new_tensor(rates)

    def training_step(self, epoch: Tensor, batch_idx: int) -> Tensor:
        optimizer = self._optimizer
        steps_here = len(self._served.bounds) - 1
        batches = map(self.stack.converted, self._served.mini_batches(epoch))
        for rows, labels in islice(batches, steps_here):
            optimizer.zero_grad()
            self._loss_of(rows, labels).backward()
            optimizer.step()
        count_steps(self.trainer, steps_here)
        return self._loss_of(*next(batches))

    @property
    def _served(self) -> StackedBatches:
        loader = self.trainer.train_dataloader
        assert isinstance(loader, StackedBatches)
        return loader

    def _loss_of(self, rows: Tensor, labels: Tensor) -> Tensor:
        logits = self.stack(rows)
        self._train.append((logits.detach(), labels))
        return self.stack.loss(logits, labels).sum()  # no weight of one run is in another's loss

    @torch.no_grad()
    def _validate(self) -> None:
        if self._validation is None:
            return
        self.stack.eval()
        for rows, labels in map(self.stack.converted, self._validation.mini_batches()):
            self._val.append((self.stack(rows), labels))
        self.stack.train()

    def on_train_epoch_end(self) -> None:
        self._validate()
        names, values = self._epoch()
        finite = self._finite(names, values)
        self._note_diverged(finite, names, values)
        self._train.clear()
        self._val.clear()
        self._records.add(self.current_epoch + 1, names, values)
        losses = torch.full((len(values),), math.nan, dtype=torch.float64)
        if "val/loss" in names:
            losses = values[:, names.index("val/loss")]
        self._best.update(self.current_epoch + 1, losses, finite)
        stopped = self._stopping.stopped(losses) | ~finite
        if self.current_epoch + 1 == self.trainer.max_epochs:
            stopped[:] = True
        if stopped.any():
            self._leave(stopped, losses)
        if time.monotonic() - self._written_at >= WRITE_SECONDS:
            self.write_records()

    def _epoch(self) -> tuple[list[str], Tensor]:
        """The names of an epoch's metrics, and their values, float64 (runs, names) on the CPU."""
        rates = [[member.schedule[self.current_epoch]] for member in self.members]
        names, columns = ["lr"], [torch.tensor(rates, dtype=torch.float64)]
        for name, batches in (("train", self._train), ("val", self._val)):
            if batches:
                logits, labels = (torch.cat(part, 1) for part in zip(*batches, strict=True))
                names += [f"{name}/{metric}" for metric in METRICS]
                columns.append(binary_metrics(logits, labels).double().cpu())
        if self._watch is not None:
            losses = columns[1][:, METRICS.index("loss")]
            more = self._watch.look(
                self.stack, self.current_epoch + 1, self.trainer.max_epochs, losses
            )
            return names + more[0], torch.cat([*columns, more[1]], 1)
        return names, torch.cat(columns, 1)

    def _finite(self, names: list[str], values: Tensor) -> Tensor:
        """As `Classifier._finite`, for all runs."""
        losses = [names.index(name) for name in ("train/loss", "val/loss") if name in names]
        finite = values[:, losses].isfinite().all(1)
        if self._data.index["val"].shape[1] == 0:
            finite &= self.stack.weights.detach().isfinite().all(1).cpu()
        return finite

    def _note_diverged(self, finite: Tensor, names: list[str], values: Tensor) -> None:
        for run in (~finite).nonzero().flatten().tolist():
            member = self.members[run]
            batches = [(logits[run], labels[run]) for logits, labels in self._train]
            losses = (member.classifier.loss.cpu()(z.cpu(), y.cpu()) for z, y in batches)
            found = first_not_finite(losses)
            batch = len(batches) - 1 if found is None else found
            record = dict(zip(names, values[run].tolist(), strict=True))
            last = (record.get("train/loss", 0.0), record.get("val/loss", math.nan))
            member.classifier.diverged = explanation(
                member.classifier.network,
                member.classifier.schema,
                rows_of_batch(self._served.mini_batches(), batch)[run],
                loss=next(value for value in last if not math.isfinite(value)),
                epoch=self.current_epoch + 1,
                step=self.global_step - len(batches) + batch + 1,
                lr=member.schedule[self.current_epoch],
            )

    def write_records(self) -> None:
        """Writes the epochs of all runs, up to now, into their folders."""
        self._write(range(len(self.members)))
        self._records.clear()
        self._written_at = time.monotonic()

    def _write(self, runs: Sequence[int]) -> None:
        for run, epochs in zip(runs, self._records.of(runs), strict=True):
            folder = self.members[run].folder
            if folder is not None:
                folder.write_epochs(epochs)

    def state(self) -> dict[str, Any]:
        """What the runs remember beside their weights, (runs, ...) each; for `restore`."""
        return {**self._best.state(), **self._stopping.state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning converts the module to trainer.precision after it has loaded the weights.
        self.to(checkpoint["state_dict"]["stack.weights"].dtype)
        self._restored = checkpoint["stack"]["state"]

    def on_train_start(self) -> None:
        self._started_at = time.monotonic()
        if self._restored is not None:
            self._best.restore(self._restored)
            self._stopping.restore(self._restored)
            self._restored = None

    def _leave(self, stopped: Tensor, losses: Tensor) -> None:
        """Takes the runs that are done out of the stack, each with its weights."""
        template = self.trainer._checkpoint_connector.dump_checkpoint()
        optimizer = self._optimizer
        stack = self.stack
        seconds = (time.monotonic() - self._started_at) / self._n_runs
        leaving = stopped.nonzero().flatten().tolist()
        self._write(leaving)
        for run in leaving:
            stopping = self._stopping.callback_states(run, float(losses[run]), self.current_epoch)
            self.members[run].finish(
                seconds=seconds,
                epochs=self.current_epoch + 1,
                best=stack.state_of(run, self._best.weights),
                best_loss=float(self._best.loss[run]),
                best_epoch=int(self._best.epoch[run]),
                last=stack.state_of(run),
                optimizer_state=optimizer.state_of(run, stack.sizes, stack.shapes),
                template={**template, "callbacks": stopping},
            )
        staying = (~stopped).nonzero().flatten()
        if not len(staying):
            self._records.clear()
            self.trainer.should_stop = True
            return
        self.members = [self.members[run] for run in staying.tolist()]
        runs = staying.to(self.device)
        stack.keep(runs)
        optimizer.keep(runs)
        self._data.keep(runs)
        self._best.keep(staying)
        self._stopping.keep(staying)
        self._records.keep(staying)
        if self._watch is not None:
            self._watch.keep(runs)
