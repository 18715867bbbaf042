"""The style that the pictures of a report share: colours, axes, legends.

Colours are Okabe and Ito's (2008), which colour-blind people can tell apart, with black drawn in
the ink's colour; dashes and markers repeat what the colour says. INK, MUTED, GRID and PAPER are
used for nothing else, so that a page can exchange them for a dark scheme.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from normlab.insight.standing import Standing
from normlab.insight.standings import Standings
from normlab.insight.words import number

INK, MUTED, GRID, PAPER = "#1c2024", "#5d6670", "#d9dde2", "#fdfdfe"
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST = 12  # settings in a picture
LETTER, LINE = 0.085, 0.17  # width and height of text in inches, at 9 to 10 points


def pictured(standings: Standings) -> list[Standing]:
    """The best settings, those of a task together; the same in all pictures, so in one colour."""
    rows = standings.best[:MOST]
    tasks = list(dict.fromkeys(row.task for row in rows))
    return sorted(rows, key=lambda row: tasks.index(row.task))


def look(index: int) -> tuple[str, str, str]:
    """Colour, dashes and marker of the setting at this rank."""
    colours = len(OKABE_ITO)
    return (
        OKABE_ITO[index % colours],
        ("-", (0, (4, 1.5)))[index // colours % 2],  # type: ignore[return-value]
        MARKERS[(index + index // colours) % colours],
    )


def canvas(panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """`panels` axes side by side, each of this size in inches; `legend` and `title` add theirs."""
    figure = Figure(figsize=(max(width * panels, 6.0), height), layout="constrained")
    figure.set_facecolor(PAPER)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for panel in axes:
        panel.set_facecolor(PAPER)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(MUTED)
        panel.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=9)
        panel.grid(visible=True, color=GRID, linewidth=0.6)
        panel.set_axisbelow(True)
    return figure, axes


def log_axis(panel: Axes, which: str) -> None:
    (panel.set_xscale if which == "x" else panel.set_yscale)("log")
    tame_ticks(panel.xaxis if which == "x" else panel.yaxis, log=True)


def tame_ticks(axis: Axis, log: bool) -> None:
    """Ticks as plain numbers: matplotlib's powers of ten are set in mathtext, hard to restyle.

    To be called when all is drawn: many decades have no room for more than their powers of ten.
    """
    if log:
        low, high = axis.get_view_interval()
        figure = axis.get_figure()
        assert isinstance(figure, Figure)
        across = axis is axis.axes.xaxis
        room = figure.get_figwidth() / len(figure.axes) if across else figure.get_figheight()
        few = 3 * np.log10(high / low) * (0.75 if across else 0.25) < room
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def entropy_line(panel: Axes, standings: Standings, draw: Callable) -> None:
    """Where a run that learnt nothing sits; only where all runs share it."""
    finals = [run.finals["label_entropy"] for run in standings.sweep.finished if run.finals]
    known = [value for value in finals if np.isfinite(value)]
    if known and max(known) <= 1.02 * min(known):
        place = float(np.median(known))
        draw(place, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        horizontal = draw == panel.axhline
        panel.annotate(
            f"label entropy {number(place)}",
            (1.0, place) if horizontal else (place, 1.0),
            xycoords=panel.get_yaxis_transform() if horizontal else panel.get_xaxis_transform(),
            xytext=(0, 3) if horizontal else (3, 3),
            textcoords="offset points",
            ha="right" if horizontal else "center",
            va="bottom",
            color=MUTED,
            fontsize=8,
        )


def whole_numbers(axis: Axis) -> None:
    """Ticks of epochs on a linear axis."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def label(panel: Axes, x: str, y: str) -> None:
    panel.set_xlabel(plain(x), color=INK, fontsize=10)
    panel.set_ylabel(plain(y), color=INK, fontsize=10)


def title(figure: Figure, standings: Standings, text: str) -> None:
    if len(standings.best) > MOST:
        text += f" (the best {MOST} of {len(standings.best)} settings)"
    text = wrapped(text, int(figure.get_figwidth() / LETTER / 1.15))
    figure.suptitle(plain(text), color=INK, fontsize=11)
    grow(figure, text.count("\n") * LINE * 1.2)


def grow(figure: Figure, inches: float) -> None:
    """Makes room for text, which would else be taken from the panels, down to nothing."""
    figure.set_figheight(figure.get_figheight() + inches)


def legend(
    figure: Figure,
    rows: Sequence[Standing],
    name: Callable[[Standing], str],
    lines: bool = True,
    points: bool = False,
) -> None:
    panel = figure.axes[0]
    handles = []
    for index in range(len(rows)):
        colour, dashes, marker = look(index)
        look_alike = {"ls": dashes if lines else "", "marker": marker if points else "", "lw": 2}
        handles += panel.plot([], [], color=colour, **look_alike)
    labels = [clipped(name(row)) for row in rows]
    letters = figure.get_figwidth() / LETTER
    widest = max(len(line) for text in labels for line in text.splitlines())
    columns = max(1, min(4, len(rows), int(letters / (widest + 6))))
    deep = max(text.count("\n") + 1 for text in labels) * -(-len(rows) // columns)
    grow(figure, deep * LINE * 1.1)
    figure.legend(
        handles,
        [plain(text) for text in labels],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text


def clipped(text: str, width: int = 44, lines: int = 3) -> str:
    """Wrapped, and cut where it is still too long for a picture: a path, say."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" ...")) or text


def plain(text: str) -> str:
    """Keeps matplotlib from reading a dollar as the start of a formula."""
    return text.replace("$", r"\$")
