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

from normlab.diagnosis.trend import fall_of, level_of, smoothed
from normlab.quoting import setting

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
        found = _diverged(case, train) or _overfitting(case, train, val)
        found = found or _still_falling(case, train, val)
        if found is not None:
            return found
    return _stuck(case) if learnt_nothing(case.final, case.guess) else _learnt(case)


def _diverged(case: Case, train: NDArray[np.float64]) -> Verdict | None:
    steps = (_smaller_rate(case), *case.remedies)
    lost = ~np.isfinite(train)
    if lost.any() or not np.isfinite(case.final):
        where = f"in epoch {int(np.argmax(lost)) + 1}" if lost.any() else "after the last epoch"
        return Verdict("diverged", f"the training loss was no number {where}", steps)
    level = level_of(train)
    falling = fall_of(train) > STILL_FALLING * level
    if level > FAR_ABOVE * case.guess and not falling:
        return Verdict(
            "diverged",
            f"the training loss ended at {level:.4g}, far above a guess's {case.guess:.4f}",
            steps,
        )
    best = float(smoothed(train).min())
    if learnt_nothing(level, case.guess) and best < HAD_LEARNT * case.guess:
        return Verdict(
            "diverged",
            f"the training loss had fallen to {best:.4f} and came back to {level:.4f}, a guess's",
            steps,
        )
    return None


def _overfitting(
    case: Case, train: NDArray[np.float64], val: NDArray[np.float64]
) -> Verdict | None:
    if len(val) < 2:
        return None
    smooth = smoothed(val)
    width = len(val) - len(smooth) + 1
    best = int(np.argmin(smooth))
    low, level = float(smooth[best]), level_of(val)
    margin = max(LEAST_RISE, 1 / math.sqrt(max(1, case.n_val)))
    rise = level - low
    at_best = float(train[best : best + width].mean())
    fell = at_best - level_of(train) > LEAST_RISE_OF_GUESS * case.guess
    # Kept weights of a guess from an early epoch: no later one was better on the validation rows.
    never = learnt_nothing(case.final, case.guess) and not learnt_nothing(
        level_of(train), case.guess
    )
    if not never and (rise <= max(margin * low, LEAST_RISE_OF_GUESS * case.guess) or not fell):
        return None
    epoch = best + width // 2 + 1
    reason = (
        f"the validation loss went from {low:.4f} at epoch {epoch} to {level:.4f}, while the "
        f"training loss fell to {level_of(train):.4f}"
    )
    steps = [
        "early_stopping.patience=10",
        "more rows, a smaller net (model.hidden) or model.weight_decay above 0",
    ]
    if learnt_nothing(low, case.guess):
        steps.insert(0, "other features: these may say nothing of the label on new rows")
    return Verdict("overfitting", reason, tuple(steps))


def _still_falling(
    case: Case, train: NDArray[np.float64], val: NDArray[np.float64]
) -> Verdict | None:
    fall = fall_of(train)
    if fall < STILL_FALLING * case.guess:
        return None
    if len(val) and not fall_of(val) >= STILL_FALLING / 2 * case.guess:
        return None  # more epochs would serve the training rows alone
    reason = (
        f"the training loss fell by {fall:.4f} over the last third of the epochs, to "
        f"{level_of(train):.4f}"
    )
    steps = [setting("trainer.max_epochs", 3 * len(train)), *_larger_rate(case), *case.remedies]
    return Verdict("still falling", reason, tuple(steps))


def _larger_rate(case: Case, factor: float = 3) -> list[str]:
    decayed = len(case.rates) and case.rates[-1] < 0.1 * case.lr
    slower = ["model/scheduler=none, for the rate has decayed"] if decayed else []
    larger = [f"a larger rate, such as {_rate(factor * case.lr)}"]
    return [*slower, *larger]


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
        return Verdict("stuck", f"{reason}; {case.inputs}", tuple(case.remedies))
    if case.lost > 0.5:
        reason += f"; {case.lost:.0%} of its hidden units ended {case.fault}"
        return Verdict(
            "stuck", reason, (_smaller_rate(case), "another model.init or model.activation")
        )
    if case.reach < LEAST_REACH:
        reason += f"; at these rates no weight can have moved by more than {case.reach:.2g}"
        more = setting("trainer.max_epochs", 10 * len(case.train))
        return Verdict("stuck", reason, (*_larger_rate(case, 10), more))
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
