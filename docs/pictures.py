"""Draws the README's picture from finished sweeps, so that anyone can make it again.

python docs/pictures.py OUTPUT SWEEP_DIR [SWEEP_DIR ...]     a panel for each sweep
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = {
    "none": "#D55E00",
    "standardize": "#0072B2",
    "center": "#009E73",
    "batchnorm": "#CC79A7",
}
OTHER = "#000000"
GUESS = "#333333"


def main() -> None:
    parser = argparse.ArgumentParser(description="Training loss by epoch, a panel for each sweep.")
    parser.add_argument("output", type=Path, help="the picture; its ending chooses the format")
    parser.add_argument("sweeps", type=Path, nargs="+", metavar="SWEEP_DIR")
    options = parser.parse_args()

    figure = Figure(figsize=(1 + 3.8 * len(options.sweeps), 3.6), layout="constrained")
    all_axes = figure.subplots(1, len(options.sweeps), sharey=True, squeeze=False)[0]
    for axes, sweep in zip(all_axes, options.sweeps, strict=True):
        draw(axes, sweep)
    all_axes[0].set_ylabel("training loss")
    figure.savefig(options.output, dpi=140)


def draw(axes: Axes, sweep: Path) -> None:
    """A thin line for each run, in its normalization's colour."""
    runs = [path.parent for path in sweep.glob("*/result.json")]
    if not runs:
        raise SystemExit(f"{sweep} holds no finished run")
    source, epochs, entropy = "", 1, 0.0
    labelled: set[str] = set()
    for run in sorted(runs, key=lambda path: int(path.name)):
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        entropy = json.loads((run / "result.json").read_text(encoding="utf-8"))["label_entropy"]
        source, name = config["data"]["name"], config["normalization"]["name"]
        losses = dict(curve(run / "metrics.csv"))
        epochs = max(epochs, *losses)
        axes.plot(
            list(losses),
            list(losses.values()),
            color=COLOURS.get(name, OTHER),
            linewidth=1.1,
            alpha=0.85,
            label="" if name in labelled else name,
        )
        labelled.add(name)
    axes.axhline(entropy, color=GUESS, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
    axes.annotate(
        "a guess that ignores the input",
        (epochs, entropy),
        (0, 4),
        textcoords="offset points",
        ha="right",
        color=GUESS,
        fontsize=8,
    )
    axes.set(yscale="log", xlim=(0, epochs), xlabel="epoch")
    axes.set_title(f"{source.replace('_', ' ')}, {len(runs)} runs", fontsize=11)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    axes.legend(
        title="normalization", frameon=False, loc="lower left", fontsize=9, alignment="left"
    )


def curve(metrics: Path) -> Iterator[tuple[int, float]]:
    """(epoch, training loss) of a run."""
    with metrics.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield int(row["epoch"]), float(row["train/loss"])


if __name__ == "__main__":
    main()
