"""After training: whether a run has learnt, and if not why, from its losses alone.

Thresholds are shares of the guess's loss, the most that there is to gain, and are explained in
docs/diagnosis.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from normlab.config.typed import setting
from normlab.diagnosis.trend import fall_of, falls_throughout, level_of, smoothed

# Within 2 % of a guess's loss nothing is learnt: below, and a few hundred rows' chance fit of a
# line explains as much. A gain of the same size over the last third of a training is still a gain.
NOTHING = 0.02
STILL_FALLING = 0.02
FAR_ABOVE = 2.0  # guesses' losses: no untrained net's loss stays there
HAD_LEARNT = 0.8  # of a guess's loss: who was below and is back at it has lost what it had learnt
# The relative standard error of a mean loss over n rows is about 1 / sqrt(n), since losses of rows
# spread about as widely as their mean. A rise of the validation loss by less may be chance; by
# less than 5 % it is of no account, nor is one by less than a hundredth of a guess's loss.
LEAST_RISE = 0.05
LEAST_RISE_OF_GUESS = 0.01
# First weights are of size 1 at most: where no weight can have gone so far, the rate or the number
# of steps is what was wanting.
LEAST_REACH = 1.0


@dataclass(frozen=True)
class Verdict:
    """What became of a run.

    Attributes:
        name: "learnt", "still falling", "stuck", "diverged" or "overfitting".
        reason: in a sentence, with its figures.
        way_out: steps to try, the likeliest first; none where it has learnt.
    """

    name: str
    reason: str
    way_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """What a verdict is spoken on.

    Attributes:
        train, val: losses of the epochs; `val` is empty where nothing is held out.
        guess: loss of the best model that ignores its input.
        final: training loss of the weights that are kept.
        n_val: rows held out for validation.
        lr, rates: the learning rate as it was set, and that of each epoch.
        hidden, weight_decay, max_epochs, patience: settings, so that no step is one in force.
        remedies: what mends the inputs; empty where nothing is wrong with them.
        inputs: what is wrong with them, in words.
        lost: share of hidden units that were lost at the end; `fault` in which way.
        reach: the farthest that a weight can have gone; nan is unknown.
    """

    train: Sequence[float]
    val: Sequence[float]
    guess: float
    final: float
    n_val: int = 0
    lr: float = 0.01
    rates: Sequence[float] = ()
    hidden: Sequence[int] = (8,)
    weight_decay: float = 0.0
    max_epochs: int = 0
    patience: int | None = None
    remedies: Sequence[str] = field(default=())
    inputs: str = ""
    lost: float = 0.0
    fault: str = "saturated"
    reach: float = math.nan


def learnt_nothing(loss: float, guess: float) -> bool:
    """Whether a training loss is a guess's, or above it."""
    return not loss < (1 - NOTHING) * guess


def judge(case: Case) -> Verdict:
    """The first of the verdicts that fits: diverged, overfitting, still falling, stuck, learnt."""
    train, val = np.asarray(case.train), np.asarray(case.val)
    if len(val) != len(train) or not np.isfinite(val).all():  # not validated in every epoch
        val = val[:0]
    if len(train):
        found = _lost(case, train) or _overfitting(case, train, val)
        found = found or _still_falling(case, train, val) or _far_above(case, train)
        if found is not None:
            return found
    return _stuck(case) if learnt_nothing(case.final, case.guess) else _learnt(case)


def _lost(case: Case, train: NDArray[np.float64]) -> Verdict | None:
    lost = ~np.isfinite(train)
    if lost.any() or not np.isfinite(case.final):
        where = f"in epoch {int(np.argmax(lost)) + 1}" if lost.any() else "after the last epoch"
        return _diverged(case, f"the training loss was no number {where}")
    level, best = level_of(train), float(smoothed(train).min())
    if learnt_nothing(level, case.guess) and best < HAD_LEARNT * case.guess:
        return _diverged(
            case,
            f"the training loss had fallen to {best:.4f} and came back to {level:.4f}, no better "
            f"than a guess's {case.guess:.4f}",
        )
    return None


def _far_above(case: Case, train: NDArray[np.float64]) -> Verdict | None:
    level = level_of(train)
    if level <= FAR_ABOVE * case.guess:
        return None
    return _diverged(
        case, f"the training loss ended at {level:,.2f}, far above a guess's {case.guess:.4f}"
    )


def _diverged(case: Case, reason: str) -> Verdict:
    """Of inputs whose scale is amiss, or of a rate that is too large."""
    steps = (*case.remedies, _smaller_rate(case))
    return Verdict("diverged", f"{reason}{_because(case)}", steps)


def _because(case: Case) -> str:
    return f"; {case.inputs}" if case.inputs else ""


