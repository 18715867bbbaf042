"""The sentence that a run starts with where its inputs will keep it from learning.

Thresholds come from a measured sweep: see docs/diagnosis.md.
"""

from __future__ import annotations

import math

from normlab.diagnosis.start import Start
from normlab.diagnosis.units import LARGE

FAR_APART = 100.0  # ratio of the largest to the smallest standard deviation
FAR_FROM_ZERO = 5.0  # standard deviations between a feature's mean and 0
MOST_SATURATED = 0.5  # of a layer's units
ALL_DEAD = 0.9  # of a layer's units: relu learns from a few, and a third start dead on [0, 1]
STANDARDIZE, BATCHNORM = "normalization=standardize", "model.batchnorm=true"


def findings(start: Start) -> list[str]:
    """A clause for each measure beyond its threshold, with the number and the feature."""
    found = []
    named = {o: n for n, o in zip(start.features, start.offsets, strict=True) if o == o}
    if named and max(named) > FAR_FROM_ZERO:
        farthest = max(named)
        found.append(
            f"inputs sit {farthest:.0f} standard deviations from zero ({named[farthest]!r})"
        )
    if start.scale_ratio > FAR_APART:
        scales = {s: n for n, s in zip(start.features, start.scales, strict=True) if s > 0}
        wide, narrow = scales[max(scales)], scales[min(scales)]
        found.append(
            f"the scales of {wide!r} and {narrow!r} lie {start.scale_ratio:,.0f} times apart"
        )
    limit = MOST_SATURATED if start.fault == "saturated" else ALL_DEAD
    worst = max(start.lost, default=0.0)
    if worst > limit:
        layer = start.lost.index(worst)
        of_layer = f" of layer {layer + 1}" if len(start.hidden) > 1 else ""
        n_units = start.hidden[layer]
        found.append(
            f"{round(worst * n_units)} of {n_units} hidden units{of_layer} start {start.fault}"
        )
    return found


def oversized(start: Start) -> list[str]:
    """A clause on inputs of a large scale: what a loss far above a guess's comes from."""
    scales = dict(zip(start.features, start.scales, strict=True))
    name = max(scales, key=scales.__getitem__, default="")
    if not name or scales[name] <= LARGE:
        return []
    return [f"the first layer sees {name!r} with a standard deviation of {scales[name]:.3g}"]


def gravity(start: Start) -> float:
    """How far the worst measure is beyond its threshold, to choose one run of many."""
    offsets = [offset for offset in start.offsets if not math.isnan(offset)]
    return max(max(offsets, default=0.0) / FAR_FROM_ZERO, start.scale_ratio / FAR_APART)


def warning(start: Start, normalization: str, batchnorm: bool) -> str | None:
    """One sentence: what is wrong, where, and the way out; None where nothing is.

    Args:
        normalization: the strategy in use.
        batchnorm: whether BatchNorm is the first layer.
    """
    found = findings(start)
    if not found:
        return None
    *others, last = found
    joined = f"{', '.join(others)} and {last}" if others else last
    return f"{joined}: {' or '.join(remedies(normalization, batchnorm))} mends it"


def remedies(normalization: str, batchnorm: bool) -> list[str]:
    """Settings that bring the inputs to zero and to one scale, but for those in use."""
    ways = [] if normalization == "standardize" else [STANDARDIZE]
    ways += [] if batchnorm else [BATCHNORM]
    return ways or ["another model.init", "another model.activation"]


def summed_up(warnings: list[tuple[Start, str, str]], n_runs: int) -> str | None:
    """One line for the runs of a stack.

    Args:
        warnings: start, name and sentence of each run that has one.
    """
    if not warnings:
        return None
    _, name, sentence = max(warnings, key=lambda one: gravity(one[0]))
    return f"{len(warnings)} of {n_runs} runs start from unsuitable inputs, as {name}: {sentence}"
