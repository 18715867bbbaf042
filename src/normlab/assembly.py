"""From settings to the objects that do the work; here every choice's name meets its code."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import DDPStrategy

from normlab.config import Settings
from normlab.config.data import CsvSettings
from normlab.data.limits import refuse_merged_codes, refuse_overflow
from normlab.data.module import TableDataModule
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.diagnosis.watch import Watch
from normlab.errors import UserError
from normlab.insight.pictures.callback import Pictures
from normlab.model.classifier import Classifier
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.normalization import make_normalizer
from normlab.model.unrolled import UnrolledClassifier, refuse_steps_apart
from normlab.processes import by_torchrun, may_be_several
from normlab.seeding import seed_device
from normlab.training.checkpoints import Checkpoints
from normlab.training.logger import RunFolderLogger
from normlab.training.progress import TrainingProgress
from normlab.training.resume import ResumePoint
from normlab.training.run_folder import RunFolder


def make_data(settings: Settings, table: Table) -> TableDataModule:
    """The table, split as the settings say.

    Raises:
        UserError: where a part would be empty or lack a class, or the precision or the
            normalization that is set cannot hold the table's values.
    """
    refuse_overflow(table, settings.normalization.name, settings.batchnorm)
    refuse_merged_codes(table.schema, settings.trainer.precision)
    data = settings.data
    return TableDataModule(
        table,
        data.split,
        data.val_fraction,
        data.test_fraction,
        data.batch_size,
        settings.seed,
        settings.trainer.unroll_epochs,
    )


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


def make_network(settings: Settings, n_features: int, encoder: Encoder | None = None) -> Network:
    """A network whose initial weights `seed` makes, the same under every normalization.

    Args:
        n_features: columns of numbers, which are all columns where there is no encoder.
    """
    normalizer = make_normalizer(n_features=n_features, **settings.normalization.model_dump())
    seed_device(settings.seed, torch.device("cpu"))  # where every network is made
    model = settings.model
    return Network(
        normalizer,
        model.hidden,
        model.activation,
        model.dropout,
        settings.batchnorm,
        model.init,
        encoder,
    )


def make_classifier(settings: Settings, data: TableDataModule) -> Classifier:
    """A network fitted to the training rows, with the way it learns."""
    encoder = make_encoder(settings, data.table.schema)
    n_features = data.table.rows.shape[1] if encoder is None else encoder.n_numeric
    network = make_network(settings, n_features, encoder)
    data.fit(network)
    model = settings.model
    kind = UnrolledClassifier if settings.trainer.unroll_epochs else Classifier
    classifier = kind(
        network,
        data.table.schema,
        optimizer=model.optimizer,
        lr=model.lr,
        weight_decay=model.weight_decay,
        scheduler=model.scheduler.model_dump(),
        pos_weight=positive_weight(model.pos_weight, data),
        seed=settings.seed,
    )
    if settings.diagnosis.enabled:
        classifier.watch = Watch(
            data, settings.diagnosis.every_n_epochs, classifier.hparams["pos_weight"]
        )
    return classifier


def positive_weight(setting: str | float | None, data: TableDataModule) -> float:
    """The loss's weight of positive rows; "balanced" gives both classes the same total."""
    if setting == "balanced":
        positive = data.train_labels.sum().item()
        return (len(data.train_labels) - positive) / positive
    return 1.0 if setting is None else float(setting)


def make_trainer(
    settings: Settings,
    folder: RunFolder,
    draws: bool = False,
    resumed: ResumePoint | None = None,
) -> Trainer:
    """Lightning's trainer, logging and writing checkpoints into the run folder.

    Args:
        draws: whether epochs are drawn too.
        resumed: where the run goes on; None at its beginning.

    Raises:
        UserError: where Lightning refuses an argument: a device that is not there, say.
    """
    callbacks: list[Callback] = []
    if settings.trainer.enable_progress_bar:
        callbacks.append(TrainingProgress())
    if settings.trainer.enable_checkpointing:
        callbacks.append(Checkpoints(folder, settings.checkpoint.every_n_seconds, resumed))
    if settings.early_stopping.patience is not None:
        callbacks.append(
            EarlyStopping(
                "val/loss",
                min_delta=settings.early_stopping.min_delta,
                patience=settings.early_stopping.patience,
                check_on_train_epoch_end=True,
            )
        )
    if draws:
        callbacks.append(Pictures(folder, settings.figures.every_n_epochs))
    return lightning_trainer(
        settings,
        callbacks=callbacks,
        logger=RunFolderLogger(folder),
        default_root_dir=folder.path,
    )


def lightning_trainer(settings: Settings, **own: Any) -> Trainer:
    """`lightning.Trainer` with the arguments of the config, and over them the program's own.

    Raises:
        UserError: where Lightning refuses an argument, or `trainer.unroll_epochs` does.
    """
    arguments: dict[str, Any] = {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **settings.trainer.model_dump(exclude={"unroll_epochs"}),
    }
    if settings.batchnorm and may_be_several(settings.trainer):
        arguments["sync_batchnorm"] = True
    try:
        trainer = Trainer(**{**arguments, **own})
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        raise UserError(f"trainer: {error}") from error
    _check_processes(settings, trainer)
    if settings.trainer.unroll_epochs:
        refuse_steps_apart(trainer)
    return trainer


def _check_processes(settings: Settings, trainer: Trainer) -> None:
    """Refuses what several processes cannot train, or would train wrongly.

    Raises:
        UserError: naming the setting to change.
    """
    asked = trainer.num_devices * trainer.num_nodes
    if by_torchrun() and int(os.environ["WORLD_SIZE"]) != asked:
        raise UserError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, and trainer.devices="
            f"{settings.trainer.devices} on {trainer.num_nodes} node(s) asks for {asked}: "
            "set trainer.devices to torchrun's --nproc-per-node"
        )
    if asked == 1:
        return
    if not isinstance(trainer.strategy, DDPStrategy):
        raise UserError(
            f"trainer.strategy={settings.trainer.strategy}: several devices share the work by "
            "ddp, ddp_fork or ddp_spawn"
        )
    if settings.batchnorm and trainer.strategy.root_device.type == "cpu":
        raise UserError(
            f"BatchNorm over {asked} processes needs GPUs: on the CPU each process would "
            "normalize by its own rows of a batch. Set trainer.devices=1, or choose another "
            "normalization and model.batchnorm=false"
        )
