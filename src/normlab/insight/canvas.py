"""The style that all pictures share: colours, axes, labels.

Colours are Okabe and Ito's (2008), which colour-blind people can tell apart, with black drawn in
the ink's colour; dashes and markers repeat what the colour says. INK, MUTED, GRID and PAPER are
used for nothing else, so that a page can exchange them for a dark scheme.
"""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK, MUTED, GRID, PAPER = "#1c2024", "#5d6670", "#d9dde2", "#fdfdfe"
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LETTER, LINE = 0.085, 0.17  # width and height of text in inches, at 9 to 10 points


def look(index: int) -> tuple[str, str, str]:
    """Colour, dashes and marker of the setting at this rank."""
    colours = len(OKABE_ITO)
    return (
        OKABE_ITO[index % colours],
        ("-", (0, (4, 1.5)))[index // colours % 2],  # type: ignore[return-value]
        MARKERS[(index + index // colours) % colours],
    )


def canvas(panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """`panels` axes side by side, each of this size in inches; legends and titles add theirs."""
    figure = Figure(figsize=(max(width * panels, 6.0), height), layout="constrained")
    figure.set_facecolor(PAPER)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for panel in axes:
        dress(panel)
    return figure, axes


def dress(panel: Axes) -> None:
    """The colours of paper, frame, ticks and grid."""
    panel.set_facecolor(PAPER)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(MUTED)
    panel.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=9)
    panel.grid(visible=True, color=GRID, linewidth=0.6)
    panel.set_axisbelow(True)


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


def whole_numbers(axis: Axis) -> None:
    """Ticks of epochs on a linear axis."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def label(panel: Axes, x: str, y: str) -> None:
    panel.set_xlabel(plain(x), color=INK, fontsize=10)
    panel.set_ylabel(plain(y), color=INK, fontsize=10)


def grow(figure: Figure, inches: float) -> None:
    """Makes room for text, which would else be taken from the panels, down to nothing."""
    figure.set_figheight(figure.get_figheight() + inches)


def wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text


def clipped(text: str, width: int = 44, lines: int = 3) -> str:
    """Wrapped, and cut where it is still too long for a picture: a path, say."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" ...")) or text


def plain(text: str) -> str:
    """Keeps matplotlib from reading a dollar as the start of a formula."""
    return text.replace("$", r"\$")
