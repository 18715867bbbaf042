"""An inspection as text for the terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

from normlab.data.meaning.inspect import Inspection
from normlab.data.meaning.summary import Summary
from normlab.data.schema import Value

WIDTH = 100
LONGEST = 28  # characters of a name or a value
MOST_VALUES = 6  # of a candidate for the label


def inspection_text(inspection: Inspection) -> str:
    """A headline, a line for each column, the label, the cautions and the command."""
    columns = len(inspection.inputs) + (inspection.target is not None)
    name = inspection.path.name
    lines = [
        f"{name}: {inspection.n_rows:,} rows x {columns} columns, {inspection.read_as}",
        "",
        *_table(inspection),
        "",
        *_label(inspection),
    ]
    if 0 < inspection.n_sampled < inspection.n_rows:
        lines.append(f"Medians and shares are of {inspection.n_sampled:,} evenly spaced rows.")
    for caution in inspection.cautions:
        text = caution.removeprefix(f"{name}, ").removeprefix(f"{name}: ")
        lines += textwrap.wrap(
            text, WIDTH, initial_indent="! ", subsequent_indent="  ", break_long_words=False
        )
    if inspection.command is not None:
        lines += ["", "To train on it:", f"  {inspection.command}"]
    return "\n".join(lines)


def _table(inspection: Inspection) -> list[str]:
    cells = [("column", "type", "missing", "values")]
    for summary in inspection.inputs:
        missing = f"{summary.missing:,}" if summary.missing else "-"
        cells.append((_cut(summary.name), summary.type, missing, _values(summary)))
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    return [
        f"{name:{widths[0]}}  {kind:{widths[1]}}  {missing:>{widths[2]}}  {values}".rstrip()
        for name, kind, missing, values in cells
    ]


def _values(summary: Summary) -> str:
    if summary.type == "mixed":
        return f"{summary.n_numbers:,} numbers, {summary.n_texts:,} texts"
    if summary.numbers is not None:
        low, median, high, mean, std = summary.numbers
        return f"{low:.5g} to {high:.5g}, median {median:.5g}, mean {mean:.5g}, std {std:.4g}"
    shares = ", ".join(f"{_cut(value)} {share:.1%}" for value, share in summary.values)
    more = summary.n_values - len(summary.values)
    return shares + (f" and {more:,} more" if more else "")


def _label(inspection: Inspection) -> list[str]:
    if inspection.target is None:
        return _candidates(inspection)
    guess = " (a guess: --target names another)" if inspection.guessed else ""
    if not inspection.classes:
        lines = textwrap.wrap(f"target {inspection.target}{guess}: {inspection.label_fault}", WIDTH)
        return [*lines, *_look(inspection, inspection.target, inspection.label_values)]
    n_labels = inspection.n_rows - inspection.missing_labels
    shares = ", ".join(
        f"{_cut(value)} -> {code} ({round(share * n_labels):,} rows, {share:.1%})"
        for code, (value, share) in enumerate(inspection.classes)
    )
    missing = f", {inspection.missing_labels:,} missing" if inspection.missing_labels else ""
    return [f"target {inspection.target}{guess}: {shares}{missing}"]


def _candidates(inspection: Inspection) -> list[str]:
    """Columns that may be the label, and how to look at the file with each."""
    lines = ["Which column is the label? Candidates:"]
    for candidate in inspection.candidates:
        shown = ", ".join(map(_cut, candidate.values[:MOST_VALUES]))
        more = ", ..." if len(candidate.values) > MOST_VALUES else ""
        values = f"{len(candidate.values)} values: {shown}{more}" if candidate.values else ""
        about = values or "many values: a label has two, or a few of which some are class 1"
        lines.append(f"  {_cut(candidate.name)}: {candidate.reason}; {about}")
        lines += _look(inspection, candidate.name, candidate.values)
    return lines


def _look(inspection: Inspection, target: str, values: Sequence[Value]) -> list[str]:
    """The command that looks at the file with a target, if need be with a choice of class 1."""
    if len(values) < 2 or len(values) > LONGEST:
        return []
    words = ["normlab", "inspect", str(inspection.path), "--target", target]
    if len(values) > 2:
        words += ["--positive", *map(str, values[1:])]
    hint = "    with class 1 as you mean it, for example:" if len(values) > 2 else ""
    return [*([hint] if hint else []), f"    {shlex.join(words)}"]


def _cut(value: Value) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
