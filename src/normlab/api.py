"""Training from Python: without Hydra, and without files unless given a folder.

import normlab
settings = normlab.settings("data=circles", "model.lr=0.1", seed=3)
trained = normlab.train(settings)
trained.results[0].val["loss"]
trained.models[0].predict_proba(rows)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from normlab.config import Settings
from normlab.config.changes import OF_NO_FIGURE, changed
from normlab.data.load import split_table, stays_on_disk
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.inference.predict import Predictor
from normlab.layout import CONFIG
from normlab.training.environment import quiet_lightning
from normlab.training.folder import RunFolder
from normlab.training.grouping import MAY_DIFFER, sharing_key, why_apart
from normlab.training.leftovers import begin
from normlab.training.plan import Tables, trainer_for
from normlab.training.result import Result
from normlab.training.run import Run, Together

if TYPE_CHECKING:
    from lightning import Trainer
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Trained:
    """What `train` gives, in the order of the runs.

    Attributes:
        results: the figures of each run.
        models: of each run, with its best weights.
    """

    results: list[Result]
    models: list[Predictor]


def train(
    *given: Settings | ArrayLike,
    runs: Sequence[Settings] | None = None,
    folder: str | Path | None = None,
    trainer: Trainer | None = None,
) -> Trained:
    """Trains runs, together where there are several, and writes nothing unless given a folder.

    - `train(settings)` trains on the data that the settings name;
    - `train(rows, labels, settings)` on rows (n, features) of numbers and labels (n,) of two
      values, of which the larger is class 1.

    Args:
        runs: the settings of further runs, which may differ in what a sweep may fuse: seeds,
            learning rates, schedules, affine normalizations.
        folder: where the run's files go, as `python train.py hydra.run.dir=FOLDER` leaves them;
            of several runs into numbered folders within. It must not hold a run.
        trainer: any `lightning.Trainer` without a logger, which takes an epoch step by step; None
            makes the settings' own, which is faster for small networks.

    Raises:
        UserError: where the data cannot be trained on, or the runs cannot train together.
    """
    *rows, first = given
    if len(rows) not in (0, 2) or not isinstance(first, Settings):
        raise UserError("normlab.train takes settings, or rows, labels and settings")
    quiet_lightning()
    every, tables = [first, *(runs or ())], Tables()
    table = table_of(rows[0], rows[1]) if rows else None  # type: ignore[arg-type]
    prepared = [
        Run(
            one,
            tables.split(one) if table is None else split_table(one, table),
            None if folder is None else RunFolder(Path(folder, *([str(i)] if runs else []))),
            f"run {i}",
        )
        for i, one in enumerate(every)
    ]
    for run in prepared:
        refuse_to_share(prepared[0], run)
        if run.folder is not None and (run.folder.path / CONFIG).exists():
            raise UserError(f"{run.folder.path} already holds a run: give another folder")
    if trainer is not None and runs and (trainer.gradient_clip_val or trainer.world_size > 1):
        raise UserError("a Trainer that clips gradients, or of several processes, trains one run")
    together = Together(prepared)
    if trainer is None:
        trainer = trainer_for(first, folder, enable_progress_bar=False)
    else:  # whatever it is to do at each step
        together.data.at_once = False
    for run in prepared:
        if run.folder is not None:
            run.folder.path.mkdir(parents=True, exist_ok=True)
            begin(run.folder, run.settings, run.data.table)
    together.examine()
    results = together.train(trainer)
    networks = [together.network.of_runs([i]) for i in range(len(prepared))]
    models = [
        Predictor(network, run.data.table.schema)
        for network, run in zip(networks, prepared, strict=True)
    ]
    return Trained(results, models)


def refuse_to_share(one: Run, other: Run) -> None:
    """Refuses runs that cannot be one network's.

    Raises:
        UserError: naming what keeps them apart.
    """
    if one is other:
        return
    for settings in (one.settings, other.settings):
        reason = why_apart(settings) or (stays_on_disk(settings) and "its table stays on disk")
        if reason:
            raise UserError(f"{other.name} cannot train together with {one.name}: {reason}")
    if sharing_key(one.settings) != sharing_key(other.settings):
        ignored = (*OF_NO_FIGURE, *MAY_DIFFER)
        keys = changed(one.settings.to_dict(), other.settings.to_dict(), ignored)
        raise UserError(f"{other.name} cannot train together with {one.name}: {', '.join(keys)}")
    sizes = [
        [len(part) for part in (run.data.split.train, run.data.split.val, run.data.split.test)]
        for run in (one, other)
    ]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{other.name} cannot train together with {one.name}: their parts for training, "
            f"validation and test have {sizes[1]} and {sizes[0]} rows"
        )


def table_of(rows: ArrayLike, labels: ArrayLike) -> Table:
    """Rows (n, features) of numbers and labels (n,) of two values, as a table.

    Raises:
        UserError: where the shapes do not fit, a number is not finite, or there are not two labels.
    """
    array, given = np.asarray(rows, dtype=np.float32), np.asarray(labels)
    if array.ndim != 2 or given.shape != (len(array),):
        raise UserError(f"rows must be (n, features), labels (n,): {array.shape}, {given.shape}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise UserError(f"row {row}, column {column}: {array[row, column]} is no finite number")
    classes = np.unique(given)
    if len(classes) != 2:
        raise UserError(f"the labels must have two values, and have {len(classes)}")
    names = tuple(f"x{i}" for i in range(array.shape[1]))
    values = tuple(classes.tolist())
    schema = Schema(names, "label", (values[0], values[1]))
    return Table(
        np.ascontiguousarray(array), (given == classes[1]).astype(np.float32), schema, "rows"
    )
