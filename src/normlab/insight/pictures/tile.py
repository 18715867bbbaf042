"""One small picture of TensorBoard's page of images: a panel under a title and a caption.

Margins are fixed: matplotlib's layout engines draw everything twice, which is half of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from normlab.data.schema import Schema
from normlab.insight.canvas import INK, MARKERS, MUTED, OKABE_ITO, PAPER, dress, plain

WIDTH, HEIGHT = 3.9, 3.1  # inches: TensorBoard shows a picture about 350 pixels wide
DPI = 120
# Of class 0 and class 1; the marker repeats what the colour says.
COLOURS = (OKABE_ITO[0], OKABE_ITO[3])
SHAPES = (MARKERS[0], MARKERS[2])


def tile(
    title: str, caption: str, panels: int = 1, width: float = WIDTH, height: float = HEIGHT
) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches, with its panels side by side.

    Args:
        title: what is shown.
        caption: of which rows and weights.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    figure.subplots_adjust(
        left=0.68 / width,
        right=1 - 0.12 / width,
        bottom=0.5 / height,
        top=1 - 0.52 / height,
        wspace=0.1,
    )
    left = 0.1 / width
    figure.text(left, 1 - 0.22 / height, plain(title), color=INK, fontsize=10)
    figure.text(left, 1 - 0.4 / height, plain(caption), color=MUTED, fontsize=7.5)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for panel in axes:
        dress(panel)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(4))  # a tick costs two milliseconds
    return figure, axes


def unit_axis(panel: Axes, which: str) -> None:
    """From 0 to 1, with room for lines along both."""
    (panel.set_xlim if which == "x" else panel.set_ylim)(-0.02, 1.02)
    axis = panel.xaxis if which == "x" else panel.yaxis
    axis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axis.set_major_formatter("{x:g}")


def name_axes(panel: Axes, x: str, y: str) -> None:
    panel.set_xlabel(plain(x), color=INK, fontsize=8.5)
    panel.set_ylabel(plain(y), color=INK, fontsize=8.5)


def name_values(panel: Axes, which: str, values: Sequence[str]) -> None:
    """Categories as the ticks of an axis, shorter the more there are."""
    letters = 40 // len(values) if which == "x" else 7
    names = [plain(shortened(value, max(letters, 4))) for value in values]
    (panel.set_xticks if which == "x" else panel.set_yticks)(range(len(names)), names, fontsize=8)
    if which == "y":
        panel.tick_params(axis="y", rotation=90 if len(values) <= 4 else 0)


def class_names(schema: Schema) -> tuple[str, str]:
    """Such as "label = 0" and "label = 1", short enough for a legend."""
    negative, positive = (shortened(str(name), 14) for name in schema.classes)
    target = shortened(schema.target, 14)
    return f"{target} = {negative}", f"{target} = {positive}"


def shortened(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"


def key(panel: Axes, place: str) -> None:
    """The panel's legend."""
    panel.legend(
        loc=place,  # pyright: ignore[reportArgumentType]
        fontsize=8,
        labelcolor=INK,
        frameon=True,
        framealpha=0.8,
        edgecolor="none",
    ).get_frame().set_facecolor(PAPER)
