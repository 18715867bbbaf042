"""The pictures of what a network decides: a curve over one input, a surface over two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from normlab.data.schema import Schema
from normlab.insight.canvas import INK, MUTED, PAPER, plain
from normlab.insight.pictures.decision import (
    CURVE,
    SURFACE,
    Axis,
    axis_of,
    curve,
    surface,
)
from normlab.insight.pictures.importance import most_important
from normlab.insight.pictures.sample import Sample
from normlab.insight.pictures.tile import (
    COLOURS,
    SHAPES,
    class_names,
    key,
    name_axes,
    name_values,
    shortened,
    tile,
    unit_axis,
)
from normlab.model.network import Network
from normlab.model.thresholds import decision_thresholds

# From class 0 to class 1, paler than the points of the classes.
_SHADES = LinearSegmentedColormap.from_list("classes", ["#4ba0d0", PAPER, "#e69055"], 10)
_JITTER = 0.3  # of rows that share a category
_STRIP = 0.07  # height of the strip that one class's rows fill
_NAME = 11  # letters of a column's name beside a picture; below there is more room
_MOST_NAMED = 3  # thresholds in a title


def decision_tile(network: Network, schema: Schema, sample: Sample, caption: str) -> Figure:
    """The decision over the only input, over both, or over the two most important ones.

    Args:
        network: in evaluation mode.
    """
    columns = sample.rows.shape[1]
    if columns == 1:
        return _curve_tile(network, schema, sample, caption)
    chosen = range(2)
    notes, title = ["", ""], f"Decision: probability of {class_names(schema)[1]}"
    if columns > 2:
        ranked = most_important(network, sample.rows, sample.labels, 2)
        chosen = [column for column, _ in ranked]
        notes = [f" (importance {rise:.1g})" for _, rise in ranked]
        title, caption = (
            "Decision: the two most important inputs",
            f"{caption} · other inputs as nearby",
        )
    axes = [axis_of(schema, sample.rows, column, SURFACE) for column in chosen]
    figure = _surface_tile(network, schema, sample, axes, title, caption)
    across, up = (
        shortened(axis.name, letters) + note
        for axis, letters, note in zip(axes, (2 * _NAME, _NAME), notes, strict=True)
    )
    name_axes(figure.axes[0], across, up)
    return figure


def _curve_tile(network: Network, schema: Schema, sample: Sample, caption: str) -> Figure:
    axis = axis_of(schema, sample.rows, 0, CURVE)
    given = curve(network, axis)
    title, thresholds = "Decision", []
    if not axis.values:
        rows = torch.from_numpy(axis.grid)[None, :, None]
        (thresholds,) = decision_thresholds(network, rows) or [[]]
        title += _in_words(thresholds)
    figure, (panel,) = tile(title, caption)
    places = np.arange(len(axis.grid)) if axis.values else axis.grid
    style = {"marker": "D", "markersize": 6, "linestyle": ""} if axis.values else {}
    panel.plot(places, given, color=INK, linewidth=2, zorder=4, **style)
    random = np.random.default_rng(0)
    for label, name in enumerate(class_names(schema)):
        shown = sample.labels == label
        x = axis.places(sample.rows[shown])
        x = x + random.uniform(-_JITTER, _JITTER, len(x)) * bool(axis.values)
        # Beyond 0 and 1, so that no row hides the curve.
        y = label + (2 * label - 1) * random.uniform(0.03, 0.03 + _STRIP, len(x))
        _points(panel, x, y, label, name)
    for threshold in thresholds:
        panel.axvline(threshold, color=MUTED, linestyle=(0, (4, 2)), linewidth=1.2)
    panel.axhline(0.5, color=MUTED, linestyle=(0, (1, 2)), linewidth=1)
    unit_axis(panel, "y")
    panel.set_ylim(-0.13, 1.13)
    _limits(panel, "x", axis)
    key(panel, "center left" if given[0] < 0.25 or given[0] > 0.75 else "upper left")
    name_axes(panel, shortened(axis.name, 3 * _NAME), f"probability of {class_names(schema)[1]}")
    return figure


def _in_words(thresholds: Sequence[float]) -> str:
    if not thresholds:
        return ": one answer for all rows"
    named = ", ".join(f"{threshold:.4g}" for threshold in thresholds[:_MOST_NAMED])
    more = len(thresholds) - _MOST_NAMED
    return f": threshold {named}" + (f" and {more} more" if more > 0 else "")


def _surface_tile(
    network: Network,
    schema: Schema,
    sample: Sample,
    axes: Sequence[Axis],
    title: str,
    caption: str,
) -> Figure:
    x, y = axes
    shade = surface(network, schema, x, y, sample.rows)
    figure, (panel,) = tile(title, caption)
    if x.values or y.values:
        extent = (*_span(x), *_span(y))
        panel.imshow(shade, _SHADES, vmin=0, vmax=1, extent=extent, origin="lower", aspect="auto")
    else:  # a quarter of the time and of the bytes of a smooth image
        panel.contourf(x.grid, y.grid, shade, levels=np.linspace(0, 1, 11), cmap=_SHADES)
        if shade.min() < 0.5 < shade.max():
            panel.contour(x.grid, y.grid, shade, levels=[0.5], colors=INK, linewidths=1.6)
    panel.grid(visible=False)
    random = np.random.default_rng(0)
    for label, name in enumerate(class_names(schema)):
        rows = sample.rows[sample.labels == label]
        across, up = (
            axis.places(rows) + random.uniform(-_JITTER, _JITTER, len(rows)) * bool(axis.values)
            for axis in axes
        )
        _points(panel, across, up, label, name)
    for which, axis in zip("xy", axes, strict=True):
        _limits(panel, which, axis)
    key(panel, "upper right")
    return figure


def _points(
    panel: Axes, x: NDArray[np.float64], y: NDArray[np.float64], label: int, name: str
) -> None:
    panel.plot(
        x,
        y,
        linestyle="",
        marker=SHAPES[label],
        markersize=3.5 if len(x) <= 300 else 2.5,
        color=COLOURS[label],
        markeredgecolor=PAPER,
        markeredgewidth=0.4,
        alpha=0.85 if len(x) <= 300 else 0.6,
        label=plain(name),
    )


def _span(axis: Axis) -> tuple[float, float]:
    if axis.values:
        return -0.5, len(axis.values) - 0.5
    return float(axis.grid[0]), float(axis.grid[-1])


def _limits(panel: Axes, which: str, axis: Axis) -> None:
    (panel.set_xlim if which == "x" else panel.set_ylim)(*_span(axis))
    if axis.values:
        name_values(panel, which, axis.values)
