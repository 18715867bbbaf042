"""A setting as it is typed: with the quotes that Hydra's grammar and then the shell need."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# What Hydra reads as a text as it stands; a safe part of its grammar.
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*", re.ASCII)
_OTHER_VALUES = frozenset({"true", "false", "null", "nan", "inf"})


def setting(key: str, value: str | int | float | Sequence[str | int | float]) -> str:
    """`KEY=VALUE` for a command line."""
    several = not isinstance(value, (str, int, float))
    text = f"[{','.join(map(hydra_value, value))}]" if several else hydra_value(value)
    return shell_quoted(f"{key}={text}")


def hydra_value(value: str | int | float) -> str:
    """A value in Hydra's grammar. A text that spells a whole number stands for a column too."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    plain = _PLAIN.fullmatch(text) and text.lower() not in _OTHER_VALUES
    if plain or not isinstance(value, str) or re.fullmatch(r"0|-?[1-9][0-9]*", text):
        return text
    return hydra_quoted(text)


def hydra_literal(value: object) -> str:
    """Plain data in Hydra's grammar, so that it comes back as it was: no text is interpolated."""
    if isinstance(value, list):
        return f"[{','.join(map(hydra_literal, value))}]"
    if isinstance(value, str):
        return hydra_quoted(re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value))
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def hydra_quoted(text: str) -> str:
    """Between single quotes. Backslashes stand as they are, but before a quote and at the end."""
    escaped = re.sub(r"(\\*)('|$)", lambda run: 2 * run[1] + run[2].replace("'", "\\'"), text)
    return f"'{escaped}'"


def shell_quoted(text: str) -> str:
    """A word for a POSIX shell; between double quotes where these are enough, for the eye."""
    if re.fullmatch(r"[A-Za-z0-9_./,=:@%+-]*(=\[[A-Za-z0-9_./,-]*\])?", text):
        return text  # brackets of a list: no file's name matches such a pattern
    return f'"{text}"' if not set(text) & set('"$`\\!') else shlex.quote(text)
