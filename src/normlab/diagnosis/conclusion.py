"""A run's entry "diagnosis" in result.json: what it started from, and what became of it."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from normlab.config import Settings
from normlab.data.module import TableDataModule
from normlab.diagnosis.curves import Curves
from normlab.diagnosis.start import Start
from normlab.diagnosis.tags import GRADIENT_NORM, UNITS
from normlab.diagnosis.verdict import Case, Verdict, judge
from normlab.diagnosis.warning import findings, oversized, remedies, warning
from normlab.model.classifier import Classifier


def warning_of(start: Start, model: Classifier) -> str | None:
    """The sentence that the run starts with, if anything is amiss."""
    return warning(start, *_in_use(model))


def conclude(
    start: Start,
    model: Classifier,
    data: TableDataModule,
    curves: Curves,
    final: float,
    guess: float,
    settings: Settings,
) -> dict[str, Any]:
    """Verdict, start and the last values of what was watched, as plain values.

    Args:
        curves: of all epochs.
        final: training loss of the weights that are kept.
        guess: loss of the best model that ignores its input.
        settings: those in force are no advice.
    """
    verdict = _verdict(start, model, data, curves, final, guess, settings)
    return {
        "verdict": verdict.name,
        "reason": verdict.reason,
        "way_out": list(verdict.way_out),
        "warning": warning_of(start, model),
        "start": start.to_dict(),
        "end": dict(curves.watched),
    }


def _verdict(
    start: Start,
    model: Classifier,
    data: TableDataModule,
    curves: Curves,
    final: float,
    guess: float,
    settings: Settings,
) -> Verdict:
    found = findings(start) or oversized(start)
    watched = curves.watched
    return judge(
        Case(
            train=curves.train,
            val=curves.val,
            guess=guess,
            final=final,
            n_val=len(data.split.val),
            lr=float(model.hparams["lr"]),
            rates=curves.rates,
            hidden=model.network.hidden,
            weight_decay=float(model.hparams["weight_decay"]),
            max_epochs=settings.trainer.max_epochs,
            patience=settings.early_stopping.patience,
            remedies=remedies(*_in_use(model)) if found else (),
            inputs=" and ".join(found),
            lost=max((v for tag, v in watched.items() if tag.startswith(UNITS)), default=0.0),
            fault=start.fault,
            reach=_reach(model, data, curves),
        )
    )


def _reach(model: Classifier, data: TableDataModule, curves: Curves) -> float:
    """The farthest that a weight can have gone: Adam's steps are the rate's size at most."""
    n_rows = len(data.split.train)
    steps = math.ceil(n_rows / (data.batch_size or n_rows))
    gradient = max(
        (v for tag, v in curves.watched.items() if tag.startswith(GRADIENT_NORM)), default=1.0
    )
    return sum(curves.rates) * steps * (gradient if model.hparams["optimizer"] == "sgd" else 1.0)


def _in_use(model: Classifier) -> tuple[str, bool]:
    network = model.network
    return network.normalizer.name, not isinstance(network.batchnorm, nn.Identity)
