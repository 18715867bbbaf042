"""What varies among the runs of a sweep, under names short enough for a table and a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from normlab.insight.comparison import FEWEST

Flat = dict[str, str]
"""A configuration as dotted key -> value written as in an override: `{"model.lr": "0.01"}`."""

SEEDS = ("seed", "data.seed")  # runs that differ in these alone are one setting, tried again
# What is written, drawn, shown, kept.
_TRAINS_NOTHING = ("report.", "figures.", "checkpoint.", "trainer.enable_")
_FEWEST_TRIALS = 8  # of a search; fewer are a choice of values that a user has typed
_NEARLY_ALL = 0.8


def flatten(config: Mapping[str, Any], prefix: str = "") -> Flat:
    """Dotted keys to text; a list is one value, for `hidden=[4, 8]` is one choice."""
    flat: Flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = as_text(value)
    return flat


def as_text(value: object) -> str:
    """The value as a user writes it in an override: true, null, 0.01, [4, 8]."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(as_text(item) for item in value) + "]"
    return str(value)


def as_number(value: str | None) -> float | None:
    """The value as a finite number, or None where it is none."""
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def in_order(values: Sequence[str | None]) -> list[str | None]:
    """Distinct values: numbers by size, then words by the alphabet, then what has no value."""

    def position(value: str | None) -> tuple[int, float, str]:
        number = as_number(value)
        if number is not None:
            return 0, number, ""
        return (2, 0.0, "") if value is None else (1, 0.0, value)

    return sorted(set(values), key=position)


def varying(configs: Sequence[Flat]) -> tuple[str, ...]:
    """The keys whose value differs among the configurations, without seeds.

    Where a group's `name` varies, those of the group's keys that follow from the name are left
    out: they say nothing more than the name does.
    """
    keys = dict.fromkeys(key for config in configs for key in config)
    vary = [
        key
        for key in keys
        if key not in SEEDS
        and not key.startswith(_TRAINS_NOTHING)
        and len({config.get(key) for config in configs}) > 1
    ]
    folded = set()
    for name in vary:
        group = name.removesuffix("name")
        if group == name or not group.endswith("."):
            continue
        for key in vary:
            if key != name and key.startswith(group):
                pairs = {(config.get(name), config.get(key)) for config in configs}
                if len(pairs) == len({value for value, _ in pairs}):
                    folded.add(key)
    return tuple(key for key in vary if key not in folded)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest end of each key that no other key shares: `model.lr` is `lr`.

    `normalization.name` is `normalization`.
    """
    paths = {key: key.removesuffix(".name").split(".") for key in keys}
    names = {}
    for key, path in paths.items():
        others = [other for name, other in paths.items() if name != key]
        length = 1
        while length < len(path) and any(path[-length:] == other[-length:] for other in others):
            length += 1
        names[key] = ".".join(path[-length:])
    if len(set(names.values())) < len(names):  # `normalization` beside `normalization.name`
        return {key: key for key in keys}
    return names


def short_values(values: Sequence[str | None]) -> dict[str | None, str]:
    """Values for the eye: 4 significant digits, more only where these would not tell two apart."""
    brief = {value: _rounded(value, 4) for value in set(values)}
    for digits in range(5, 18):
        shown = list(brief.values())
        alike = [value for value, text in brief.items() if shown.count(text) > 1]
        if not alike:
            return brief
        brief |= {value: _rounded(value, digits) for value in alike}
    return {value: value or "" for value in brief}


def _rounded(value: str | None, digits: int) -> str:
    number = as_number(value)
    if value is None or number is None or not set(value) & set(".e"):  # whole numbers in full
        return value or ""
    return min(value, f"{number:.{digits}g}", key=len)


def searched(configs: Sequence[Flat], keys: Sequence[str]) -> tuple[str, ...]:
    """The keys that a search has drawn at random: each trial has numbers of its own.

    That is where nearly all trials (the runs of equal `keys`) differ in a number, and none is run
    often enough for an interval. Compared as they stand, they would be settings of one run each.
    """
    trials: dict[tuple[str | None, ...], int] = {}
    for config in configs:
        values = tuple(config.get(key) for key in keys)
        trials[values] = trials.get(values, 0) + 1
    if len(trials) < _FEWEST_TRIALS or sorted(trials.values())[len(trials) // 2] >= FEWEST:
        return ()
    drawn = []
    for place, key in enumerate(keys):
        own = [values[place] for values in trials if values[place] is not None]
        numeric = all(as_number(value) is not None for value in own)
        if numeric and len(set(own)) > _NEARLY_ALL * len(own) and len(own) >= FEWEST:
            drawn.append(key)
    return tuple(drawn)
