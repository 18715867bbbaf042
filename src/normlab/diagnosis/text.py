"""A run's diagnosis in words: for the terminal, and as Markdown for TensorBoard."""

from __future__ import annotations

from typing import Any


def verdict_lines(diagnosis: dict[str, Any]) -> list[str]:
    """The end of a run's summary, from the entry "diagnosis" of result.json."""
    lines = [f"verdict: {diagnosis['verdict']}: {diagnosis['reason']}"]
    if diagnosis["way_out"]:
        lines.append(f"way out: {'; '.join(diagnosis['way_out'])}")
    return lines


def diagnosis_text(diagnosis: dict[str, Any]) -> str:
    """The entry "diagnosis" of result.json as Markdown."""
    start = diagnosis["start"]
    parts = [f"**Verdict: {diagnosis['verdict']}**: {marked(diagnosis['reason'])}."]
    if diagnosis["way_out"]:
        parts.append("Way out:\n\n" + "\n".join(f"1. {marked(s)}" for s in diagnosis["way_out"]))
    parts.append("### Before training, as the first layer sees the rows")
    if diagnosis["warning"]:
        parts.append(f"**{marked(diagnosis['warning'])}.**")
    lines = ["| feature | mean, in standard deviations from 0 | standard deviation |"]
    lines.append("| --- | --- | --- |")
    for name, one in start["features"].items():
        cells = (marked(name), _number(one["mean_in_stds_from_zero"]), _number(one["std"]))
        lines.append(f"| {' | '.join(cells)} |")
    if start["features"]:  # none where no column is a number
        parts.append("\n".join(lines))
    measures = [f"largest scale over the smallest: {_number(start['scale_ratio'])}"]
    for key in ("saturated_units", "dead_units"):
        if start.get(key):
            shares = ", ".join(f"{share:.0%}" for share in start[key])
            measures.append(f"{key.replace('_', ' ')}, by hidden layer: {shares}")
    parts.append("\n".join(f"- {measure}" for measure in measures))
    if diagnosis["end"]:
        parts.append("### At the end of training")
        items = diagnosis["end"].items()
        parts.append("\n".join(f"- {marked(tag)}: {_number(value)}" for tag, value in items))
    return "\n\n".join(parts) + "\n"


def marked(text: str) -> str:
    """Text that Markdown shows as it stands."""
    for sign in "\\|<*_`":
        text = text.replace(sign, f"\\{sign}")
    return text


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4g}"
