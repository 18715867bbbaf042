"""Fills a page's template with measured figures, so that text and numbers cannot drift apart.

In `docs/templates/NAME.md` stands `{{path.to.figure}}`, or `{{path.to.figure|form}}` with a form
of FORMS; `{{a block's name}}` stands for lines that the page's script makes of the same figures.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from normlab.insight.comparison import Share, Summary
from normlab.insight.words import number, percent, probability

DOCS = Path(__file__).resolve().parent
DIGITS = 6  # significant ones, kept of a figure
_OF_A_MACHINE = ("processor_minutes", "ranking")  # durations; neighbours may change places
FORMS: dict[str, Callable[[Any], str]] = {
    "number": number,
    "percent": percent,
    "tenths": lambda share: f"{100 * share:.1f} %",
    "whole": lambda value: f"{value:,.0f}",
    "plain": str,
}


def publish(
    name: str,
    measure: Callable[[], dict[str, Any]],
    render: Callable[[dict[str, Any]], str],
    draw: Callable[[dict[str, Any]], None],
) -> None:
    """The command line of a page's script: measures and writes, or compares with what is printed.

    Raises:
        SystemExit: a figure or the page differs from what was measured now.
    """
    parser = argparse.ArgumentParser(description=f"Makes docs/{name}.md, its figures and pictures.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="write nothing, compare")
    choice.add_argument("--text", action="store_true", help="measure nothing, fill the page anew")
    options = parser.parse_args()
    path = DOCS / f"{name}.md"
    if options.text:
        path.write_text(render(load(name)), encoding="utf-8")
        return
    figures = rounded(measure())
    if not options.check:
        save(name, figures)
        draw(figures)
        path.write_text(render(figures), encoding="utf-8")
        return
    printed = load(name)
    wrong = list(differences(printed, figures))
    if path.read_text(encoding="utf-8") != render(printed):
        wrong.append(f"{path.name} is not what its template and {name}.json make")
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{path.name} agrees with what was measured")


def differences(
    printed: Any, measured: Any, path: str = "", tolerance: float = 0.05
) -> Iterator[str]:
    """Figures further apart than the rounding of another processor explains, in words.

    Raw runs amplify rounding: a seed may be stuck on one machine and escape on another. Hence the
    tolerance, relative and absolute.
    """
    if isinstance(printed, Mapping) and isinstance(measured, Mapping):
        for key in printed.keys() | measured.keys():
            if key not in _OF_A_MACHINE:
                yield from differences(
                    printed.get(key), measured.get(key), f"{path}.{key}", tolerance
                )
    elif isinstance(printed, list) and isinstance(measured, list) and len(printed) == len(measured):
        for i, pair in enumerate(zip(printed, measured, strict=True)):
            yield from differences(*pair, f"{path}.{i}", tolerance)
    elif isinstance(printed, float) and isinstance(measured, float | int):
        if not math.isclose(printed, measured, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{path.lstrip('.')}: {printed} is printed, {measured} is measured"
    elif printed != measured:
        yield f"{path.lstrip('.')}: {printed} is printed, {measured} is measured"


def fill(name: str, figures: Mapping[str, Any], blocks: Mapping[str, str]) -> str:
    """The page that the figures make; a name that is in neither is a KeyError."""

    def replacement(match: re.Match[str]) -> str:
        path, _, form = match[1].partition("|")
        if path in blocks:
            return blocks[path]
        value: Any = figures
        for key in path.split("."):
            value = value[int(key) if isinstance(value, list) else key]
        return FORMS[form or "number"](value)

    template = (DOCS / "templates" / f"{name}.md").read_text(encoding="utf-8")
    filled = re.sub(r"\{\{(.+?)\}\}", replacement, template)
    return "\n\n".join(map(_wrapped, filled.rstrip().split("\n\n"))) + "\n"


def _wrapped(paragraph: str) -> str:
    """Prose at the width of the sources; commands, tables, headings and pictures as they are."""
    if paragraph.startswith(("#", "|", "![")) or "```" in paragraph:
        return paragraph
    kept = paragraph.replace(" %", "\0%")  # a number and its sign stay on one line
    lines = textwrap.fill(kept, 100, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")


def load(name: str) -> dict[str, Any]:
    """The figures that the page was made of."""
    return json.loads((DOCS / f"{name}.json").read_text(encoding="utf-8"))


def save(name: str, figures: Mapping[str, Any]) -> None:
    text = json.dumps(rounded(figures), indent=1, allow_nan=False)
    # A list of numbers on one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda match: " ".join(match[0].split()), text)
    (DOCS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """Plain types for JSON; a number that does not exist is null."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        brief = float(f"{value:.{DIGITS}g}")
        return brief if abs(brief) < float("inf") else None
    return value


def picture(name: str, figure: Figure) -> None:
    """A PNG of 128 colours: a third of the size of one of all, to the eye the same."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    Image.open(stream).convert("RGB").quantize(128).save(DOCS / f"{name}.png", optimize=True)


def of_share(share: Share) -> list[float]:
    """Share of 1, and its 95 % interval."""
    return [share.value, share.low, share.high]


def of_summary(summary: Summary) -> list[float]:
    """Median, and its 95 % interval."""
    return [summary.median, summary.low, summary.high]


def with_interval(figures: list[float | None], form: Callable[[float], str] = number) -> str:
    """`median (low to high)`; an interval's end beyond all numbers diverged."""
    median, low, high = ("diverged" if value is None else form(value) for value in figures)
    return f"{median} ({low} to {high})"


def as_percent(figures: list[float]) -> str:
    return with_interval(figures, percent)  # type: ignore[arg-type]


def as_probability(figures: list[float]) -> str:
    return with_interval(figures, probability)  # type: ignore[arg-type]


def table(head: list[str], rows: list[list[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
