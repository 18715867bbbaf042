"""Timing contestants in turns: what else the machine does then falls on all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How many times as long one took as another, in each round.

    Attributes:
        median, low, high: of the rounds.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 0
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


@dataclass(frozen=True)
class Comparison:
    """A line of the table of results.

    Attributes:
        what: over what, "a step at batch 32 / a loop by hand".
        aim: what it was to reach, "at most 2.7".
    """

    what: str
    ratio: Ratio
    aim: str = ""

    def __str__(self) -> str:
        return f"{self.what:62}{self.ratio!s:>20}  {self.aim}"


def markdown(comparisons: Sequence[Comparison]) -> str:
    """The table of results."""
    lines = ["| what | median of the ratios (lowest-highest) | aim |", "| --- | --- | --- |"]
    lines += [f"| {one.what} | {one.ratio} | {one.aim} |" for one in comparisons]
    return "\n".join(lines) + "\n"


def in_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Calls each contestant once a round; what it returns, round by round."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            taken[name].append(contestant())
    return taken


def ratio(numerator: list[float], denominator: list[float]) -> Ratio:
    """Of two contestants' times, each round against the same round."""
    each = [over / under for over, under in zip(numerator, denominator, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def cpu_seconds(work: Callable[[], object]) -> float:
    """The processor time of a call, in all threads, which other processes do not lengthen."""
    started = time.process_time()
    work()
    return time.process_time() - started


def per_unit(work: Callable[[int], object], few: int, many: int, units: int = 1) -> float:
    """The processor time of one more unit of work, without what is done once.

    Args:
        work: does as much as it is told, an amount of epochs for example.
        units: how many units are in one more of that amount, steps of an epoch for example.
    """
    once = cpu_seconds(lambda: work(few))
    return (cpu_seconds(lambda: work(many)) - once) / ((many - few) * units)
