"""The pictures of how the loss depends on settings: a heat map of two, the sensitivity to one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from normlab.insight.canvas import (
    GRID,
    INK,
    LETTER,
    MUTED,
    PAPER,
    canvas,
    clipped,
    label,
    log_axis,
    look,
    plain,
    tame_ticks,
)
from normlab.insight.settings import as_number, in_order, short_values
from normlab.insight.standing import Standing, is_task
from normlab.insight.standings import Standings
from normlab.insight.standings_canvas import MOST, guess_line, legend, pictured, title
from normlab.insight.words import loss_name

_COLOURS = "cividis_r"  # even in lightness, the same to colour-blind people; bright is low
_MOST_CELLS = 24  # along an axis of a heat map
_NAME = 24  # letters of a name along it
_MOST_PANELS = 4


def heat_map(standings: Standings) -> Figure | None:
    rows = [row for row in standings.rows if row.finished]
    choices = {
        key: in_order([row.values[key] for row in rows])
        for key in standings.sweep.keys
        if 2 <= len({row.values[key] for row in rows}) <= _MOST_CELLS and key not in standings.drawn
    }
    own = [key for key in choices if not is_task(key)]
    tasks = list(dict.fromkeys(row.task for row in rows)) if len(own) >= 2 else [None]
    keys = sorted(own if len(own) >= 2 else choices, key=lambda key: -len(choices[key]))[:2]
    if len(keys) < 2:
        return None
    across, down = sorted(keys, key=lambda key: key not in standings.tuned)
    medians = []
    for task in tasks[:4]:
        cells = np.full((len(choices[down]), len(choices[across])), np.nan)
        for row in rows:
            if task is None or row.task == task:
                cell = (
                    choices[down].index(row.values[down]),
                    choices[across].index(row.values[across]),
                )
                cells[cell] = np.fmin(cells[cell], row.measures[standings.criterion].median)
        medians.append(cells)
    known = np.concatenate([cells[np.isfinite(cells)] for cells in medians])
    if len(known) == 0:
        return None
    wide, high = len(choices[across]), len(choices[down])
    names = {}
    for key in keys:
        brief = short_values(choices[key])
        names[key] = [clipped(brief[value] or "-", _NAME, lines=1) for value in choices[key]]
    longest = {key: max(map(len, names[key])) * LETTER for key in keys}
    slant = longest[across] > 6 * LETTER
    figure, panels = canvas(
        len(medians),
        width=2.0 + longest[down] + 0.62 * wide,
        height=1.6 + 0.42 * high + slant * 0.6 * longest[across],
    )
    log = known.min() > 0 and known.max() > 5 * known.min()
    norm = (LogNorm if log else Normalize)(known.min(), known.max())
    for panel, cells, task in zip(panels, medians, tasks, strict=False):
        shown = np.ma.masked_invalid(cells)
        panel.pcolormesh(shown, cmap=_COLOURS, norm=norm, edgecolors=PAPER, lw=1.5)
        for (i, j), value in np.ndenumerate(cells):
            if np.isinf(value):
                panel.add_patch(Rectangle((j, i), 1, 1, fc=GRID, ec=PAPER, lw=1.5))
                words, colour = "diverged", INK
            else:  # bright cells are low losses, with dark figures on them
                words = "" if np.isnan(value) else f"{value:.3g}"
                colour = "#010203" if float(norm(value)) < 0.5 else "#fefeff"
            if words and wide <= MOST:
                place = (j + 0.5, i + 0.5)
                panel.annotate(words, place, color=colour, ha="center", va="center", fontsize=8)
        for key, axis, set_ticks in (
            (across, panel.xaxis, panel.set_xticks),
            (down, panel.yaxis, panel.set_yticks),
        ):
            set_ticks(np.arange(len(names[key])) + 0.5, [plain(name) for name in names[key]])
            axis.set_tick_params(length=0)
        if slant:
            panel.tick_params(axis="x", rotation=35)
        panel.invert_yaxis()
        label(panel, standings.names[across], standings.names[down])
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        if task is not None and task:
            words = clipped(", ".join(v for v in task if v), 32, lines=2)
            panel.set_title(plain(words), fontsize=9, color=INK)
    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=panels)
    bar.set_label(f"median {loss_name(standings.criterion)}", color=INK, fontsize=9)
    bar.ax.set_facecolor(PAPER)
    bar.ax.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=8)
    bar.outline.set_edgecolor(MUTED)  # pyright: ignore[reportCallIssue]
    tame_ticks(bar.ax.yaxis, log)
    rest = len(standings.sweep.keys) > 2
    figure.suptitle(
        f"Median {loss_name(standings.criterion)}" + (", at the best of all else" if rest else ""),
        color=INK,
        fontsize=11,
    )
    return figure


def sensitivity(standings: Standings) -> Figure | None:
    own = [key for key in standings.sweep.keys if not is_task(key)]
    swept = standings.tuned or tuple(own if len(own) == 1 else ())
    numbers = {key: {as_number(row.values[key]) for row in standings.rows} for key in swept}
    numeric = [key for key in swept if len(numbers[key] - {None}) > 1][:_MOST_PANELS]
    if not numeric or not standings.sweep.finished:
        return None

    def strategy(row: Standing) -> tuple[str | None, ...]:
        return tuple(value for key, value in row.values.items() if key not in swept)

    chosen: dict[tuple[str | None, ...], Standing] = {}
    for row in pictured(standings) if standings.tuned else standings.best:
        chosen.setdefault(strategy(row), row)
    strategies = list(chosen.values())[:MOST]
    figure, panels = canvas(len(numeric), width=max(8.2 / len(numeric), 3.6) + 0.8, height=4.2)
    tried = {
        key: [
            row for row in standings.rows if row.finished and as_number(row.values[key]) is not None
        ]
        for key in numeric
    }
    for panel, key in zip(panels, numeric, strict=True):
        everything = []
        for index, best in enumerate(strategies):
            own = [row for row in tried[key] if strategy(row) == strategy(best)]
            colour, dashes, marker = look(index)
            x, y = _along(own, key, standings)
            if key in standings.drawn:  # other keys differ too: a line would join what is apart
                panel.plot(x, y[1], color=colour, ls="", marker=marker, ms=4.5, alpha=0.75)
            else:
                panel.fill_between(x, y[0], y[2], color=colour, alpha=0.15, linewidth=0)
                panel.plot(x, y[1], color=colour, ls=dashes, marker=marker, ms=5, lw=1.6)
            ring = as_number(best.values[key])
            if standings.tuned and ring is not None:
                median = best.measures[standings.selection].median
                panel.plot([ring], [median], marker="o", ms=12, mfc="none", mec=colour, mew=1.5)
            everything += y[1][np.isfinite(y[1])].tolist()
        if everything and min(everything) > 0:
            log_axis(panel, "y")
        places = sorted(numbers[key] - {None})  # type: ignore[type-var]
        if places[0] > 0 and places[-1] > 5 * places[0]:
            log_axis(panel, "x")
        if len(places) <= 8:
            panel.set_xticks(places)
            panel.minorticks_off()
        guess_line(panel, standings, panel.axhline)
        label(panel, key, f"{'' if standings.drawn else 'median '}{loss_name(standings.selection)}")
    legend(
        figure, strategies, lambda row: _without(row, standings, swept), not standings.drawn, True
    )
    ringed = ", the chosen value ringed" if standings.tuned else ""
    drawn = "a point a trial" if standings.drawn else "median and quartiles over seeds"
    title(figure, standings, f"Sensitivity: {drawn}{ringed}")
    return figure


def _along(
    rows: Sequence[Standing], key: str, standings: Standings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of the key (n,), and the loss's quartiles (3, n), nan where it diverged.

    All of a search's trials; else, where other tuned keys vary too, the best at each value.
    """
    points = [(as_number(row.values[key]) or 0.0, row) for row in rows]
    if key not in standings.drawn:
        best_last = sorted(points, key=lambda point: -_median(point[1], standings))
        points = list(dict(best_last).items())
    points.sort(key=lambda point: point[0])
    summaries = [row.measures[standings.selection] for _, row in points]
    y = np.array([[s.q1, s.median, s.q3] for s in summaries]).T.reshape(3, len(points))
    return np.array([place for place, _ in points]), np.where(np.isfinite(y), y, np.nan)


def _median(row: Standing, standings: Standings) -> float:
    return row.measures[standings.selection].median


def _without(row: Standing, standings: Standings, keys: Sequence[str]) -> str:
    kept = [
        f"{standings.names[key]}={standings.short[key][value]}"
        for key, value in row.values.items()
        if key not in keys and value is not None
    ]
    return ", ".join(kept) or "all runs"
