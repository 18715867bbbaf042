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
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.training.environment import quiet_lightning
from normlab.training.folder import RunFolder
from normlab.training.leftovers import begin
from normlab.training.result import Result
from normlab.training.run import Run, Together
from normlab.training.trainer import make_trainer

if TYPE_CHECKING:
    from lightning import Trainer
    from numpy.typing import ArrayLike

    from normlab.inference.predict import Predictor


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
        trainer: any `lightning.Trainer`, without a logger; None makes the settings' own.

    Raises:
        UserError: where the data cannot be trained on, or the runs cannot train together.
    """
    from normlab.data.load import load_table, split_table
    from normlab.inference.predict import Predictor
    from normlab.training.grouping import sharing_key

    *data, first = given
    if len(data) not in (0, 2) or not isinstance(first, Settings):
        raise UserError("normlab.train takes settings, or rows, labels and settings")
    every = [first, *(runs or ())]
    if len({sharing_key(one) for one in every}) > 1:
        raise UserError("these runs cannot train together: they differ in more than a sweep fuses")
    quiet_lightning()
    given_table = table_of(data[0], data[1]) if data else None  # type: ignore[arg-type]
    tables: dict[str, Table] = {}
    prepared = []
    for i, one in enumerate(every):
        key = repr(one.data)
        table = given_table or tables.get(key) or load_table(one)
        tables[key] = table
        own = None
        if folder is not None:
            own = RunFolder(Path(folder) if len(every) == 1 else Path(folder) / str(i))
            if (own.path / "config.yaml").exists():
                raise UserError(f"{own.path} already holds a run: give another folder")
        prepared.append(Run(one, split_table(one, table), own, f"run {i}"))
    together = Together(prepared)
    quiet = {"enable_progress_bar": False} if trainer is None else {}
    trainer = trainer or make_trainer(first, **quiet)
    for run in prepared:
        if run.folder is not None:
            run.folder.path.mkdir(parents=True, exist_ok=True)
            begin(run.folder, run.settings, run.data.table)
    together.examine()
    results = together.train(trainer)
    models = [
        Predictor(together.network.of_runs([i]), run.data.table.schema)
        for i, run in enumerate(prepared)
    ]
    return Trained(results, models)


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
