"""What a ranked sweep says in words: the sentence on top, and what to bear in mind."""

from __future__ import annotations

import math

from normlab.insight.comparison import FEWEST, FEWEST_TO_WIN, Summary
from normlab.insight.settings import as_number, in_order, short_values
from normlab.insight.standing import TARGET_SHARE
from normlab.insight.standings import Standings, Verdict

SPLIT_NAMES = {"test": "test", "val": "validation", "train": "training"}
LEGEND = (
    "Each cell: the median over seeds [its quartiles], below it (the 95 % interval). 'beats the "
    "best other' is the probability, over seeds that both were run with, of the lower final loss "
    "[seeds won; ties count half]; the best other is the first of the others in this order."
)
METHOD = (
    "Intervals: percentile bootstrap for medians; exact (Clopper-Pearson) for shares and "
    "probabilities, since the bootstrap of 6 wins in 6 seeds would be [1, 1], as sure as 600 in "
    f"600. None below {FEWEST} runs; below {FEWEST_TO_WIN} a median's covers less than 95 %."
)


def number(value: float) -> str:
    """Three digits, four where three would round 0.9996 up to 1; unknown is a dash."""
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if 0.1 <= abs(value) < 1 else f"{value:.3g}"


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


def probability(value: float) -> str:
    return f"{value:.2f}"


def loss_name(measure: str) -> str:
    """`test/loss` as "test loss"."""
    split, name = measure.split("/")
    return f"{SPLIT_NAMES[split]} {name}"


def target_name(standings: Standings) -> str:
    if standings.target is not None:
        return f"training loss {number(standings.target)}"
    return f"{percent(TARGET_SHARE)} of the label entropy"


def headline(standings: Standings) -> list[str]:
    """One sentence a task: what won and how surely, or that the runs cannot tell."""
    return [_verdict(verdict, standings) for verdict in standings.verdicts]


def _verdict(verdict: Verdict, standings: Standings) -> str:
    on = f"On {verdict.task}: " if verdict.task else ""
    measure = loss_name(standings.criterion)
    leader, other = verdict.leader, verdict.runner_up
    if leader is None:
        return f"{on}No run has finished yet: nothing to compare."
    ours = leader.measures[standings.criterion]
    if verdict.outcome == "alone" or other is None or leader.duel is None:
        if leader.tries > 1:
            return (
                f"{on}The best of {leader.tries} trials is {leader.own}: median {measure} "
                f"{number(ours.median)}; there is no other strategy to compare it with."
            )
        return (
            f"{on}Only one setting has finished runs, {leader.own}: median {measure} "
            f"{number(ours.median)}; nothing to compare it with."
        )
    theirs = other.measures[standings.criterion]
    medians = (
        f"median {measure} {number(ours.median)} against {number(theirs.median)} of the best "
        f"other, {other.own}"
    )
    wins = leader.duel.wins
    seeds = f"lower in {wins.count:g} of {wins.n} paired seeds"
    interval = f"95 % interval {probability(wins.low)} to {probability(wins.high)}"
    if verdict.outcome == "won":
        return (
            f"{on}{leader.own} won: {medians}; {seeds} (probability "
            f"{probability(wins.value)}, {interval}){_by_how_much(leader.duel.difference)}."
        )
    if verdict.outcome == "unpaired":
        return (
            f"{on}The runs cannot tell: {leader.own} leads ({medians}), but no seed was run "
            "with both; run them with equal seeds."
        )
    at_best = " of each strategy at its best trial" if standings.drawn else ""
    if verdict.outcome == "few":
        return (
            f"{on}The runs cannot tell yet: {leader.own} leads ({medians}; {seeds}), but fewer "
            f"than {FEWEST_TO_WIN} paired seeds never suffice; run more seeds{at_best}."
        )
    return (
        f"{on}The runs cannot tell {leader.own} from {other.own}: {medians}; {seeds} "
        f"(probability {probability(wins.value)}, {interval})."
    )


def _by_how_much(difference: Summary) -> str:
    if not all(map(math.isfinite, (difference.low, difference.median, difference.high))):
        return ""
    return (
        f", by {number(-difference.median)} in the median seed "
        f"({number(-difference.high)} to {number(-difference.low)})"
    )


def notes(standings: Standings) -> list[str]:
    """What the numbers rest on and what they leave out, the gravest first."""
    return [*_about_runs(standings), *_about_tuning(standings), *_about_claims(standings)]


