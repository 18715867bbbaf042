"""From a composed config to `Settings`, or to one line for each setting that is wrong."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ValidationError

from normlab.config import Section, Settings
from normlab.errors import UserError
from normlab.trainer_arguments import OURS, trainer_arguments


def parse_settings(config: DictConfig) -> Settings:
    """Checks a composed config (without Hydra's own node).

    Raises:
        UserError: one line for each setting that is unknown, missing, of a wrong type or out of
            range: its key, what was given and what is allowed.
    """
    missing = [key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra.")]
    if missing:
        lines = (f"{key} is missing: add {key}=VALUE" for key in sorted(missing))
        raise UserError("\n".join(lines))
    plain = OmegaConf.to_container(config, resolve=True)
    try:
        return Settings.model_validate(plain)
    except ValidationError as error:
        lines = dict.fromkeys(_line(fault, plain) for fault in error.errors())
        raise UserError("\n".join(lines)) from None


def without_hydra(config: DictConfig) -> DictConfig:
    """The program's own part of a config that Hydra composed."""
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def _line(fault: Any, plain: Any) -> str:
    key = _key(fault["loc"], plain)
    if fault["type"] == "extra_forbidden":
        return unknown_setting(key, OmegaConf.create(plain))
    if fault["type"] == "missing":
        return f"{key} is missing: add {key}=VALUE"
    reason = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if isinstance(fault["input"], (dict, list)) or not key:  # a rule over several settings
        return reason if reason.startswith(f"{key}.") or not key else f"{key}: {reason}"
    return f"{key}={as_given(fault['input'])}: {reason}"


def _key(loc: tuple[int | str, ...], plain: Any) -> str:
    """The dotted key of a fault: pydantic's location without the names of union members."""
    parts: list[str] = []
    node = plain
    for i, part in enumerate(loc):
        inside = isinstance(node, dict) and part in node
        if isinstance(node, dict) and not inside and i < len(loc) - 1:
            continue
        if isinstance(node, list) and isinstance(part, int):
            parts[-1] += f"[{part}]"
            node = node[part]
        elif inside or isinstance(node, dict):
            parts.append(str(part))
            node = node.get(part)
    return ".".join(parts)


def as_given(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def unknown_setting(key: str, config: DictConfig) -> str:
    """What to say of a key that is no setting: the closest one, and those known beside it."""
    group, _, name = key.rpartition(".")
    beside = OmegaConf.select(config, group) if group else config
    known = [str(k) for k in beside if k != name] if isinstance(beside, DictConfig) else []
    if group == "trainer":
        known = [argument for argument in trainer_arguments() if argument not in OURS]
    elif not known:
        return unknown_setting(group, config) if group else f"{key} is not a setting"
    known = [k for k in known if k != "hydra"]
    close = get_close_matches(name, known, n=1)
    prefix = f"{group}." if group else ""
    hint = f"; did you mean {prefix}{close[0]}?" if close else ""
    return (
        f"{key} is not a setting{hint}\n  known{' under ' + group if group else ''}: "
        + ", ".join(sorted(known))
    )


def settings_help(fields: type[BaseModel] = Settings, prefix: str = "") -> dict[str, str]:
    """Each setting's line of help by its key, in the order of `config.py`."""
    lines: dict[str, str] = {}
    for name, field in fields.model_fields.items():
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        for section in sections:
            # A choice of a group is named by the group: python train.py GROUP=CHOICE.
            rest = settings_help(section, f"{prefix}{name}.")
            lines |= {key: text for key, text in rest.items() if not key.endswith(".name")}
        if not sections:
            lines[prefix + name] = field.description or ""
    return lines
