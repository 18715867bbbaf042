"""What varies among the runs of a sweep, under names short enough for a table and a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Flat = dict[str, str]
"""A configuration as dotted key -> value written as in an override: `{"model.lr": "0.01"}`."""

SEEDS = ("seed", "data.seed")  # runs that differ in these alone are one setting, tried again
_TRAINS_NOTHING = ("report.", "checkpoint.", "trainer.enable_")  # what is written, shown, kept


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
    """Values for the eye: numbers to 4 digits where these still tell them apart."""
    brief = {}
    for value in set(values):
        number = as_number(value)
        written = "" if value is None else value
        brief[value] = f"{number:.4g}" if number is not None and len(written) > 6 else written
    return brief if len(set(brief.values())) == len(brief) else {v: v or "" for v in brief}