def _about_runs(standings: Standings) -> list[str]:
    sweep, said = standings.sweep, []
    if sweep.unfinished:
        names = [run.name for run in sweep.unfinished]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        said.append(
            f"{len(names)} of {len(sweep.runs)} runs are unfinished (running or failed) and not "
            f"counted: {', '.join(names[:10])}{more}. If they failed, their settings look better "
            "than they are."
        )
    said += sweep.problems[:10]
    if len(sweep.problems) > 10:
        said.append(f"{len(sweep.problems) - 10} more files could not be read.")
    lost = [row.label for row in standings.best if row.nothing.n and row.nothing.value > 0.5]
    if lost:
        said.append(
            f"Most runs learnt nothing (training loss within 2 % of a guess's) with "
            f"{len(lost)} of {len(standings.best)} settings: {_some(lost)}. Such losses differ by "
            "chance alone."
        )
    few = [row.label for row in standings.best if 0 < len(row.finished) < FEWEST]
    if few and len(few) == sum(1 for row in standings.best if row.finished):
        said.append(f"No setting has {FEWEST} finished runs: there are no intervals.")
    elif few:
        said.append(f"Ranked last, for fewer than {FEWEST} finished runs: {_some(few)}.")
    if not standings.criterion.startswith("test") and sweep.finished:
        said.append(
            f"Not every run has a test split: settings are ranked by the "
            f"{loss_name(standings.criterion)}"
            + (", which says nothing about new rows." if "train" in standings.criterion else ".")
        )
    return said


def _about_tuning(standings: Standings) -> list[str]:
    said = []
    names = _tuned(standings)
    if standings.tuned:
        at = f"best {names}" if not standings.drawn else f"best trial of a search over {names}"
        one_run = max(len(row.runs) for row in standings.rows) == 1
        said.append(
            f"Each strategy is shown at its {at}, chosen by the "
            + (
                f"{loss_name(standings.selection)} of one run, which may be luck."
                if one_run
                else f"median {loss_name(standings.selection)} over its seeds."
            )
        )
        if standings.selection.startswith("train"):
            said.append("There is no validation split: that choice was made on training rows.")
        if standings.selection == standings.criterion:
            said.append(
                "The same losses chose it and rank the strategies, which flatters all of them."
            )
        if standings.tries[0] != standings.tries[1]:
            had, of = (
                ("had", "trials") if standings.drawn else ("were tried at", f"values of {names}")
            )
            said.append(
                f"The strategies {had} {standings.tries[0]} to {standings.tries[1]} {of}: "
                "more tries are an advantage."
            )
        edge = [row.label for row in standings.best if row.edge]
        if edge:
            said.append(f"Best at the edge of the values tried, so try beyond: {_some(edge)}.")
    strategies_vary = any(not key.startswith("data.") for key in standings.sweep.keys)
    for key, value in standings.fixed.items():
        if strategies_vary and as_number(value) is not None:
            said.append(
                f"Compared at one {_spoken(key)}, {value}: another "
                f"{'rate' if key == 'model.lr' else 'value'} may rank them differently."
            )
    return said


def _about_claims(standings: Standings) -> list[str]:
    said = []
    if len(standings.verdicts) > 1:
        said.append("Losses on different data are not compared: each has a winner of its own.")
    tasks = [row.task for row in standings.best if row.finished]
    rivals = max((tasks.count(task) for task in set(tasks)), default=0)
    if rivals > 2:
        said.append(
            f"The leader was picked among {rivals} settings by these very runs, and no "
            "interval is corrected for that: confirm a narrow win with new seeds."
        )
    return said


def what_varies(standings: Standings) -> str:
    """The varying keys with their values, and the number of seeds."""
    runs = standings.sweep.runs
    seeds = {run.seeds for run in runs if run.seeds is not None}
    parts = []
    for key in standings.sweep.keys:
        values = [v for v in in_order([run.config.get(key) for run in runs]) if v is not None]
        brief = short_values(values)
        shown = ", ".join(brief[value] for value in values)
        if len(values) > 8:
            shown = f"{brief[values[0]]} to {brief[values[-1]]}, {len(values)} values"
        parts.append(f"{key} ({shown})")
    vary = "; ".join(parts) or "nothing but seeds"
    finished = len(standings.sweep.finished)
    return f"{len(runs)} runs, {finished} finished; seeds: {len(seeds)}; varying: {vary}."


def _spoken(key: str) -> str:
    return "learning rate" if key == "model.lr" else key


def _tuned(standings: Standings) -> str:
    return " and ".join(_spoken(key) for key in standings.tuned)


def _some(labels: list[str], most: int = 3) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return "; ".join(labels[:most]) + more
