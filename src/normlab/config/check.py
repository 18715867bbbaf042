"""From plain values to `Settings`, or to one line for each setting that is wrong."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from normlab.config import Settings
from normlab.config.processes import n_devices, n_nodes
from normlab.config.section import Section
from normlab.config.trainer_arguments import OURS, trainer_arguments
from normlab.errors import UserError

# Strategies that run the command line again in each process, but for those that end so.
STARTS_ANEW = ("ddp", "fsdp", "deepspeed")
IN_PLACE = ("_fork", "_spawn", "_notebook")


def check_settings(plain: Any) -> Settings:
    """Checks settings given as plain types, where "???" stands for a missing value.

    Raises:
        UserError: one line for each setting that is unknown, missing, of a wrong type or out of
            range: its key, what was given and what is allowed.
    """
    missing = sorted(_missing(plain))
    if missing:
        raise UserError("\n".join(f"{key} is missing: add {key}=VALUE" for key in missing))
    try:
        return Settings.model_validate(plain)
    except ValidationError as error:
        raise UserError("\n".join(_lines(error.errors(), plain))) from None


def check_job(settings: Settings) -> None:
    """Checks what holds for a job of a sweep alone.

    Raises:
        UserError: where its strategy runs the command line, and so the sweep, once more.
    """
    trainer = settings.trainer
    strategy = trainer.strategy
    if settings.ckpt_path is not None:
        raise UserError("ckpt_path is of one run: a sweep goes on by resume=FOLDER")
    if strategy == "auto" and ((n_devices(trainer) or 1) > 1 or n_nodes(trainer) > 1):
        raise UserError(
            f"trainer.devices={as_given(trainer.devices)} with trainer.strategy=auto is ddp, which "
            "starts the whole sweep anew in every process: in a sweep use "
            "trainer.strategy=ddp_fork"
        )
    if strategy.startswith(STARTS_ANEW) and not strategy.endswith(IN_PLACE):
        raise UserError(
            f"trainer.strategy={strategy} starts the whole sweep anew in every process: "
            "in a sweep use trainer.strategy=ddp_fork"
        )


def _missing(plain: Any, prefix: str = "") -> list[str]:
    """Keys of the values that have to be given, which OmegaConf writes as ???."""
    if isinstance(plain, dict):
        return [key for name in plain for key in _missing(plain[name], f"{prefix}{name}.")]
    return [prefix.rstrip(".")] if plain == "???" else []


def _lines(faults: list[Any], plain: Any) -> list[str]:
    """A line for each setting; where one may be of several types, it names them all."""
    reasons: dict[str, list[str]] = {}
    for fault in faults:
        subject, reason = _subject_and_reason(fault, plain)
        reasons.setdefault(subject, [])
        if reason not in reasons[subject]:
            reasons[subject].append(reason)
    return [subject + " or ".join(several) for subject, several in reasons.items()]


def _subject_and_reason(fault: Any, plain: Any) -> tuple[str, str]:
    key = _key(fault["loc"], plain)
    kind, given = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        return unknown_setting(key, plain), ""
    if kind == "missing":
        return f"{key} is missing: add {key}=VALUE", ""
    if kind == "union_tag_invalid":
        tag = fault["ctx"]["tag"]
        return f"{key}.name={tag}: ", f"should be one of {fault['ctx']['expected_tags']}"
    if kind in ("model_type", "model_attributes_type"):
        group = key.replace(".", "/")
        return f"{key}={as_given(given)}: ", f"is a group of settings; see {group} in --help"
    reason = fault["msg"].removeprefix("Value error, ")
    reason = reason.removeprefix("Input ").removeprefix("String ")
    if isinstance(given, (dict, list)) or not key:  # a rule over several settings
        return "" if reason.startswith(f"{key}.") or not key else f"{key}: ", reason
    return f"{key}={as_given(given)}: ", reason


def _key(loc: tuple[int | str, ...], plain: Any) -> str:
    """The dotted key of a fault: pydantic's location without the names of union members."""
    parts: list[str] = []
    node: Any = plain
    for i, part in enumerate(loc):
        inside = isinstance(node, dict) and part in node
        tag = isinstance(node, dict) and part == node.get("name")
        if isinstance(node, dict) and not inside and (tag or i < len(loc) - 1):
            continue
        if isinstance(node, list) and isinstance(part, int):
            parts[-1] += f"[{part}]"
            node = node[part]
        elif isinstance(node, dict):
            parts.append(str(part))
            node = node.get(part)
    return ".".join(parts)


def as_given(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def unknown_setting(key: str, plain: dict[str, Any]) -> str:
    """What to say of a key that is no setting: the closest one, and those known beside it."""
    group, _, name = key.rpartition(".")
    others = _choices_with(group, name)
    if others:
        return f"{key} is a setting of {' and '.join(others)} alone: add {' or '.join(others)}"
    beside: Any = plain
    for part in group.split(".") if group else ():
        beside = beside.get(part) if isinstance(beside, dict) else None
    known = [str(k) for k in beside if k != name] if isinstance(beside, dict) else []
    if group == "trainer" and name in OURS:
        return f"{key} cannot be set here: {OURS[name]}"
    if group == "trainer":
        known = [argument for argument in trainer_arguments() if argument not in OURS]
        if name in known:
            return (
                f"{key} is an argument of Lightning's Trainer that the config does not have: "
                f"write +{key}=VALUE"
            )
    elif not known:
        return unknown_setting(group, plain) if group else f"{key} is not a setting"
    known = [k for k in known if k != "hydra"]
    close = get_close_matches(name, known, n=1)
    prefix = f"{group}." if group else ""
    hint = f"; did you mean {prefix}{close[0]}?" if close else ""
    return (
        f"{key} is not a setting{hint}\n  known{' under ' + group if group else ''}: "
        + ", ".join(sorted(known))
    )


def settings_help(fields: type[BaseModel] = Settings, prefix: str = "") -> dict[str, str]:
    """Each setting's line of help by its key, in the order of the classes."""
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


def _choices_with(group: str, name: str) -> list[str]:
    """The choices of a group, as they are typed, that have a setting which the others lack."""
    section: Any = Settings
    for part in group.split("."):
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field is not None else None
    choices = getattr(section, "__args__", ())
    having = [one for one in choices if name in getattr(one, "model_fields", {})]
    names = [value for one in having for value in one.model_fields["name"].annotation.__args__]
    return [f"{group.replace('.', '/')}={value}" for value in names if len(having) < len(choices)]
