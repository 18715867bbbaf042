"""Which arguments `lightning.Trainer` takes, read from its source: importing it takes seconds."""

from __future__ import annotations

import ast
import math
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OBJECTS = "objects cannot be given in a config; from Python, normlab.train takes any Trainer"
# Arguments of Trainer that the program gives itself, with the way to get what they are for.
OURS = {
    "callbacks": OBJECTS,
    "logger": "the run folder holds metrics.csv and the TensorBoard events",
    "plugins": OBJECTS,
    "default_root_dir": "set hydra.run.dir",
    "unroll_epochs": "it is no longer needed: an epoch's steps are always taken at once",
    "barebones": "it would leave out the metrics and the checkpoints",
    "fast_dev_run": "set trainer.max_epochs=1",
    "check_val_every_n_epoch": "every epoch ends with a validation, and makes a row of metrics.csv",
    "val_check_interval": "every epoch ends with a validation, and makes a row of metrics.csv",
}
# What a plain value may be where Trainer's annotation uses a name of its own.
ALIASES = {"_PRECISION_INPUT": {"str", "int"}, "_LITERAL_WARN": {"str"}, "_PATH": {"str"}}
PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}


@cache
def trainer_arguments() -> dict[str, frozenset[str]]:
    """The names of Trainer's arguments, each with the plain types that it takes."""
    package = find_spec("lightning")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).parent / "pytorch" / "trainer" / "trainer.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (init,) = (
        function
        for cls in tree.body
        if isinstance(cls, ast.ClassDef) and cls.name == "Trainer"
        for function in cls.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
    )
    return {argument.arg: _plain_types(argument.annotation) for argument in init.args.kwonlyargs}


def _plain_types(annotation: ast.expr | None) -> frozenset[str]:
    names = _names(annotation) if annotation is not None else set()
    return frozenset(set().union(*(ALIASES.get(name, {name}) for name in names)) & set(PLAIN))


def _names(node: ast.AST) -> set[str]:
    """The types in an annotation, without those of a container's elements: dict[str, int]."""
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        container = node.value.id
        if container in PLAIN:
            return {container}
    return set().union(*(_names(child) for child in ast.iter_child_nodes(node)))


def check_trainer_arguments(given: dict[str, Any]) -> None:
    """Refuses what Trainer does not know, or takes as an object only.

    Raises:
        ValueError: naming the argument, the value and what is allowed.
    """
    known = trainer_arguments()
    for name, value in given.items():
        if name in OURS:
            raise ValueError(f"trainer.{name} cannot be set here: {OURS[name]}")
        if name not in known:
            raise ValueError(
                f"trainer.{name} is no argument of lightning.Trainer; it takes: "
                + ", ".join(sorted(known.keys() - OURS.keys()))
            )
        types = known[name]
        if value is not None and not any(_is_plain(value, kind) for kind in types):
            shown = str(value).lower() if isinstance(value, bool) else value
            raise ValueError(f"trainer.{name}={shown}: must be {' or '.join(sorted(types))}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"trainer.{name}={value}: must be a finite number")


def _is_plain(value: Any, kind: str) -> bool:
    """Python counts True as an int; a config does not."""
    return isinstance(value, PLAIN[kind]) and (kind == "bool" or not isinstance(value, bool))
