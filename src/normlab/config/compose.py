"""`conf/` without Hydra: the defaults under some choices and values, as Hydra composes them.

    settings("data=circles", "model.lr=0.1", seed=3)

The defaults stand in `conf/` alone, for the command line as for Python.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml

from normlab.config import Settings
from normlab.config.check import as_given, check_settings, unknown_setting
from normlab.errors import UserError

CONF = Path(__file__).resolve().parents[1] / "conf"
ROOT = "train"  # the file that Hydra starts from
EXPERIMENT = "experiment"  # the group whose choices set keys of all groups, and come last


class _Loader(yaml.SafeLoader):
    """YAML with the words of Hydra's grammar: `yes`, `012` and `12:30` are texts, 1e-3 a number."""

    yaml_implicit_resolvers: ClassVar = {}


_WHOLE, _DIGITS = r"(0|[1-9](_?[0-9])*)", r"[0-9](_?[0-9])*"
_POINT = rf"({_WHOLE}\.|{_WHOLE}?\.{_DIGITS})"
for _tag, _pattern in (
    ("bool", r"true|false"),
    ("null", r"null|"),
    ("int", rf"[-+]?{_WHOLE}"),
    ("float", rf"[-+]?({_POINT}|({_WHOLE}|{_POINT})e[-+]?{_DIGITS}|inf|nan)"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$", re.IGNORECASE), None
    )


def parsed(override: str) -> tuple[str, Any]:
    """`KEY=VALUE` or `GROUP=CHOICE` as a pair, its value read as YAML.

    Raises:
        UserError: where it is neither.
    """
    key, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"'{override}' is no setting: write KEY=VALUE")
    try:
        return key, yaml.load(value, _Loader) if value else value
    except yaml.YAMLError:
        raise UserError(f"{override}: put the value between quotes") from None


def settings(*overrides: str, **values: Any) -> Settings:
    """The settings of `conf/` under some choices and values, checked as the command line's are.

    >>> settings("experiment=circles", "model.lr=0.1", seed=3, model={"hidden": [4]}).seed
    3

    Args:
        overrides: `GROUP=CHOICE` and `KEY=VALUE`, as on the command line.
        values: settings by name, those of a group as a mapping; a group's choice as a string.

    Raises:
        UserError: a line for each setting that is wrong.
    """
    given = [parsed(one) for one in overrides]
    # As `++KEY`, of which Trainer's further arguments need the plus.
    return check_settings(
        compose([*given, *((f"++{key}", value) for key, value in values.items())])
    )


def compose(given: Sequence[tuple[str, Any]] = (), conf: Path = CONF) -> dict[str, Any]:
    """The settings as plain types, unchecked.

    Args:
        given: groups with their choices and keys with their values, those of a group as a mapping
            too; later ones win. A key of `trainer` that `conf/` does not have is written `+KEY`.
        conf: the folder of configs.

    Raises:
        UserError: where a choice or a key is not known.
    """
    files, given = _Files(conf), list(_leaves(given))
    choices = {_group(key): value for key, value in given if files.is_group(key)}
    plain = files.read(ROOT)
    defaults = [entry for entry in plain.pop("defaults") if isinstance(entry, dict)]
    chosen: dict[str, Any] = {
        group: choice
        for entry in defaults
        for group, choice in entry.items()
        if not group.startswith("override ")
    }
    plain.pop("hydra", None)
    experiment, default = {}, chosen.pop(EXPERIMENT)
    name = choices.pop(EXPERIMENT, default)
    if name is not None:
        experiment = files.choice(EXPERIMENT, name)
        for entry in experiment.pop("defaults", []):
            chosen |= {group.removeprefix("override /"): one for group, one in entry.items()}
    chosen |= choices
    for group in [group for group in chosen if "/" not in group]:
        for entry in files.choice(group, chosen[group]).get("defaults", []):
            for inner, default in entry.items():
                nested = f"{group}/{inner}"
                node = files.choice(nested, chosen.get(nested, default))
                _merge(plain, {group: {inner: node}})
        _merge(plain, {group: files.choice(group, chosen[group])})
    _merge(plain, experiment)
    for key, value in given:
        if not files.is_group(key):
            _set(plain, key, value)
    return plain


class _Files:
    """The files of a folder of configs, each read once."""

    def __init__(self, conf: Path) -> None:
        self.conf = conf

    def is_group(self, key: str) -> bool:
        return _is_folder(self.conf / _group(key))

    def choice(self, group: str, choice: Any) -> dict[str, Any]:
        """What the file of a choice holds.

        Raises:
            UserError: where there is none.
        """
        if not (self.conf / group / f"{choice}.yaml").is_file():
            raise UserError(unknown_choice(group, choice, self.conf))
        return self.read(f"{group}/{choice}")

    def read(self, name: str) -> dict[str, Any]:
        return copy.deepcopy(_content(self.conf / f"{name}.yaml"))


def unknown_choice(group: str, choice: Any, conf: Path = CONF) -> str:
    """What to say of a choice that a group does not have."""
    known = sorted(file.stem for file in (conf / group).glob("*.yaml"))
    return f"{group}={as_given(choice)}: choose one of {', '.join(known)}"


def _group(key: str) -> str:
    return key.lstrip("+").replace(".", "/")


@cache
def _content(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}


@cache
def _is_folder(path: Path) -> bool:
    return path.is_dir()


def _merge(plain: dict[str, Any], other: dict[str, Any]) -> None:
    """Puts the values of another mapping over those of one."""
    for key, value in other.items():
        if isinstance(value, dict):
            _merge(plain.setdefault(key, {}), value)
        elif key != "defaults":
            plain[key] = value


def _leaves(given: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The pairs, with a group's mapping as a pair for each of its keys."""
    for key, value in given:
        of_trainer = key.lstrip("+").startswith("trainer.")  # whose arguments may be mappings
        if isinstance(value, Mapping) and not of_trainer:
            yield from _leaves((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, list(value) if isinstance(value, tuple) else value


def _set(plain: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.lstrip("+").split(".")
    node: Any = plain
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    new = key.startswith("+") and node is plain["trainer"]
    if not isinstance(node, dict) or (name not in node and not new):
        raise UserError(unknown_setting(key.lstrip("+"), plain))
    node[name] = value
