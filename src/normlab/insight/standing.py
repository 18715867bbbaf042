"""One setting of a sweep: its runs over the seeds, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from normlab.insight.comparison import (
    FEWEST,
    Duel,
    Share,
    Summary,
    first_at_most,
    learnt_nothing,
    quantile,
    share,
    summarize,
)
from normlab.insight.sweep import Run

TARGET_SHARE = 0.1  # of the label entropy: the default loss to reach
Short = dict[str, dict[str | None, str]]
"""Varying key -> value -> the value in short."""


@dataclass(frozen=True, eq=False)
class Standing:
    """One setting.

    Attributes:
        label: the setting in short: "data=circles, normalization=standardize, lr=0.01".
        own: the label without the data: what tells it from the others of its task.
        values: varying key -> value; None where the setting has no such key.
        task: values of the varying keys that belong to the data.
        runs: all its runs; `finished` those with a result.
        measures: "test/loss", ... -> summary over the finished runs.
        nothing: the share of runs that learnt nothing.
        arrivals: finished run's name -> its first epoch at the target loss, inf for never.
        epochs: the arrivals in short; `reached` the share of runs that got there.
        opponent: the best other setting of the task, None where there is none; `duel` with it.
        tries: how many settings it was chosen from: those that differ in tuned keys alone.
        edge: tuned keys whose best value is the least or the largest of several tried.
    """

    label: str
    own: str
    values: dict[str, str | None]
    task: tuple[str | None, ...]
    runs: tuple[Run, ...]
    finished: tuple[Run, ...]
    measures: dict[str, Summary]
    nothing: Share
    arrivals: dict[str, float]
    epochs: Summary
    reached: Share
    opponent: str | None = None
    duel: Duel | None = None
    tries: int = 1
    edge: tuple[str, ...] = ()


def is_task(key: str) -> bool:
    """Whether the key decides what is to be learnt, so that losses are no longer comparable."""
    return key.startswith("data.") and key != "data.batch_size"


def losses(row: Standing, measure: str) -> list[float]:
    """The measure of each finished run."""
    return [run.finals[measure] for run in row.finished if run.finals and measure in run.finals]


def standing(
    values: dict[str, str | None],
    runs: Sequence[Run],
    names: dict[str, str],
    short: Short,
    measures: Sequence[str],
    target: float | None,
) -> Standing:
    finished = tuple(run for run in runs if run.finals is not None)
    finals = [run.finals for run in finished if run.finals is not None]
    pairs = {
        key: f"{names[key]}={short[key][value]}"
        for key, value in values.items()
        if value is not None
    }
    arrivals = {
        run.name: first_at_most(
            run.curves["train/loss"],
            TARGET_SHARE * run.finals["label_entropy"] if target is None else target,
        )
        for run in finished
        if run.finals and "train/loss" in run.curves
    }
    epochs = list(arrivals.values())
    return Standing(
        label=", ".join(pairs.values()) or "all runs",
        own=", ".join(pair for key, pair in pairs.items() if not is_task(key)) or "all runs",
        values=values,
        task=tuple(value for key, value in values.items() if is_task(key)),
        runs=tuple(runs),
        finished=finished,
        measures={
            name: summarize([final.get(name, np.nan) for final in finals]) for name in measures
        },
        nothing=learnt_nothing(
            [final["train/loss"] for final in finals], [final["guess_loss"] for final in finals]
        ),
        arrivals=arrivals,
        epochs=summarize(epochs),
        reached=share(int(np.sum(np.isfinite(epochs))), len(epochs)),
    )


def order(row: Standing, measure: str) -> tuple[bool, float, str]:
    summary = row.measures[measure]
    median = summary.median if summary.n else np.inf
    return summary.n < FEWEST, median, row.label


def by_seed(row: Standing, measure: str) -> dict[tuple[str, ...], float]:
    """Seed to loss; a seed that was run twice is one try, of the median loss."""
    runs: dict[tuple[str, ...], list[float]] = {}
    for run in row.finished:
        if run.seeds is not None and run.finals is not None:
            runs.setdefault(run.seeds, []).append(run.finals[measure])
    return {seeds: float(quantile(values, 0.5)) for seeds, values in runs.items()}
