"""The ranked settings as tables of text cells, which terminal, Markdown and HTML all show.

Two tables, for one would be too wide to read: how the settings compare, and the other measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from normlab.insight.comparison import FEWEST, Share, Summary
from normlab.insight.standing import Standing
from normlab.insight.standings import Standings
from normlab.insight.words import loss_name, number, percent, probability, target_name


@dataclass(frozen=True)
class Cell:
    """A figure, its spread, and its 95 % interval; empty text where there is none."""

    main: str
    spread: str = ""
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """`n_settings` columns that name a row, then its figures."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_settings: int


def tables(standings: Standings, rows: Sequence[Standing]) -> tuple[Table, Table]:
    """The comparison of the rows, and their other measures; the rows of a task together."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    rows = sorted(rows, key=lambda row: tasks.index(row.task))
    keys = standings.sweep.keys
    values = standings.short
    heads = tuple(standings.names[key] for key in keys) or ("setting",)
    leads = [
        tuple(Cell(values[key][row.values[key]] or "-") for key in keys) or (Cell(row.label),)
        for row in rows
    ]
    criterion = standings.criterion
    contest = [
        (
            *lead,
            _runs(row),
            _share(row.nothing),
            _measure(row.measures[criterion]),
            _epochs(row),
            _wins(row),
        )
        for lead, row in zip(leads, rows, strict=True)
    ]
    splits = (criterion.split("/")[0], "train")
    others = [
        name
        for name in standings.rows[0].measures
        if name != criterion and name.split("/")[0] in splits and _known(name, rows)
    ]
    measures = [
        (*lead, *(_measure(row.measures[name]) for name in others))
        for lead, row in zip(leads, rows, strict=True)
    ]
    head = ("runs", "learnt nothing", loss_name(criterion))
    target = f"epochs to {target_name(standings)}"
    return (
        Table(
            "Comparison",
            (*heads, *head, target, "beats the best other"),
            tuple(contest),
            len(heads),
        ),
        Table(
            "Other measures",
            (*heads, *(loss_name(name) for name in others)),
            tuple(measures),
            len(heads),
        ),
    )


def _known(measure: str, rows: Sequence[Standing]) -> bool:
    return any(row.measures[measure].n for row in rows)


def _runs(row: Standing) -> Cell:
    unfinished = len(row.runs) - len(row.finished)
    spread = [f"+{unfinished} unfinished"] if unfinished else []
    spread += [f"[best of {row.tries}]"] if row.tries > 1 else []
    return Cell(str(len(row.finished)), " ".join(spread))


def _share(value: Share) -> Cell:
    if math.isnan(value.low):
        return Cell(percent(value.value))
    return Cell(percent(value.value), "", f"({percent(value.low)} to {percent(value.high)})")


def _measure(value: Summary) -> Cell:
    if value.n == 0:
        return Cell("-")
    spread = f"[{number(value.q1)}, {number(value.q3)}]"
    return Cell(number(value.median), spread if value.n > 1 else "", _interval(value))


def _interval(value: Summary) -> str:
    return f"({number(value.low)} to {number(value.high)})" if value.n >= FEWEST else ""


def _epochs(row: Standing) -> Cell:
    if row.epochs.n == 0:
        return Cell("-")
    reached = f"{row.reached.count:g} of {row.reached.n} did"
    if math.isinf(row.epochs.median):
        return Cell("never", f"[{reached}]")
    spread = ", ".join(_epoch(value) for value in (row.epochs.q1, row.epochs.q3))
    missed = f"; {reached}" if row.reached.count < row.reached.n else ""
    ends = (_epoch(row.epochs.low), _epoch(row.epochs.high))
    return Cell(
        _epoch(row.epochs.median),
        f"[{spread}{missed}]" if row.epochs.n > 1 else "",
        f"({ends[0]} to {ends[1]})" if row.epochs.n >= FEWEST else "",
    )


def _epoch(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


def _wins(row: Standing) -> Cell:
    if row.opponent is None or row.duel is None:
        return Cell("-")
    wins = row.duel.wins
    if wins.n == 0:
        return Cell("-", "[no equal seeds]")
    interval = ""
    if wins.n >= FEWEST:
        interval = f"({probability(wins.low)} to {probability(wins.high)})"
    return Cell(probability(wins.value), f"[{wins.count:g} of {wins.n}]", interval)
