"""One run of a stack: its own classifier, data and folder, and the files that it leaves."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor

from normlab.config import Settings
from normlab.data.module import TableDataModule
from normlab.diagnosis.start import Start
from normlab.model.checkpoint import PREFIX, describe, weights_checkpoint
from normlab.model.classifier import Classifier, make_optimizer, make_scheduler
from normlab.training.diagnosed import diagnosed
from normlab.training.result import Result, measure
from normlab.training.resume import ENTRY, ResumePoint, run_entry
from normlab.training.run_folder import BEST, LAST, RunFolder
from normlab.training.single import never_good
from normlab.training.stacked.loops import loops_of_run

log = logging.getLogger(__name__)


@dataclass
class Member:
    """What a single run is made of, and what it comes to.

    Attributes:
        classifier: fitted to the training rows, with its initial weights.
        data: its split of its table.
        folder: None leaves no files.
        keep_checkpoints: whether best.ckpt and last.ckpt are written.
        schedule: the learning rate of each epoch, and after the last one.
        settings: as they were asked for, where they are known.
        start: what it starts from; None where the diagnosis is switched off.
        result: None until it has left the stack.
        seconds: its share of the time that the stack had taken when it left.
    """

    classifier: Classifier
    data: TableDataModule
    folder: RunFolder | None = None
    keep_checkpoints: bool = True
    schedule: list[float] = field(default_factory=list)
    settings: Settings | None = None
    start: Start | None = None
    epochs: int = 0
    result: Result | None = None
    seconds: float = 0.0

    def finish(
        self,
        *,
        epochs: int,
        seconds: float,
        best: dict[str, Tensor],
        best_loss: float,
        best_epoch: int,
        last: dict[str, Tensor],
        optimizer_state: dict[int, Any],
        template: dict[str, Any],
    ) -> None:
        """Takes the run's weights from the stack and writes its checkpoints.

        Its epochs are to be written before: last.ckpt notes how long the files are.

        Args:
            epochs: number of epochs trained.
            seconds: this run's share of the time until now.
            best, last: state_dicts of the network.
            optimizer_state: as `torch.optim` has it.
            template: the stack's own checkpoint, for the state of Lightning's loops.
        """
        self.epochs, self.seconds = epochs, seconds
        remembered = self.classifier.best
        remembered.weights, remembered.loss, remembered.epoch = best, best_loss, best_epoch
        network, schema = self.classifier.network, self.classifier.schema
        if self.folder is not None and self.keep_checkpoints:
            # The last one last: who finds it takes the run for trained.
            if not never_good(self.classifier, epochs):
                content = weights_checkpoint(network, schema, best, best_epoch)
                self.folder.save_checkpoint(BEST, content)
            if self.classifier.diverged is None:
                self.folder.save_checkpoint(LAST, self._last(last, optimizer_state, template))

    def _last(
        self, state: dict[str, Tensor], optimizer_state: dict[int, Any], template: dict[str, Any]
    ) -> dict[str, Any]:
        """The checkpoint that Lightning would have written of this run alone."""
        hparams = self.classifier.hparams
        optimizer = make_optimizer(self.classifier.network, hparams)
        scheduler = make_scheduler(optimizer, hparams["scheduler"], len(self.schedule) - 1)
        groups = optimizer.state_dict()["param_groups"]
        groups[0]["lr"] = self.schedule[self.epochs]
        if scheduler is not None:
            scheduler.last_epoch = self.epochs
            scheduler._step_count = self.epochs + 1
            scheduler._last_lr = [self.schedule[self.epochs]]
        scheduled = scheduler is not None
        own = {
            "state_dict": {
                **{PREFIX + name: value for name, value in state.items()},
                **{
                    f"loss.{name}": value.to(next(iter(state.values())).dtype)
                    for name, value in self.classifier.loss.state_dict().items()
                },
            },
            "optimizer_states": [{"state": optimizer_state, "param_groups": groups}],
            "lr_schedulers": [] if scheduler is None else [scheduler.state_dict()],
            "loops": loops_of_run(template["loops"], self.data, self.epochs, scheduled),
            "hparams_name": "kwargs",
            "hyper_parameters": dict(hparams),
            "normlab": describe(self.classifier.network, self.classifier.schema),
            "best": self.classifier.best.state_dict(),
        }
        if self.folder is not None:
            reasons = (state["stopping_reason"] for state in template["callbacks"].values())
            stopped = any(reason != EarlyStoppingReason.NOT_STOPPED.value for reason in reasons)
            own[ENTRY] = run_entry(self.folder, self.seconds, stopped)
        return {**template, **own}

    def take(self, point: ResumePoint) -> None:
        """Takes what the run has come to from its own last checkpoint, of all its epochs."""
        self.epochs, self.seconds = point.epochs, point.seconds
        self.classifier.on_load_checkpoint(point.checkpoint)

    @torch.no_grad()
    def evaluate(self, seconds: float) -> Result:
        """The figures of the best weights, and the last file of the folder.

        Args:
            seconds: this run's share of the time that the stack took.
        """
        network = self.classifier.network
        best = self.classifier.best.weights
        network.to(best[next(iter(dict(network.named_parameters())))])
        network.load_state_dict(best)
        kept = self.folder is not None and self.keep_checkpoints
        kept = kept and not never_good(self.classifier, self.epochs)
        result = measure(
            network,
            self.data,
            epochs=self.epochs,
            seconds=seconds,
            pos_weight=self.classifier.hparams["pos_weight"],
            checkpoint=BEST if kept else None,
        )
        self.result = replace(result, diverged=self.classifier.diverged)
        if self.result.diverged is not None:
            name = "a run" if self.folder is None else self.folder.path.name
            log.warning(f"{name}: {self.result.diverged}")
        if self.folder is not None and self.start is not None and self.settings is not None:
            self.result = diagnosed(
                self.result, self.start, self.classifier, self.data, self.folder, self.settings
            )
        if self.folder is not None:
            self.folder.write_result(self.result.to_dict())
        return self.result
