"""The settings of a sweep ranked: seeds folded, each at its best learning rate, paired by seed.

- The criterion is the final loss on the test split; where not every run has one, on the
  validation split, else on the training rows.
- Settings are compared on equal data alone: each choice of data is a task with its own winner.
- Within a task the order is by the criterion's median, but that a setting which surely beats the
  one of the lowest median, seed by seed, goes before it. Settings with fewer than FEWEST finished
  runs come last, so that one lucky run is nobody's yardstick. The "best other" setting is the
  first in this order that is not the setting itself.
- Where a tuned key (the learning rate) varies, settings that differ in it alone are one strategy,
  shown at the value with the lowest median validation loss (training loss where there is none).
- Keys that a search has drawn at random, a value of its own for each trial, are tuned keys too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from normlab.insight.comparison import FEWEST_TO_WIN, duel, wins
from normlab.insight.settings import as_number, searched, short_names, short_values
from normlab.insight.standing import Short, Standing, by_seed, is_task, order, standing
from normlab.insight.sweep import SPLITS, Run, Sweep

Outcome = Literal["won", "even", "few", "unpaired", "alone", "empty"]


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a task ends in: `leader` is first in order, `runner_up` next."""

    task: str
    outcome: Outcome
    leader: Standing | None
    runner_up: Standing | None


@dataclass(frozen=True, eq=False)
class Standings:
    """A sweep, ranked.

    Attributes:
        rows: every setting; settings of equal rank in different tasks stand together.
        best: the same with each strategy at its best tuned value; `rows` where none is tuned.
        names: varying key -> short name.
        short: varying key -> value -> the value in short.
        criterion: "test/loss", say: what ranks.
        selection: "val/loss", say: what chose the tuned values.
        tuned: the tuned keys that vary, empty where there is nothing to tune for.
        drawn: those of them that a search has drawn, see `searched`.
        tries: how many settings each strategy was tried at, the least and the most.
        target: the loss to reach; None is TARGET_SHARE of each run's label entropy.
        fixed: tuned keys that do not vary -> their one value.
    """

    sweep: Sweep
    rows: tuple[Standing, ...]
    best: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]
    names: dict[str, str]
    short: Short
    criterion: str
    selection: str
    tuned: tuple[str, ...]
    drawn: tuple[str, ...]
    tries: tuple[int, int]
    target: float | None
    fixed: dict[str, str]


def rank(
    sweep: Sweep, tune: Sequence[str] = ("model.lr",), target: float | None = None
) -> Standings:
    """Ranks the settings of a sweep; `target` is the training loss to reach."""
    keys = sweep.keys
    names = short_names(keys)
    criterion = _loss_of_all(sweep, SPLITS)
    selection = _loss_of_all(sweep, ("val", "train"))
    groups: dict[tuple[str | None, ...], list[Run]] = {}
    for run in sweep.runs:
        groups.setdefault(tuple(run.config.get(key) for key in keys), []).append(run)
    short = {key: short_values([run.config.get(key) for run in sweep.runs]) for key in keys}
    rows = [
        standing(dict(zip(keys, values, strict=True)), runs, names, short, sweep.measures, target)
        for values, runs in groups.items()
    ]

    own = [key for key in keys if not is_task(key)]
    drawn = tuple(k for k in searched([run.config for run in sweep.runs], keys) if k in own)
    tuned = tuple(key for key in own if key in tune or key in drawn)
    if len(tuned) == len(own) and not drawn:
        tuned = ()  # nothing else varies: the tuned values are themselves what is compared
    strategies: dict[tuple[str | None, ...], list[Standing]] = {}
    for row in rows:
        strategy = tuple(value for key, value in row.values.items() if key not in tuned)
        strategies.setdefault(strategy, []).append(row)
    best = [
        _at_its_best(tries, selection, [key for key in tuned if key not in drawn])
        for tries in strategies.values()
    ]
    tries = [len(group) for group in strategies.values()]

    ranked = _with_duels(rows, criterion)
    ranked_best = _with_duels(best, criterion) if tuned else ranked
    one_value = {key: {run.config.get(key) for run in sweep.runs} for key in tune}
    return Standings(
        sweep=sweep,
        rows=ranked,
        best=ranked_best,
        verdicts=_verdicts(ranked_best, names, short),
        names=names,
        short=short,
        criterion=criterion,
        selection=selection,
        tuned=tuned,
        drawn=drawn,
        tries=(min(tries), max(tries)),
        target=target,
        fixed={key: v.pop() or "" for key, v in one_value.items() if len(v) == 1 and None not in v},
    )


