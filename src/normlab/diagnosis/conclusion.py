"""A run's entry "diagnosis" in result.json: what it started from, and what became of it."""

from __future__ import annotations

import math
from typing import Any

from normlab.config import Settings
from normlab.diagnosis.curves import Curves
from normlab.diagnosis.start import Start
from normlab.diagnosis.tags import GRADIENT_NORM, UNITS
from normlab.diagnosis.verdict import Case, judge
from normlab.diagnosis.warning import findings, oversized, remedies, warning


def conclude(
    start: Start,
    curves: Curves,
    settings: Settings,
    normalization: str,
    guess: float,
    *,
    n_train: int,
    n_val: int,
    final: float,
) -> dict[str, Any]:
    """Verdict, start and the last values of what was watched, as plain values.

    Args:
        curves: of all epochs.
        guess: loss of the best model that ignores its input.
        n_train, n_val: rows that it trained on, and that were held out for validation.
        final: training loss of the weights that are kept.
    """
    found = findings(start) or oversized(start)
    watched = curves.watched
    in_use = normalization, settings.batchnorm
    verdict = judge(
        Case(
            train=curves.train,
            val=curves.val,
            guess=guess,
            final=final,
            n_val=n_val,
            lr=settings.model.lr,
            rates=curves.rates,
            remedies=remedies(*in_use) if found else (),
            inputs=" and ".join(found),
            lost=max((v for tag, v in watched.items() if tag.startswith(UNITS)), default=0.0),
            fault=start.fault,
            reach=_reach(settings, curves, n_train),
            hidden=settings.model.hidden,
            weight_decay=settings.model.weight_decay,
            max_epochs=settings.trainer.max_epochs,
            patience=settings.early_stopping.patience,
        )
    )
    return {
        "verdict": verdict.name,
        "reason": verdict.reason,
        "way_out": list(verdict.way_out),
        "warning": warning(start, *in_use),
        "start": start.to_dict(),
        "end": dict(watched),
    }


def _reach(settings: Settings, curves: Curves, n_train: int) -> float:
    """The farthest that a weight can have gone: Adam's steps are the rate's size at most."""
    steps = math.ceil(n_train / (settings.data.batch_size or n_train))
    norms = (v for tag, v in curves.watched.items() if tag.startswith(GRADIENT_NORM))
    gradient = max(norms, default=1.0) if settings.model.optimizer == "sgd" else 1.0
    return sum(curves.rates) * steps * gradient
