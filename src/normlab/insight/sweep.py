"""A sweep's folder read into plain data, finished or still running.

Whatever a run has left behind is taken; what cannot be read is named in `problems`, so that one
half-written file of a running sweep does not cost the report of all others.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from normlab.errors import UserError
from normlab.insight.settings import SEEDS, Flat, flatten, varying
from normlab.layout import CONFIG, METRICS, RESULT

CURVES = ("train/loss", "val/loss")
SPLITS = ("test", "val", "train")
_MOST_EPOCHS = 10_000_000  # an epoch number above this is a damaged file, not a training
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster


@dataclass(frozen=True, eq=False)
class Run:
    """What one run left behind.

    Attributes:
        name: its folder inside the sweep's.
        config: its settings, see `Flat`.
        curves: "train/loss" and "val/loss" where there are any, float64 (epochs,), entry e - 1
            for epoch e. nan is an epoch without a row, inf a loss that was not a number.
        finals: result.json on one level: "test/loss", "guess_loss", ...; None while the run
            is unfinished. A loss that was not a number is inf, any other such value nan; a split
            that does not exist has no key.
    """

    name: str
    config: Flat
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    finals: dict[str, float] | None = None

    @property
    def seeds(self) -> tuple[str, ...] | None:
        """Runs of two settings with equal seeds are a pair; None where the seed was not fixed."""
        values = tuple(self.config.get(key, "null") for key in SEEDS)
        return None if values[0] == "null" else values


@dataclass(frozen=True, eq=False)
class Sweep:
    """All runs of a sweep, and what varies among them.

    Attributes:
        folder: the sweep's folder.
        runs: in the order of their folders, 2 before 10.
        asked: the section `report` of the first run's settings: what the user wants reported.
        problems: files that could not be read, each with the reason.
    """

    folder: Path
    runs: tuple[Run, ...]
    asked: dict[str, Any]
    problems: tuple[str, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys that vary, without seeds; what follows from a group's name is left out."""
        return varying([run.config for run in self.runs])

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """Of each split the metrics that the results hold: "test/loss", ..."""
        finals = [name for run in self.finished for name in run.finals or ()]
        metrics = [name.partition("/")[2] for name in finals if name.startswith(SPLITS)]
        names = dict.fromkeys(("loss", *metrics))
        return tuple(f"{split}/{name}" for split in SPLITS for name in names)

    @cached_property
    def finished(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.finals is not None)

    @cached_property
    def unfinished(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.finals is None)


def read_sweep(folder: Path) -> Sweep:
    """Reads every run below `folder`: each folder, however deep, with a config.yaml."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: give the folder that a sweep (-m) has written")
    runs, problems, asked = [], [], {}
    for path in sorted(_run_folders(folder), key=lambda path: _natural(path.as_posix())):
        name = path.relative_to(folder).as_posix()
        try:
            config = yaml.load((path / CONFIG).read_bytes(), _Loader)
            if not isinstance(config, dict):
                raise ValueError("holds no settings")
            flat = flatten(config)
        except (OSError, ValueError, yaml.YAMLError) as error:
            problems.append(_problem(name, CONFIG, error, "the run is left out"))
            continue
        if not runs and isinstance(config.get("report"), dict):
            asked = config["report"]
        curves, finals = {}, None
        try:
            curves = _read_curves(path / METRICS)
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            problems.append(_problem(name, METRICS, error, "its curve is left out"))
        try:
            finals = _read_finals(path / RESULT)
        except (OSError, ValueError, TypeError, KeyError) as error:
            problems.append(_problem(name, RESULT, error, "the run counts as unfinished"))
        runs.append(Run(name, flat, curves, finals))
    if not runs:
        single = (folder / CONFIG).is_file() and not problems
        raise UserError(
            f"{folder} is the folder of a single run: give the folder of a sweep, one above it"
            if single
            else "\n".join(
                [f"no run in {folder}: a run is a folder with a readable config.yaml", *problems]
            )
        )
    return Sweep(folder, tuple(runs), asked, tuple(problems))


def _run_folders(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder):
        # Hydra keeps a config.yaml of its own in each run's `.hydra`.
        folders[:] = [name for name in folders if not name.startswith(".")]
        if CONFIG in files and Path(path) != folder:
            yield Path(path)


def _natural(name: str) -> list[tuple[str, int]]:
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def _problem(run: str, file: str, error: Exception, consequence: str) -> str:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return f"{run}/{file}: {reason[0]} ({consequence})"


def _read_curves(path: Path) -> dict[str, NDArray[np.float64]]:
    if not path.exists():
        return {}
    text = path.read_bytes()
    text = text[: text.rfind(b"\n") + 1]  # a running job may be amid a line: leave that line out
    header, _, rows = text.partition(b"\n")
    if not rows.strip():
        return {}
    columns = [name for name in ("epoch", *CURVES) if name in header.decode().strip().split(",")]
    if "epoch" not in columns:
        raise ValueError("has no column 'epoch'")
    frame = pl.read_csv(text, columns=columns, schema_overrides=dict.fromkeys(columns, pl.Float64))
    epochs = frame["epoch"].to_numpy()
    if not np.all((epochs >= 1) & (epochs <= _MOST_EPOCHS) & (epochs == np.floor(epochs))):
        raise ValueError("has an epoch that is no whole number of 1 or more")
    where = epochs.astype(np.int64) - 1
    curves = {}
    for name in columns[1:]:
        if name != "train/loss" and frame[name].null_count() == len(frame):
            continue  # the column of a split that does not exist
        curve = np.full(where.max() + 1, np.nan)
        curve[where] = np.nan_to_num(frame[name].to_numpy(), nan=np.inf, posinf=np.inf)
        curves[name] = curve
    return curves


def _read_finals(path: Path) -> dict[str, float] | None:
    if not path.exists():
        return None
    result = json.loads(path.read_bytes())
    finals = {}
    for split in ("train", "val", "test"):
        if split == "train" or result.get(split) is not None:
            for name in dict.fromkeys(("loss", *result[split])):  # without a loss it is damaged
                value = _number(result[split][name])
                lost = name == "loss" and math.isnan(value)
                finals[f"{split}/{name}"] = math.inf if lost else value
    for name in ("label_entropy", "epochs", "seconds", "rows_per_second"):
        finals[name] = _number(result[name] if name == "label_entropy" else result.get(name))
    finals["guess_loss"] = _number(result.get("guess_loss", result["label_entropy"]))
    return finals


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return float(value)