def _overfitting(
    case: Case, train: NDArray[np.float64], val: NDArray[np.float64]
) -> Verdict | None:
    if len(val) < 2 or learnt_nothing(level_of(train), case.guess):
        return None  # who is no better than a guess on the training rows has not learnt them
    smooth = smoothed(val)
    width = len(val) - len(smooth) + 1
    best = int(np.argmin(smooth))
    low, level = float(smooth[best]), level_of(val)
    margin = max(LEAST_RISE, 1 / math.sqrt(max(1, case.n_val)))
    rise = level - low
    at_best = float(train[best : best + width].mean())
    fell = at_best - level_of(train) > LEAST_RISE_OF_GUESS * case.guess
    # Kept weights of a guess from an early epoch: no later one was better on the validation rows.
    never = learnt_nothing(case.final, case.guess)
    if not never and (rise <= max(margin * low, LEAST_RISE_OF_GUESS * case.guess) or not fell):
        return None
    epoch = best + width // 2 + 1
    reason = (
        f"the validation loss went from {low:.4f} at epoch {epoch} to {level:.4f}, while the "
        f"training loss fell to {level_of(train):.4f}"
    )
    steps = []
    if learnt_nothing(low, case.guess):
        steps.append("other features: these may say nothing of the label on new rows")
    if case.patience is None:
        steps.append("early_stopping.patience=10")
    smaller = ", a smaller net (model.hidden)" if case.hidden else ""
    decay = "a larger model.weight_decay" if case.weight_decay else "model.weight_decay above 0"
    steps.append(f"more rows{smaller} or {decay}")
    return Verdict("overfitting", reason, tuple(steps))


def _still_falling(
    case: Case, train: NDArray[np.float64], val: NDArray[np.float64]
) -> Verdict | None:
    fall, level = fall_of(train), level_of(train)
    far = level > FAR_ABOVE * case.guess
    least = STILL_FALLING * (level if far else case.guess)
    if fall < least or (far and not falls_throughout(train)):
        return None
    if len(val) and not fall_of(val) >= least / 2:
        return None  # more epochs would serve the training rows alone
    reason = (
        f"the training loss fell by {fall:.4f} over the last third of the epochs, to {level:.4f}"
    )
    longer = _longer(case, 3)
    if far:  # what it gains by more epochs is nothing to what suitable inputs would give
        return Verdict("still falling", f"{reason}{_because(case)}", (*case.remedies, *longer))
    return Verdict("still falling", reason, (*longer, *_larger_rate(case), *case.remedies))


def _larger_rate(case: Case, factor: float = 3) -> list[str]:
    decayed = len(case.rates) and case.rates[-1] < 0.1 * case.lr
    slower = ["model/scheduler=none, for the rate has decayed"] if decayed else []
    larger = [f"a larger rate, such as {_rate(factor * case.lr)}"]
    return [*slower, *larger]


def _longer(case: Case, factor: int) -> list[str]:
    """More epochs, or more patience where it was that which ended the training."""
    if len(case.train) >= case.max_epochs:
        return [setting("trainer.max_epochs", factor * len(case.train))]
    waits = case.patience
    return [] if waits is None else [setting("early_stopping.patience", factor * waits)]


def _smaller_rate(case: Case) -> str:
    return f"a smaller rate, such as {_rate(case.lr / 10)}"


def _rate(value: float) -> str:
    return setting("model.lr", float(f"{value:.3g}"))


def _stuck(case: Case) -> Verdict:
    reason = (
        f"the training loss {case.final:.4f} is no better than a guess's, {case.guess:.4f}: the "
        "net ignores its input"
    )
    if case.inputs:
        return Verdict("stuck", f"{reason}{_because(case)}", tuple(case.remedies))
    if case.lost > 0.5:
        reason += f"; {case.lost:.0%} of its hidden units ended {case.fault}"
        return Verdict(
            "stuck", reason, (_smaller_rate(case), "another model.init or model.activation")
        )
    if case.reach < LEAST_REACH:
        reason += f"; at these rates no weight can have moved by more than {case.reach:.2g}"
        return Verdict("stuck", reason, (*_larger_rate(case, 10), *_longer(case, 10)))
    return Verdict(
        "stuck",
        reason,
        (
            "other features: these may say nothing of the label",
            *_larger_rate(case),
            "a wider net (model.hidden)",
        ),
    )


def counted(names: Iterable[str]) -> str:
    """Verdicts of many runs in short: "3 stuck, 1 learnt"."""
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())


def _learnt(case: Case) -> Verdict:
    skill = 1 - case.final / case.guess
    return Verdict(
        "learnt",
        f"the training loss {case.final:.4f} is {skill:.0%} below that of a guess, "
        f"{case.guess:.4f}",
    )
