"""What the pictures of ranked settings share: which are drawn, their legend, title and baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from normlab.insight.canvas import INK, LETTER, LINE, MUTED, clipped, grow, look, plain, wrapped
from normlab.insight.standing import Standing
from normlab.insight.standings import Standings
from normlab.insight.words import number

MOST = 12  # settings in a picture


def pictured(standings: Standings) -> list[Standing]:
    """The best settings, those of a task together; the same in all pictures, so in one colour."""
    rows = standings.best[:MOST]
    tasks = list(dict.fromkeys(row.task for row in rows))
    return sorted(rows, key=lambda row: tasks.index(row.task))


def guess_line(panel: Axes, standings: Standings, draw: Callable) -> None:
    """Where a run that learnt nothing sits; only where all runs share it."""
    finals = [run.finals["guess_loss"] for run in standings.sweep.finished if run.finals]
    known = [value for value in finals if np.isfinite(value)]
    if known and max(known) <= 1.02 * min(known):
        place = float(np.median(known))
        draw(place, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        horizontal = draw == panel.axhline
        panel.annotate(
            f"a guess's loss {number(place)}",
            (1.0, place) if horizontal else (place, 1.0),
            xycoords=panel.get_yaxis_transform() if horizontal else panel.get_xaxis_transform(),
            xytext=(0, 3) if horizontal else (3, 3),
            textcoords="offset points",
            ha="right" if horizontal else "center",
            va="bottom",
            color=MUTED,
            fontsize=8,
        )


def title(figure: Figure, standings: Standings, text: str) -> None:
    if len(standings.best) > MOST:
        text += f" (the best {MOST} of {len(standings.best)} settings)"
    text = wrapped(text, int(figure.get_figwidth() / LETTER / 1.15))
    figure.suptitle(plain(text), color=INK, fontsize=11)
    grow(figure, text.count("\n") * LINE * 1.2)


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
