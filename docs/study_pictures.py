"""The pictures of docs/study.md, in the style of the program's reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import page
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from normlab.insight.canvas import INK, MUTED, PAPER, canvas, label, look, tame_ticks

_COLOURS = "cividis_r"  # as in the reports' heat maps: bright is low
_COLUMNS = 3


def draw(figures: dict[str, Any], rates: Sequence[str]) -> None:
    page.picture("study_losses", losses(figures["tables"]))
    page.picture("study_sensitivity", sensitivity(figures["tables"], [float(r) for r in rates]))


def losses(tables: dict[str, Any]) -> Figure:
    """Median test loss of each strategy at its chosen rate, as a share of the label entropy."""
    names = list(next(iter(tables.values()))["strategies"])
    shares = np.array(
        [
            [table["strategies"][s]["test_loss"][0] / table["label_entropy"] for s in names]
            for table in tables.values()
        ]
    )
    figure, (panel,) = canvas(1, width=9.6, height=1.5 + 0.42 * len(tables))
    norm = LogNorm(max(shares.min(), 0.01), 1.0, clip=True)
    panel.pcolormesh(shares, cmap=_COLOURS, norm=norm, edgecolors=PAPER, lw=1.5)
    for (i, j), value in np.ndenumerate(shares):
        colour = "#010203" if float(norm(value)) < 0.5 else "#fefeff"
        text = "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
        panel.annotate(text, (j + 0.5, i + 0.5), color=colour, ha="center", va="center", fontsize=9)
    panel.set_xticks(np.arange(len(names)) + 0.5, names)
    panel.set_yticks(np.arange(len(tables)) + 0.5, [name.replace("_", " ") for name in tables])
    panel.tick_params(length=0)
    panel.invert_yaxis()
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=panel, pad=0.02)
    bar.ax.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=8)
    bar.outline.set_edgecolor(MUTED)  # pyright: ignore[reportCallIssue]
    tame_ticks(bar.ax.yaxis, log=True)
    figure.suptitle(
        "Median test loss / label entropy, each at the rate that validation chose",
        color=INK,
        size=11,
    )
    return figure


def sensitivity(tables: dict[str, Any], rates: list[float]) -> Figure:
    """Median test loss over rates, a panel for each table; ringed, what validation chose."""
    figure, panels = canvas(len(tables), width=3.4, height=1.0)
    lines = -(-len(tables) // _COLUMNS)
    figure.set_size_inches(3.4 * _COLUMNS, 2.6 * lines + 0.7)
    grid = GridSpec(lines, _COLUMNS, figure=figure)
    for place, (panel, (name, table)) in enumerate(zip(panels, tables.items(), strict=True)):
        panel.set_subplotspec(grid[place // _COLUMNS, place % _COLUMNS])
        for index, (strategy, cell) in enumerate(table["strategies"].items()):
            colour, dashes, marker = look(index)
            known = [np.nan if v is None else v for v in cell["test_by_rate"]]
            shares = np.array(known) / table["label_entropy"]
            panel.plot(
                rates, shares, color=colour, ls=dashes, marker=marker, ms=4, lw=1.5, label=strategy
            )
            chosen = cell["rate"]
            place = shares[rates.index(chosen)]
            panel.plot([chosen], [place], marker="o", ms=9, mfc="none", mec=colour, mew=1.3)
        panel.axhline(1, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        panel.set(xscale="log", yscale="log")
        panel.set_ylim(top=min(6, panel.get_ylim()[1]))
        panel.set_xticks(rates)
        panel.minorticks_off()
        tame_ticks(panel.yaxis, log=True)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_title(name.replace("_", " "), color=INK, fontsize=10)
    label(panels[-2], "learning rate", "")
    label(panels[_COLUMNS * (lines // 2)], "", "median test loss / label entropy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        columnspacing=1.2,
        handlelength=1.6,
    )
    return figure
