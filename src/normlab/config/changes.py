"""Which settings two runs differ in, and whether one may go on as the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from normlab.config import Settings
from normlab.config.check import as_given, check_settings
from normlab.errors import UserError
from normlab.layout import CONFIG

LARGEST_CONFIG = 2**20  # bytes; a run's config has some thousands

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


def read_config(folder: Path) -> Settings:
    """The settings that a run was begun with.

    Raises:
        UserError: where its config.yaml is missing or is none of this version's.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no run: it has no {CONFIG}")
    plain = read_yaml(path)
    if not isinstance(plain, dict):
        raise UserError(f"{path} holds no settings")
    try:
        return check_settings(plain)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_yaml(path: Path) -> Any:
    """The content of a small file.

    Raises:
        UserError: where it cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise UserError(f"{path} is too large for a file of settings")
        return yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except (OSError, yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read: {reason}") from None


def refuse_changes(folder: Path, before: Settings, now: Settings) -> None:
    """Refuses to go on with other settings than a run was begun with.

    Raises:
        UserError: naming each setting with both its values.
    """
    keys = changed(before.to_dict(), now.to_dict(), FREE_TO_CHANGE)
    if keys:
        lines = [
            f"  {key}={as_given(old)} before, {as_given(new)} now"
            for key, (old, new) in keys.items()
        ]
        raise UserError(
            f"{folder} was begun with other settings, and a run goes on with its own:\n"
            + "\n".join(lines)
        )
    epochs = before.trainer.max_epochs, now.trainer.max_epochs
    if epochs[0] != epochs[1] and before.model.scheduler.name == "cosine":
        raise UserError(
            f"trainer.max_epochs={epochs[1]}: a cosine schedule over {epochs[0]} epochs has other "
            "learning rates from the first epoch on; train a run of its own"
        )
