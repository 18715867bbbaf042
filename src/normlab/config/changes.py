"""Which settings two runs differ in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Settings that change no figure of a run.
OF_NO_FIGURE = ("report.", "diagnosis.", "figures.", "trainer.enable_progress_bar")
# Settings that may be others when a run goes on.
FREE_TO_CHANGE = (*OF_NO_FIGURE, "checkpoint.", "trainer.max_epochs", "trainer.accelerator")


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings as dotted keys with values that TensorBoard's HParams can hold."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (bool, int, float, str)):
            flat[prefix + key] = value
        else:
            flat[prefix + key] = "null" if value is None else str(value)
    return flat


def changed(
    before: dict[str, Any], now: dict[str, Any], ignored: Sequence[str] = OF_NO_FIGURE
) -> dict[str, tuple[Any, Any]]:
    """Dotted keys of different values, each with both; a key that one lacks counts as null.

    Args:
        ignored: beginnings of keys that are left out.
    """
    old, new = flatten(before), flatten(now)
    return {
        key: (old.get(key, "null"), new.get(key, "null"))
        for key in {**old, **new}
        if old.get(key, "null") != new.get(key, "null") and not key.startswith(tuple(ignored))
    }
