"""An inspection as text for the terminal."""

from __future__ import annotations

import textwrap

from normlab.data.inspection import Inspection, Summary
from normlab.data.schema import Value

WIDTH = 100
LONGEST = 28  # characters of a name or a value


def inspection_text(inspection: Inspection) -> str:
    """A headline, a line for each column, the label, the cautions and the command."""
    columns = len(inspection.inputs) + (inspection.target is not None)
    lines = [
        f"{inspection.source}: {inspection.n_rows:,} rows x {columns} columns, "
        f"{inspection.read_as}",
        "",
        *_table(inspection),
        "",
        *_label(inspection),
    ]
    for caution in inspection.cautions:
        text = caution.removeprefix(f"{inspection.source}, ").removeprefix(f"{inspection.source}: ")
        lines += textwrap.wrap(
            text, WIDTH, initial_indent="! ", subsequent_indent="  ", break_long_words=False
        )
    return "\n".join([*lines, "", "To train on it:", f"  {inspection.command}"])


def _table(inspection: Inspection) -> list[str]:
    cells = [("column", "type", "missing", "values")]
    for summary in inspection.inputs:
        missing = f"{summary.missing:,}" if summary.missing else "-"
        cells.append((_cut(summary.column.name), summary.column.type, missing, _values(summary)))
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    return [
        f"{name:{widths[0]}}  {kind:{widths[1]}}  {missing:>{widths[2]}}  {values}".rstrip()
        for name, kind, missing, values in cells
    ]


def _values(summary: Summary) -> str:
    if summary.numbers is not None:
        low, median, high, mean, std = summary.numbers
        return f"{low:.5g} to {high:.5g}, median {median:.5g}, mean {mean:.5g}, std {std:.4g}"
    shares = ", ".join(f"{_cut(value)} {share:.1%}" for value, share in summary.values)
    more = summary.n_values - len(summary.values)
    return shares + (f" and {more:,} more" if more else "")


def _label(inspection: Inspection) -> list[str]:
    if inspection.target is None:
        return [
            "No target is named and no column holds two values: give the label's column as "
            "--target, and with more than two values those of class 1 as --positive."
        ]
    guess = " (a guess: --target names another)" if inspection.guessed else ""
    if not inspection.classes:
        return textwrap.wrap(f"target {inspection.target}{guess}: {inspection.label_fault}", WIDTH)
    known = max(1, sum(count for _, count in inspection.classes))
    shares = ", ".join(
        f"{_cut(value)} -> {code} ({count:,} rows, {count / known:.1%})"
        for code, (value, count) in enumerate(inspection.classes)
    )
    missing = f", {inspection.missing_labels:,} missing" if inspection.missing_labels else ""
    return [f"target {inspection.target}{guess}: {shares}{missing}"]


def _cut(value: Value) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
