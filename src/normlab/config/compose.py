"""`conf/` without Hydra: the defaults under some choices and values, as Hydra composes them.

    compose([("data", "circles"), ("model.lr", 0.1)])

The defaults stand in `conf/` alone, for the command line as for Python.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from normlab.config.check import unknown_setting
from normlab.errors import UserError

CONF = Path(__file__).resolve().parents[1] / "conf"
ROOT = "train"  # the file that Hydra starts from
EXPERIMENT = "experiment"  # the group whose choices set keys of all groups, and come last


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of OmegaConf: PyYAML takes 1e-3 for a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
        |\.[0-9_]+(?:[eE][-+][0-9]+)?
        |[-+]?(?:\.inf|\.Inf|\.INF)
        |[-+]?(?:inf|nan)
        |\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789.in"),
)


def parsed(override: str) -> tuple[str, Any]:
    """`KEY=VALUE` or `GROUP=CHOICE` as a pair, its value read as YAML; + and ++ mean nothing here.

    Raises:
        UserError: where it is neither.
    """
    key, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"'{override}' is no setting: write KEY=VALUE")
    return key.lstrip("+"), yaml.load(value, _Loader)


def compose(given: Sequence[tuple[str, Any]] = (), conf: Path = CONF) -> dict[str, Any]:
    """The settings as plain types, unchecked.

    Args:
        given: groups with their choices and keys with their values; later ones win.
        conf: the folder of configs.

    Raises:
        UserError: where a choice or a key is not known.
    """
    files = _Files(conf)
    choices = {key.replace(".", "/"): value for key, value in given if files.is_group(key)}
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
        return _is_folder(self.conf / key.replace(".", "/"))

    def choice(self, group: str, choice: Any) -> dict[str, Any]:
        """What the file of a choice holds.

        Raises:
            UserError: where there is none.
        """
        if not (self.conf / group / f"{choice}.yaml").is_file():
            known = sorted(file.stem for file in (self.conf / group).glob("*.yaml"))
            raise UserError(f"{group}={choice}: choose one of {', '.join(known)}")
        return self.read(f"{group}/{choice}")

    def read(self, name: str) -> dict[str, Any]:
        return copy.deepcopy(_content(self.conf / f"{name}.yaml"))


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


def _set(plain: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    node: Any = plain
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict) or (name not in node and node is not plain.get("trainer")):
        raise UserError(unknown_setting(key, plain))
    node[name] = value
