"""What a run says of itself in the terminal: a line before, a small table after."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path

import torch

from normlab.config import Settings
from normlab.data.serve.module import SplitTable
from normlab.diagnosis.text import verdict_lines
from normlab.training.result import Result


def headline(
    settings: Settings,
    data: SplitTable,
    n_inputs: int,
    device: torch.device,
    n_processes: int = 1,
) -> str:
    """What is trained on what, and where.

    Args:
        n_inputs: of the network's first layer: more than columns where there are categories.
    """
    rows, features = data.table.rows.shape
    split = data.split
    negative, positive = data.table.schema.classes
    widths = "-".join(str(width) for width in (n_inputs, *settings.model.hidden, 1))
    norm = settings.normalization.name + (" + batchnorm" if settings.model.batchnorm else "")
    read_as = data.table.read_as
    return (
        f"{data.table.source}: {rows:,} rows x {features} "
        f"({len(split.train):,} train, {len(split.val):,} val, {len(split.test):,} test); "
        f"target {data.table.schema.target}: {negative} -> 0, {positive} -> 1\n"
        + (f"{read_as}\n" if read_as else "")
        + f"normalization={norm}, MLP {widths} {settings.model.activation}, seed {settings.seed}, "
        f"on {device}" + (f", {n_processes} processes" if n_processes > 1 else "")
    )


def summary(result: Result, folder: Path) -> str:
    """The figures of result.json and where to look further."""
    metrics = list(result.train)
    lines = [" " * 6 + "".join(f"{name:>10}" for name in metrics)]
    for name in ("train", "val", "test"):
        part = getattr(result, name)
        if part is not None:
            lines.append(f"{name:6}" + "".join(_figure(part[metric]) for metric in metrics))
    lines.append(result.guess_in_words)
    if result.threshold is not None:
        roots = ", ".join(f"{root:.4g}" for root in result.threshold)
        lines.append(f"decision threshold {roots or 'none: it gives one answer for all rows'}")
    lines.append(
        f"{result.epochs} epochs in {result.seconds:.1f} s ({result.rows_per_second:,.0f} rows/s)"
    )
    shown = Path(os.path.relpath(folder))
    lines.append(f"{shown}    tensorboard --logdir {shlex.quote(str(shown.parent))}")
    if result.diagnosis is not None:
        lines += verdict_lines(result.diagnosis)
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{'-' if math.isnan(value) else format(value, '.4f'):>10}"
