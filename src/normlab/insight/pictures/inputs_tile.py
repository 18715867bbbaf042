"""The picture of what the normalization does: every column's distribution before and after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator
from numpy.typing import NDArray

from normlab.insight.canvas import INK, MUTED, OKABE_ITO, plain
from normlab.insight.pictures.inputs import Inputs
from normlab.insight.pictures.tile import HEIGHT, shortened, tile

Map = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_BINS = 40
_HALF = 0.42  # of the distance between two columns, the widest half of a shape
_FAR = 50.0  # ratio of two columns' magnitudes from which decades are shown
_LEAST = 1e-6  # of the largest magnitude, where decades end
_WIDTH, _LINE, _MARGINS = 5.4, 0.15, 1.05  # inches


def inputs_tile(inputs: Inputs) -> Figure:
    """Raw units on the left, what the first layer gets on the right; a row for each column."""
    n = len(inputs.names)
    caption = f"{inputs.words}; a line at the median"
    if inputs.left_out:
        caption += f"; {inputs.left_out:,} more columns not shown"
    height = max(HEIGHT, _MARGINS + _LINE * n)
    title = "Inputs before and after the normalization"
    figure, panels = tile(title, caption, 2, _WIDTH, height)
    letters = 16 if n > 1 else 0  # a single column's name stands below
    figure.subplots_adjust(left=(0.16 + 0.078 * letters) / _WIDTH, wspace=0.12)
    for panel, values, name, colour in zip(
        panels,
        (inputs.before, inputs.after),
        ("raw units", "after the normalization"),
        (OKABE_ITO[1], OKABE_ITO[0]),
        strict=True,
    ):
        _shapes(panel, values, colour)
        alone = f"{inputs.names[0]}, " if n == 1 else ""
        panel.set_xlabel(plain(alone + name), color=INK, fontsize=9)
        panel.set_ylim(n - 0.5, -0.5)
        panel.set_yticks([])
        panel.grid(visible=False, axis="y")
    beside = panels[0].get_yaxis_transform()
    for row, name in enumerate(inputs.names if n > 1 else ()):  # a tick would cost four texts
        words, place = plain(shortened(name, letters)), (-0.02, row)
        panels[0].text(
            *place, words, transform=beside, ha="right", va="center", color=INK, fontsize=8
        )
    return figure


def _shapes(panel: Axes, values: NDArray[np.float64], colour: str) -> None:
    """A histogram of each column, mirrored at its row, and a line at the median."""
    there, back = _scale(panel, np.abs(values).max(0))
    values = there(values)
    low, high = values.min(0), values.max(0)
    shapes, medians = [], []
    for row, column in enumerate(values.T):
        width = high[row] - low[row] or 0.02 * (high.max() - low.min() or 1.0)
        edges = np.linspace(low[row], low[row] + width, min(_BINS, 8 + len(column) // 20) + 1)
        counts = np.histogram(column, edges)[0]
        half = _HALF * np.repeat(counts / counts.max(), 2)
        outline = back(np.repeat(edges, 2)[1:-1])
        shape = np.concatenate([np.c_[outline, row - half], np.c_[outline, row + half][::-1]])
        shapes.append(shape)
        medians.append(np.median(column))
    panel.add_collection(
        PolyCollection(shapes, facecolors=colour, edgecolors=colour, linewidths=0.6, alpha=0.8)
    )
    rows = np.arange(values.shape[1])
    panel.vlines(back(np.array(medians)), rows - _HALF, rows + _HALF, color=INK, linewidth=1.2)
    panel.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0.9)
    ends = np.array([min(low.min(), 0.0), max(high.max(), 0.0)])
    panel.set_xlim(*back(ends + 0.03 * (ends[1] - ends[0]) * np.array([-1, 1])))


def _scale(panel: Axes, magnitudes: NDArray[np.float64]) -> tuple[Map, Map]:
    """Decades of either sign where columns differ that far, else an even axis; to it and back.

    Args:
        magnitudes: of each column the largest (columns,).
    """
    known = magnitudes[magnitudes > 0]
    if len(known) == 0 or known.max() <= _FAR * known.min():
        return np.asarray, np.asarray
    threshold = max(10.0 ** np.floor(np.log10(known.min())), _LEAST * known.max())
    panel.set_xscale("symlog", linthresh=threshold)
    step = 10.0 ** max(1, np.ceil(np.log10(known.max() / threshold) / 3))
    panel.xaxis.set_major_locator(SymmetricalLogLocator(base=step, linthresh=threshold))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.minorticks_off()
    scaled = panel.xaxis.get_transform()
    return (
        lambda values: scaled.transform(values.ravel()).reshape(values.shape),
        lambda values: scaled.inverted().transform(values.ravel()).reshape(values.shape),
    )
