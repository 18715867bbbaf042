"""The results where people read them: all in docs/performance.md, the main ones in README.md.

They are kept in docs/performance.json, so that one benchmark can be measured anew by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.rounds import Comparison, Ratio, short

STORE, DOCUMENT, README = (
    ROOT / name for name in ("docs/performance.json", "docs/performance.md", "README.md")
)
IN_README = (  # beginnings of what is compared
    "a training step",
    "one more run",
    "an epoch of 256 runs",
)


def write_tables(name: str, results: Sequence[Comparison]) -> None:
    """Takes the results of a benchmark into the store and the two documents."""
    known = load(STORE) if STORE.exists() else {}
    known[name] = list(results)
    content = {key: [asdict(one) for one in several] for key, several in known.items()}
    STORE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    replace(DOCUMENT, {key: full_table(several) for key, several in known.items()})
    replace(README, {"benchmarks": summary([one for of in known.values() for one in of])})


def load(path: Path) -> dict[str, list[Comparison]]:
    """The results of each benchmark."""
    return {
        name: [Comparison(**{**one, "ratio": Ratio(**one["ratio"])}) for one in results]
        for name, results in json.loads(path.read_text(encoding="utf-8")).items()
    }


def replace(path: Path, parts: dict[str, str]) -> None:
    """Puts texts between the marks `<!-- NAME -->` and `<!-- end of NAME -->` that a file has."""
    text = path.read_text(encoding="utf-8")
    for name, part in parts.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        if end:
            text = f"{before}{begin}{part}{end}{after}"
    path.write_text(text, encoding="utf-8")


def full_table(results: Sequence[Comparison]) -> str:
    """A row for each comparison, with the spread of the rounds."""
    lines = ["| what | over | median (lowest-highest) | at most | |", "| --- " * 5 + "|"]
    for one in results:
        aim = "" if one.aim is None else short(one.aim)
        missed = "" if one.met else "missed"
        lines.append(f"| {one.what} | {one.peer} | {one.ratio} | {aim} | {missed} |")
    return "\n".join(lines) + "\n"


def summary(results: Sequence[Comparison]) -> str:
    """A row for each thing compared, medians alone."""
    lines = ["| the time of | over that of |", "| --- | --- |"]
    chosen = [one for one in results if one.what.startswith(IN_README)]
    for what, several in groupby(chosen, key=lambda one: one.what):
        medians = ", ".join(f"{one.peer} {short(one.ratio.median)}" for one in several)
        lines.append(f"| {what} | {medians} |")
    return "\n".join(lines) + "\n"
