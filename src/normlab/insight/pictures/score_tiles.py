"""The pictures of how well a network tells the classes apart, whatever its inputs."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from normlab.insight.canvas import INK, MUTED, OKABE_ITO, plain
from normlab.insight.pictures.scores import (
    average_precision,
    calibration,
    histograms,
    precision_recall,
    roc,
)
from normlab.insight.pictures.tile import COLOURS, key, name_axes, tile, unit_axis

_LINE = OKABE_ITO[0]
_CHANCE = (0, (2, 2))


def roc_tile(scores: NDArray[np.float64], labels: NDArray, caption: str) -> Figure:
    false, true = roc(scores, labels)
    area = float(np.trapezoid(true, false))
    figure, (panel,) = tile(f"ROC: area {area:.4f}", caption)
    panel.plot([0, 1], [0, 1], color=MUTED, linestyle=_CHANCE, linewidth=1)
    panel.plot(false, true, color=_LINE, linewidth=1.8, solid_joinstyle="round")
    panel.fill_between(false, true, color=_LINE, alpha=0.1, linewidth=0)
    unit_axis(panel, "x")
    unit_axis(panel, "y")
    name_axes(panel, "false positive rate", "true positive rate")
    return figure


def precision_recall_tile(scores: NDArray[np.float64], labels: NDArray, caption: str) -> Figure:
    precision, recall = precision_recall(scores, labels)
    average = average_precision(precision, recall)
    figure, (panel,) = tile(f"Precision and recall: average precision {average:.4f}", caption)
    share = float(np.mean(labels))
    panel.plot([0, 1], [share, share], color=MUTED, linestyle=_CHANCE, linewidth=1)
    panel.plot(
        np.append(0, recall),
        np.append(precision[:1], precision),
        color=_LINE,
        linewidth=1.8,
        drawstyle="steps-pre",
    )
    panel.annotate(
        f"share of class 1: {share:.2f}",
        (0, share),
        (0, 3),
        textcoords="offset points",
        color=MUTED,
        fontsize=8,
    )
    unit_axis(panel, "x")
    unit_axis(panel, "y")
    name_axes(panel, "recall", "precision")
    return figure


def calibration_tile(probabilities: NDArray[np.float64], labels: NDArray, caption: str) -> Figure:
    found = calibration(probabilities, labels)
    figure, (panel,) = tile(f"Calibration: expected calibration error {found.error:.4f}", caption)
    panel.plot([0, 1], [0, 1], color=MUTED, linestyle=_CHANCE, linewidth=1)
    panel.vlines(found.predicted, found.low, found.high, color=_LINE, linewidth=1.2)
    panel.scatter(
        found.predicted,
        found.observed,
        s=20 + 180 * found.rows / found.rows.sum(),
        color=_LINE,
        edgecolors="white",
        linewidths=0.8,
        zorder=3,
        clip_on=False,
    )
    unit_axis(panel, "x")
    unit_axis(panel, "y")
    name_axes(panel, "predicted probability (area: rows)", "share of class 1, 95 % interval")
    return figure


def probabilities_tile(
    probabilities: NDArray[np.float64],
    labels: NDArray,
    classes: tuple[str, str],
    caption: str,
) -> Figure:
    """Both classes' predictions, class 1 upward and class 0 downward, so that neither hides."""
    edges, negative, positive = histograms(probabilities, labels)
    right = float(np.mean((probabilities > 0.5) == (labels > 0.5)))
    figure, (panel,) = tile(f"Predicted probabilities: accuracy {right:.4f}", caption)
    for counts, sign, colour, name in zip(
        (positive, negative), (1, -1), COLOURS[::-1], classes[::-1], strict=True
    ):
        panel.stairs(sign * counts, edges, fill=True, color=colour, alpha=0.85, label=plain(name))
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.axvline(0.5, color=MUTED, linestyle=_CHANCE, linewidth=1)
    most = 1.1 * max(1, positive.max(), negative.max())
    unit_axis(panel, "x")
    panel.set_ylim(-most, most)
    panel.yaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    key(panel, "upper center")
    name_axes(panel, f"predicted probability of {classes[1]}", "rows")
    return figure
