"""Plain values as YAML, quickly where many are nearly the same, as the jobs of a sweep are."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent
from typing import Any

import yaml

MOST_KNOWN = 4_096  # entries remembered

_known: dict[tuple[str, str], str] = {}


def to_yaml(content: Mapping[str, Any], under: str | None = None) -> str:
    """A mapping of plain values in block style, its keys in their order.

    An entry that another mapping had is remembered: hundreds of jobs differ in a few, and PyYAML
    takes a millisecond for a page.

    Args:
        under: a key that the whole mapping is to be the value of.
    """
    text = "".join(_entry(key, value) for key, value in content.items()) or "{}\n"
    return text if under is None else f"{under}:\n{indent(text, '  ')}"


def _entry(key: str, value: Any) -> str:
    mark = key, repr(value)
    if mark not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        entry = {key: value}
        _known[mark] = yaml.dump(
            entry, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True
        )
    return _known[mark]
