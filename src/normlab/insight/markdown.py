"""Tables and plain text in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def marked(text: str) -> str:
    """Text that Markdown shows as it stands."""
    for sign in "\\|<*_`":
        text = text.replace(sign, f"\\{sign}")
    return text


def pipes(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
