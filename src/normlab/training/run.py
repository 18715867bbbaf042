"""Runs that train together, from their settings to their results. One run is a list of one."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightning import Trainer

from normlab.config import Settings
from normlab.config.data import CsvSettings
from normlab.data.schema import Schema
from normlab.data.serve.module import SplitTable, TableDataModule
from normlab.diagnosis.conclusion import conclude
from normlab.diagnosis.curves import Curves
from normlab.diagnosis.start import Start, measure_starts
from normlab.diagnosis.warning import summed_up, warning
from normlab.diagnosis.watch import Watch
from normlab.layout import BEST
from normlab.model.checkpoint import describe
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.scalers import make_scaler
from normlab.model.tasks import Binary, Task
from normlab.training.checkpoints import CheckpointFile, Checkpoints
from normlab.training.environment import threads_for
from normlab.training.folder import RunFolder
from normlab.training.grouping import why_apart
from normlab.training.memory import keep_freed_memory
from normlab.training.module import TrainingModule
from normlab.training.ranks import on_ranks
from normlab.training.recipe import make_recipe
from normlab.training.result import Result, measure
from normlab.training.resume import ResumePoint
from normlab.training.signals import until_epoch_end

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What one run trains, and where to.

    Attributes:
        settings: checked.
        data: its table, split as the settings say.
        folder: None leaves no files.
        name: for messages.
    """

    settings: Settings
    data: SplitTable
    folder: RunFolder | None = None
    name: str = "the run"


class Together:
    """Runs of one shape as one network, prepared to train.

    Args:
        runs: that `grouping` lets share a network.
        task: what the outputs mean.

    Attributes:
        network: of all runs, fitted; after `train` with the best weights, in evaluation mode.
        module: the LightningModule.
        starts: what each run starts from; none where the diagnosis is switched off.
    """

    def __init__(self, runs: Sequence[Run], task: Task | None = None) -> None:
        self.runs = list(runs)
        self.task = task or Binary()
        settings = runs[0].settings
        networks = [make_network(run.settings, run.data, self.task) for run in runs]
        self.descriptions = describe_all(networks, [run.data.table.schema for run in runs])
        self.names = [network.normalizer.name for network in networks]
        self.network = networks[0] if len(runs) == 1 else Network.stack(networks)
        apart = why_apart(settings) is not None
        self.data = TableDataModule([run.data for run in runs], at_once=not apart)
        recipes = [make_recipe(run.settings, run.data) for run in runs]
        self.guesses = [
            self.task.guess_loss(run.data.train_labels, recipe.weight)
            for run, recipe in zip(runs, recipes, strict=True)
        ]
        watch = None
        if settings.diagnosis.enabled:
            weights = [recipe.weight for recipe in recipes]
            every = settings.diagnosis.every_n_epochs
            watch = Watch(self.data, self.task, self.guesses, weights, every)
        self.module = TrainingModule(self.network, self.data, recipes, self.task, watch)
        self.starts: list[Start] = []

    def examine(self) -> str | None:
        """Looks at what the runs start from; a warning where that will keep some from learning."""
        if not self.runs[0].settings.diagnosis.enabled:
            return None
        self.starts = measure_starts(self.network, self.data)
        warnings = []
        for run, start, name in zip(self.runs, self.starts, self.names, strict=True):
            message = warning(start, name, self.network.batchnorm is not None)
            if message is not None:
                warnings.append((start, run.name, message))
        if len(self.runs) == 1:
            return warnings[0][2] if warnings else None
        return summed_up(warnings, len(self.runs))

    def train(self, trainer: Trainer, resumed: ResumePoint | None = None) -> list[Result]:
        """Trains the runs, leaves the network with their best weights, and writes their files.

        The best weights are those of the lowest validation loss, or the last ones where nothing is
        held out for validation. Where several processes train (DDP), the first one measures, and
        all return the same.

        Args:
            trainer: any `lightning.Trainer`, without a logger or checkpoints of its own.
            resumed: where the runs go on; None at their beginning.

        Returns:
            Each run's figures.
        """
        started = time.perf_counter()
        settings, outcomes = self.runs[0].settings, self.module.outcomes
        checkpoints = self._checkpoints(resumed)
        if checkpoints is not None:
            trainer.callbacks.append(checkpoints)  # type: ignore[attr-defined]
        rows = min(self.runs[0].data.batch_size or 2**62, self.data.n_rows("train"))
        with threads_for(len(self.runs) * rows, settings.model.hidden):
            if resumed is not None and resumed.complete(trainer.max_epochs or 0):
                outcomes.load_state_dict(resumed.checkpoint["outcomes"])
            else:
                self._fit(trainer, resumed)
            seconds = time.perf_counter() - started + (0.0 if resumed is None else resumed.seconds)
            results = None
            self.network.hold(outcomes.best)
            self.network.eval()
            if trainer.is_global_zero:
                results = self._conclude(checkpoints, seconds / len(self.runs))
        return trainer.strategy.broadcast(results) or []

    def _checkpoints(self, resumed: ResumePoint | None) -> Checkpoints | None:
        settings = self.runs[0].settings
        folders = [run.folder for run in self.runs if run.folder is not None]
        if not folders:
            return None
        return Checkpoints(
            folders,
            self.descriptions,
            settings.trainer.enable_checkpointing,
            settings.checkpoint.every_n_seconds,
            resumed,
        )

    def _fit(self, trainer: Trainer, resumed: ResumePoint | None) -> None:
        if len(self.runs) > 1:
            keep_freed_memory()
        path = None if resumed is None else resumed.path
        trainer.strategy.checkpoint_io = CheckpointFile(resumed)
        several = trainer.world_size > 1
        around = (
            on_ranks(trainer) if several else until_epoch_end(bool(trainer.checkpoint_callbacks))
        )
        with around:
            trainer.fit(self.module, datamodule=self.data, ckpt_path=path, weights_only=True)

    def _conclude(self, checkpoints: Checkpoints | None, seconds: float) -> list[Result]:
        """The results of all runs; writes those that are not written yet."""
        outcomes = self.module.outcomes
        epochs = outcomes.epochs.tolist()
        curves = self._curves()
        results = measure(
            self.network,
            self.data,
            self.task,
            guesses=self.guesses,
            epochs=epochs,
            seconds=seconds,
        )
        for i, (run, result) in enumerate(zip(self.runs, results, strict=True)):
            diverged, diagnosis = outcomes.diverged[i], None
            if self.starts:
                diagnosis = conclude(
                    self.starts[i],
                    curves[i],
                    run.settings,
                    self.names[i],
                    self.guesses[i],
                    n_val=self.data.n_rows("val"),
                    n_train=self.data.n_rows("train"),
                    final=result.train["loss"],
                )
            kept = checkpoints is not None and checkpoints.keep and not outcomes.never_good(i)
            results[i] = result = replace(
                result,
                checkpoint=BEST if kept else None,
                diverged=diverged,
                diagnosis=diagnosis,
            )
            if run.folder is not None and not run.folder.finished:
                if kept and checkpoints is not None:
                    checkpoints.save_best(self.module, i)
                if diverged is not None and len(self.runs) > 1:
                    log.warning(f"{run.name}: {diverged}")
                run.folder.write_result(result.to_dict())
        return results

    def _curves(self) -> list[Curves]:
        """Of each run: its folder's, or where it has none those of the epochs recorded here."""
        taken = self.module.records.take(len(self.runs))
        curves = [Curves() if run.folder is None else run.folder.all_curves() for run in self.runs]
        for own, epochs in zip(curves, taken, strict=True):
            if epochs is not None:  # without a folder nobody has written them
                own.extend(epochs)
        return curves


