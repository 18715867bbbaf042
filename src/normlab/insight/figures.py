"""The pictures of a ranked sweep, by name, for a report and for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from normlab.insight.canvas import (
    GRID,
    INK,
    LINE,
    PAPER,
    canvas,
    clipped,
    label,
    log_axis,
    look,
    plain,
    whole_numbers,
)
from normlab.insight.comparison import quantile
from normlab.insight.landscapes import heat_map, sensitivity
from normlab.insight.standing import losses
from normlab.insight.standings import Standings
from normlab.insight.standings_canvas import guess_line, legend, pictured, title
from normlab.insight.words import loss_name, target_name

_MOST_POINTS = 300  # along a curve: more is finer than a pixel


def figures(standings: Standings) -> dict[str, Figure]:
    """The pictures that there is something to draw in, by name."""
    drawn: dict[str, Figure | None] = {
        "loss_over_epochs": _loss_over_epochs(standings),
        "final_loss": _final_loss(standings),
        "epochs_to_target": _epochs_to_target(standings),
        "heat_map": heat_map(standings),
        "sensitivity": sensitivity(standings),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _loss_over_epochs(standings: Standings) -> Figure | None:
    rows = pictured(standings)
    splits = [
        split
        for split in ("train/loss", "val/loss")
        if any(split in run.curves for row in rows for run in row.runs)
    ]
    if not splits:
        return None
    figure, panels = canvas(len(splits), width=5.2, height=4.2)
    for panel, split in zip(panels, splits, strict=True):
        bottom = np.inf
        for index, row in enumerate(rows):
            curves = [run.curves[split] for run in row.runs if split in run.curves]
            if not curves:
                continue
            epochs, (q1, median, q3) = _band(curves)
            colour, dashes, _ = look(index)
            panel.fill_between(epochs, q1, q3, color=colour, alpha=0.18, linewidth=0)
            panel.plot(epochs, median, color=colour, linestyle=dashes, linewidth=1.6)
            bottom = min(bottom, np.min(median, initial=np.inf, where=np.isfinite(median)))
        if 0 < bottom < np.inf:
            log_axis(panel, "y")
        whole_numbers(panel.xaxis)
        guess_line(panel, standings, panel.axhline)
        label(panel, "epoch", loss_name(split))
    legend(figure, rows, lambda row: row.label)
    many = any(len(row.runs) > 1 for row in rows)
    over = ": median and quartiles over seeds" if many else ""
    title(figure, standings, f"Loss over epochs{over}")
    return figure


def _band(curves: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Quartiles over runs at some epochs, up to where half of the runs have got."""
    lengths = sorted((len(curve) for curve in curves), reverse=True)
    last = lengths[(len(lengths) - 1) // 2]
    epochs = np.unique(np.linspace(1, last, min(last, _MOST_POINTS)).astype(np.int64))
    stack = np.full((len(curves), len(epochs)), np.nan)
    for line, curve in zip(stack, curves, strict=True):
        here = epochs[epochs <= len(curve)]
        line[: len(here)] = curve[here - 1]
    band = np.stack([quantile(stack, q) for q in (0.25, 0.5, 0.75)])
    return epochs, np.where(np.isfinite(band), band, np.nan)


def _final_loss(standings: Standings) -> Figure | None:
    rows = pictured(standings)
    if not any(row.finished for row in rows):
        return None
    names = [clipped(row.label) for row in rows]
    lines = max(name.count("\n") for name in names)
    figure, (panel,) = canvas(1, width=9.0, height=1.6 + (0.42 + lines * LINE) * len(rows))
    places: list[dict[tuple[str, ...], tuple[float, float]]] = []
    ticks, everything = [], []
    for index, row in enumerate(rows):
        values = np.array(losses(row, standings.criterion))
        # A sunflower's turn spreads the points evenly, and alike at every call.
        heights = index + 0.5 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)
        heights = heights if len(values) > 1 else np.full(len(values), float(index))
        finite = np.isfinite(values)
        colour, _, marker = look(index)
        panel.scatter(
            values[finite],
            heights[finite],
            s=34 if len(values) <= 50 else 12,
            marker=marker,
            color=colour,
            edgecolors=PAPER,
            linewidths=0.5,
            zorder=3,
            rasterized=len(values) > 2000,
        )
        median = float(quantile(values, 0.5))
        if np.isfinite(median) and len(values) > 1:
            panel.plot([median] * 2, [index - 0.38, index + 0.38], color=INK, lw=2, zorder=4)
        everything += values[finite].tolist()
        lost = int(np.sum(~finite))
        ticks.append(names[index] + (f"\n({lost} diverged)" if lost else ""))
        seeds = [run.seeds for run in row.finished]
        places.append(
            {
                s: (float(x), float(y))
                for s, x, y, ok in zip(seeds, values, heights, finite, strict=True)
                if s is not None and ok
            }
        )
    pairs = [
        [upper[seed], lower[seed]]
        for upper, lower, a, b in zip(places, places[1:], rows, rows[1:], strict=False)
        if a.task == b.task and len(upper) <= 30
        for seed in upper
        if seed in lower
    ]
    panel.add_collection(LineCollection(pairs, colors=GRID, linewidths=0.8, zorder=1))
    panel.set_yticks(range(len(rows)), [plain(tick) for tick in ticks])
    panel.set_ylim(len(rows) - 0.4, -0.6)
    if everything and min(everything) > 0:
        log_axis(panel, "x")
    guess_line(panel, standings, panel.axvline)
    label(panel, f"final {loss_name(standings.criterion)}", "")
    panel.grid(visible=False, axis="y")
    title(figure, standings, "Final losses: one point a seed, a bar at the median")
    return figure


def _epochs_to_target(standings: Standings) -> Figure | None:
    rows = pictured(standings)
    lengths = [
        len(run.curves["train/loss"])
        for row in rows
        for run in row.finished
        if run.name in row.arrivals
    ]
    if not lengths or max(len(row.arrivals) for row in rows) < 2:
        return None  # of one run each there is no distribution
    figure, (panel,) = canvas(1, width=9.0, height=4.2)
    for index, row in enumerate(rows):
        reached = np.sort([epoch for epoch in row.arrivals.values() if np.isfinite(epoch)])
        shares = np.arange(1, len(reached) + 1) / max(len(row.arrivals), 1)
        x = np.concatenate([[1], reached, [max(lengths)]])
        y = np.concatenate([[0], shares, shares[-1:] if len(shares) else [0]])
        colour, dashes, _ = look(index)
        panel.plot(
            x, y, drawstyle="steps-post", color=colour, linestyle=dashes, linewidth=1.8, alpha=0.9
        )
    arrived = [epoch for row in rows for epoch in row.arrivals.values() if np.isfinite(epoch)]
    if arrived and max(arrived) > 10 * min(arrived):
        panel.set_xlim(min(arrived) / 1.5, max(lengths) * 1.1)
        log_axis(panel, "x")
    else:
        whole_numbers(panel.xaxis)
    panel.set_ylim(-0.03, 1.03)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    label(panel, "epoch", "share of runs that got there")
    legend(figure, rows, lambda row: row.label)
    title(figure, standings, f"Epochs to {target_name(standings)}")
    return figure