def _loss_of_all(sweep: Sweep, splits: Sequence[str]) -> str:
    measures = [f"{split}/loss" for split in splits]
    shared = (m for m in measures if all(run.finals and m in run.finals for run in sweep.finished))
    return next(shared, "train/loss")


def _at_its_best(tries: list[Standing], selection: str, chosen: Sequence[str]) -> Standing:
    best = min(tries, key=lambda row: order(row, selection))
    edge = []
    for key in chosen:
        tried = [as_number(row.values[key]) for row in tries if row.finished]
        numbers = [number for number in tried if number is not None]
        ends = (min(numbers), max(numbers)) if len(set(numbers)) > 2 else ()
        if as_number(best.values[key]) in ends:
            edge.append(key)
    return replace(best, tries=len(tries), edge=tuple(edge))


def _with_duels(rows: Sequence[Standing], criterion: str) -> tuple[Standing, ...]:
    """The rows ranked, each with its duel against the best other row of its task."""
    tasks: dict[tuple[str | None, ...], list[Standing]] = {}
    for row in sorted(rows, key=lambda row: order(row, criterion)):
        tasks.setdefault(row.task, []).append(row)
    ranked = []
    for members in tasks.values():
        seeded = _paired_order([(row, by_seed(row, criterion)) for row in members])
        for place, (row, losses) in enumerate(seeded):
            best_other = next((one for one in seeded[:2] if one[0] is not row), None)
            if best_other is not None and best_other[0].finished:
                other, theirs = best_other
                row = replace(row, opponent=other.label, duel=duel(losses, theirs))
            ranked.append((place, row))
    return tuple(row for _, row in sorted(ranked, key=lambda pair: pair[0]))


_Seeded = tuple[Standing, dict[tuple[str, ...], float]]


def _paired_order(by_median: list[_Seeded]) -> list[_Seeded]:
    """Those that surely beat the first, in an order made alike; the first; the others.

    A median may be the lowest of two although the other setting is lower in nearly every seed.
    So none of the others surely beats the one that comes first in the end: the settings that go
    before the lowest median are compared with one another in the same way.
    """
    if len(by_median) < 2:
        return by_median
    first, *others = by_median
    better = [other for other in others if wins(other[1], first[1]).low > 0.5]
    rest = [other for other in others if other not in better]
    return [*_paired_order(better), first, *rest]


def _verdicts(best: Sequence[Standing], names: dict[str, str], short: Short) -> tuple[Verdict, ...]:
    verdicts = []
    for task in dict.fromkeys(row.task for row in best):
        rows = [row for row in best if row.task == task]
        words = ", ".join(
            f"{names[key]}={short[key][value]}"
            for key, value in rows[0].values.items()
            if is_task(key) and value is not None
        )
        ready = [row for row in rows if row.finished]
        leader, runner_up = (*ready, None, None)[:2]
        verdicts.append(Verdict(words, _outcome(ready), leader, runner_up))
    return tuple(verdicts)


def _outcome(ready: Sequence[Standing]) -> Outcome:
    if not ready:
        return "empty"
    fight = ready[0].duel
    if fight is None:
        return "alone"
    if fight.wins.n == 0:
        return "unpaired"
    if fight.wins.low > 0.5:
        return "won"
    return "few" if fight.wins.n < FEWEST_TO_WIN else "even"