def make_network(settings: Settings, data: SplitTable, task: Task) -> Network:
    """A network fitted to the training rows of one run.

    Its initial weights are made by the seed, and are the same under every normalization.
    """
    schema, model = data.table.schema, settings.model
    encoder = make_encoder(settings, schema)
    n_features = data.table.rows.shape[1] if encoder is None else encoder.n_numeric
    network = Network(
        make_scaler(n_features=n_features, **settings.normalization.model_dump()),
        model.hidden,
        model.activation,
        model.dropout,
        settings.batchnorm,
        model.init,
        encoder,
        settings.seed,
        task.n_outputs,
    )
    return network.fit(data.training_rows)


def make_encoder(settings: Settings, schema: Schema) -> Encoder | None:
    """What turns the rows of a table into inputs; None where they are plain numbers already."""
    data = settings.data
    if schema.is_numeric or not isinstance(data, CsvSettings):
        return None
    return Encoder(
        [column.type for column in schema.columns],
        [len(column.categories) for column in schema.columns],
        data.max_categories,
        [i for i, column in enumerate(schema.columns) if data.indicator and column.missing],
        schema.missing == "impute",
    )


def describe_all(networks: Sequence[Network], schemas: Sequence[Schema]) -> list[dict[str, Any]]:
    """`describe` of each run; runs of one schema share its dict, which a file then holds once."""
    known: dict[int, dict[str, Any]] = {}
    described = []
    for network, schema in zip(networks, schemas, strict=True):
        entry = describe(network, schema)
        entry["schema"] = known.setdefault(id(schema), entry["schema"])
        described.append(entry)
    return described
