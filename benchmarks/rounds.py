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
        return f"{short(self.median)} ({short(self.low)}-{short(self.high)})"


@dataclass(frozen=True)
class Comparison:
    """What normlab takes, over what a peer takes for the same work.

    Attributes:
        what: is done, "a step at batch 32".
        peer: over what, "a loop by hand".
        ratio: how many times as long, or what else `what` says.
        aim: the most that it was to be; None where nothing was asked.
    """

    what: str
    peer: str
    ratio: Ratio
    aim: float | None = None

    @property
    def met(self) -> bool:
        return self.aim is None or self.ratio.median <= self.aim

    def __str__(self) -> str:
        aim = "" if self.aim is None else f"at most {short(self.aim)}"
        return f"{f'{self.what} / {self.peer}':78}{self.ratio!s:>20}  {aim}"


def short(value: float) -> str:
    """A figure in three digits."""
    return f"{value:.3g}"


def in_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Calls each contestant once a round; what it returns, round by round."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            taken[name].append(contestant())
    return taken


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Ratio:
    """Of two contestants' times, each round against the same round."""
    return spread([over / under for over, under in zip(numerator, denominator, strict=True)])


def spread(values: Sequence[float]) -> Ratio:
    """Of one figure of each round."""
    return Ratio(statistics.median(values), min(values), max(values))


def wall_seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


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
