"""The LightningModule: how the runs of a network learn.

Rows in, logits out, the losses of all runs summed, one step of the optimizer: no weight of a run is
in another's loss, so their gradients are those of the runs by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from lightning import LightningModule
from torch import Tensor

from normlab.data.serve.batches import Piece
from normlab.data.serve.module import TableDataModule
from normlab.model.network import Network
from normlab.model.tasks import Binary, Task
from normlab.seeding import Stream, epoch_seed
from normlab.training.divergence import explain
from normlab.training.epochs import Records
from normlab.training.figures import Measures, prepared
from normlab.training.optimizer import Rates, RunsOptimizer
from normlab.training.outcomes import Outcomes
from normlab.training.recipe import Recipe


class Watch(Protocol):
    """What is looked at now and then beside the losses; see `diagnosis.watch`."""

    def look(
        self, network: Network, runs: Tensor, epoch: int, max_epochs: int, losses: Tensor
    ) -> tuple[list[str], Tensor]: ...


class TrainingModule(LightningModule):
    """Trains the runs of a network on (rows, labels); a run that has ended leaves it.

    At each epoch's end it validates and records, for every run, loss, accuracy and AUROC of both
    splits and the learning rate. The training figures are those of the epoch's own forward
    passes, in training mode and unweighted. Where several processes train (DDP), the figures are
    those of the rows of all of them, and the same in each.

    Args:
        network: of all runs, fitted.
        data: of the same runs.
        recipes: of the same runs; of one optimizer and one way of stopping.
        task: what the outputs mean.
        watch: looks at gradients and units; None does not.

    Attributes:
        network: of the runs that still train.
        outcomes: of all runs.
        records: of the epochs, until they are written.
        measures: make an epoch's figures.
    """

    def __init__(
        self,
        network: Network,
        data: TableDataModule,
        recipes: Sequence[Recipe],
        task: Task | None = None,
        watch: Watch | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.data = data
        self.recipes = list(recipes)
        self.task = task or Binary()
        self.watch = watch
        self.outcomes = Outcomes(network, recipes[0].patience, recipes[0].min_delta)
        self.records = Records()
        self.measures = Measures(data, self.task)
        self._prepared: tuple[Piece, Tensor, Tensor] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of each hook that it calls on the module, some forty times a
        # step, and nn.Module would look whether it is a parameter: a fifth of a small step.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (runs, n) of raw rows (runs, n, columns)."""
        return self.network(rows)

    def configure_optimizers(self) -> RunsOptimizer:
        recipes = [self.recipes[run] for run in self.outcomes.active.tolist()]
        return RunsOptimizer(
            list(self.network.parameters()),
            recipes[0].optimizer,
            [recipe.lr for recipe in recipes],
            [recipe.weight_decay for recipe in recipes],
            [recipe.momentum for recipe in recipes],
        )

    def training_step(self, pieces: Iterator[Piece], batch_idx: int) -> Tensor:
        """All steps that are served at once; the last one is left to Lightning."""
        optimizer, loss = self._optimizer, None
        for inputs, labels, factor in self._steps(pieces):
            if loss is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            outputs = self.network.logits(inputs)
            self.measures.train.add(outputs.detach(), labels)
            loss = self.task.losses(outputs, labels, self._weight).sum() * factor
        assert loss is not None
        return loss

    def _steps(self, pieces: Iterator[Piece]) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Inputs (runs, inputs, b), labels (runs, b) and the factor of the loss of each step."""
        for piece in pieces:
            if self._prepared is None or self._prepared[0] is not piece:
                self._prepared = piece, *prepared(self.network, piece.rows, piece.labels)
            _, inputs, labels = self._prepared
            for start, stop, factor in piece.steps:
                yield inputs[:, :, start:stop], labels[:, start:stop], factor

    def on_fit_start(self) -> None:
        epochs = self.trainer.max_epochs
        assert epochs is not None
        self._rates = Rates([(one.lr, one.scheduler) for one in self.recipes], epochs)

    def on_train_start(self) -> None:
        self.outcomes.to(self._like)
        self._weigh()
        if len(self.outcomes.active) < len(self.recipes):  # others had ended before
            self._batches.keep(self.outcomes.active.to(self.device))

    def on_train_epoch_start(self) -> None:
        epoch, active = self.current_epoch, self.outcomes.active
        self._optimizer.lr = self._rates.of(epoch)[active].to(self._optimizer.lr)[:, None]
        if self.network.dropout > 0:
            rank, seeds = self.trainer.global_rank, [self.recipes[run].seed for run in active]
            self.network.seed_dropout(
                [epoch_seed(seed, epoch, Stream.DROPOUT, rank) for seed in seeds]
            )

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        epoch, active = self.current_epoch + 1, self.outcomes.active
        figures = self.measures.of_epoch(self.network, active, self._weight, self.trainer)
        rates = self._rates.of(self.current_epoch)[active, None]
        names, values = ["lr", *figures.names], torch.cat([rates, figures.values], 1)
        for place in (~figures.finite).nonzero().flatten().tolist():
            record = dict(zip(names, values[place].tolist(), strict=True))
            self.outcomes.diverged[int(active[place])] = self._explain(place, record)
        if self.watch is not None:
            losses = values[:, names.index("train/loss")]
            last = self.trainer.max_epochs or epoch
            more, looked = self.watch.look(self.network, active, epoch, last, losses)
            names, values = names + more, torch.cat([values, looked], 1)
        self.records.add(epoch, names, values, active)
        self.measures.clear()
        validated = self.data.n_rows("val") > 0
        goes_on = self.outcomes.update(
            self.network, epoch, figures.validation_loss, figures.finite, validated
        )
        if not goes_on.all():
            self._keep(goes_on)

    def _explain(self, place: int, record: dict[str, float]) -> str:
        """What has happened to the run at a place among those that train, which diverged."""
        return explain(
            self.network.of_runs([place]),
            self.data.runs[int(self.outcomes.active[place])].table.schema,
            self._batches.pieces(),
            place,
            self.measures.training_losses(place),
            self.measures.train.stops,
            record,
            self.current_epoch,
            self.recipes[int(self.outcomes.active[place])].normalization,
        )

    def _keep(self, goes_on: Tensor) -> None:
        """Lets the other runs leave."""
        if not goes_on.any():
            self.trainer.should_stop = True
            return
        self.outcomes.active = self.outcomes.active[goes_on]
        runs = goes_on.nonzero().flatten().to(self.device)
        self._optimizer.keep(runs)
        self.network.keep_statistics(runs)
        self._batches.keep(runs)
        self._weigh()
        self._prepared = None
        self.measures.release()

    def _weigh(self) -> None:
        """The classes' weights (runs, 1) of the runs that train; none is cheaper than one of 1."""
        weights = [self.recipes[run].weight for run in self.outcomes.active.tolist()]
        if all(weight == 1 for weight in weights):
            self._weight = None
        else:
            self._weight = torch.tensor(weights, dtype=self._like.dtype, device=self.device)[
                :, None
            ]

    @property
    def _optimizer(self) -> RunsOptimizer:
        optimizer = self.trainer.optimizers[0]
        assert isinstance(optimizer, RunsOptimizer)
        return optimizer

    @property
    def _batches(self) -> Any:
        """What serves the training rows: `Batches` or `DiskBatches`."""
        return self.trainer.train_dataloader

    @property
    def _like(self) -> Tensor:
        """A parameter, for its device and precision."""
        return next(self.network.parameters())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["outcomes"] = self.outcomes.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Before Lightning has converted the module to trainer.precision, and to fewer runs.
        prefix = "network."
        state = checkpoint["state_dict"].items()
        self.network.hold({name.removeprefix(prefix): value.clone() for name, value in state})
        self.outcomes.load_state_dict(checkpoint["outcomes"])
