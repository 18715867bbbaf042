"""Measures and draws what docs/normalization.md tells, and writes that page.

python docs/normalization.py           trains what is not yet in build/normalization, writes
python docs/normalization.py --check   the same, but writes nothing: compares with what is printed
python docs/normalization.py --text    measures nothing, fills the page from normalization.json
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import beginnings
import page
from matplotlib.figure import Figure
from sweeps import ROOT, shown, sweep

from normlab.insight.canvas import INK, MUTED, OKABE_ITO, canvas, label, log_axis
from normlab.insight.figures import figures as reported
from normlab.insight.standing import Standing, losses
from normlab.insight.standings import Standings, rank
from normlab.insight.sweep import read_sweep
from normlab.insight.words import number

BUILD = Path("build/normalization")
RAW = ("python", "train.py", "-m", "experiment=heart_rate", f"data.rows={beginnings.ROWS}")
SEEDS = f"seed=range(0,{beginnings.N_SEEDS})"
STRATEGIES = ("none", "center", "standardize", "minmax", "robust", "log1p", "quantile", "batchnorm")
OWN = 16.87  # the heart rates' mean in standard deviations: 92.6 / 5.49
OFFSETS = (0, 2, 4, 8, OWN, 32, 64, 128)  # means of inputs of standard deviation 1
BELOW = 0.2914  # the threshold of 91 below the mean of 92.6, in standard deviations of 5.49

SWEEPS: dict[str, tuple[str, ...]] = {
    "strategies": (*RAW, f"normalization={','.join(STRATEGIES)}", SEEDS),
    "rate": (*RAW, "normalization=none", "model.lr=0.1", SEEDS),
    "step": (
        *RAW,
        "normalization=none",
        "model.lr=0.01,0.1",
        "model/scheduler=step",
        "model.scheduler.step_size=200",
        SEEDS,
    ),
    "long": (*RAW, "normalization=none", "trainer.max_epochs=10000", SEEDS),
    "logistic": (
        *RAW,
        "model.hidden=[]",
        "normalization=none,center,standardize",
        "model.optimizer=sgd,adam",
        "model.lr=0.0001,0.001,0.01,0.1,1,10",
        "seed=range(0,5)",
    ),
    "circles": (
        "python",
        "train.py",
        "-m",
        "experiment=circles",
        "normalization=none,center,standardize,batchnorm",
        SEEDS,
    ),
    **{
        f"offset_{offset:g}": (
            *RAW,
            "normalization=none",
            f"data.mean={offset:g}",
            "data.std=1.0",
            f"data.threshold={round(offset - BELOW, 4)}",
            SEEDS,
        )
        for offset in OFFSETS
    },
}


def command(name: str) -> list[str]:
    """The sweep of this name, as it would be typed."""
    return [*SWEEPS[name], f"hydra.sweep.dir={BUILD / name}"]


def standings(name: str) -> Standings:
    """A trained sweep, ranked."""
    return rank(read_sweep(ROOT / BUILD / name))


def measure() -> dict[str, Any]:
    """All figures of the page; trains where that has not been done yet."""
    seconds = [sweep(command(name), BUILD / name)["processor"] for name in SWEEPS]
    swept = {name: standings(name) for name in SWEEPS}
    rows, labels = beginnings.table()
    strategies = swept["strategies"]
    (raw,) = swept["rate"].rows
    steps = {float(row.values["model.lr"] or 0): row for row in swept["step"].rows}
    return beginnings.measure() | {
        "n_runs": sum(len(one.sweep.finished) for one in swept.values()),
        "processor_minutes": (sum(seconds) + time.process_time()) / 60,
        "n_seeds": beginnings.N_SEEDS,
        "label_entropy": next(
            run.finals["label_entropy"] for run in strategies.sweep.finished if run.finals
        ),
        "strategies": by(strategies.rows, "normalization.name"),
        "seed_by_seed": {
            row.values["normalization.name"]: losses(row, "train/loss")[:3]
            for row in strategies.rows
        },
        "long": of_row(swept["long"].rows[0]),
        "raw_fast": of_row(raw),
        "step": {"slow": of_row(steps[0.01]), "fast": of_row(steps[0.1])},
        "plain": {
            "sigmoid": beginnings.stuck(False, rows, labels),
            "logits": beginnings.stuck(True, rows, labels),
        },
        "logistic": {
            optimizer: by(
                [r for r in swept["logistic"].best if r.values["model.optimizer"] == optimizer],
                "normalization.name",
            )
            for optimizer in ("sgd", "adam")
        },
        "circles": by(swept["circles"].rows, "normalization.name"),
        "own": OWN,
        "offset_price": _median("train/loss", swept[f"offset_{OWN}"])
        / _median("train/loss", swept["offset_0"]),
        "offsets": [of_row(swept[f"offset_{offset:g}"].rows[0]) for offset in OFFSETS],
    }


def _median(measure: str, found: Standings) -> float:
    return found.rows[0].measures[measure].median


def by(rows: list[Standing] | tuple[Standing, ...], key: str) -> dict[str, Any]:
    return {row.values[key] or "": of_row(row) for row in rows}


def of_row(row: Standing) -> dict[str, Any]:
    rate = row.values.get("model.lr")
    return {
        "nothing": page.of_share(row.nothing),
        "loss": page.of_summary(row.measures["train/loss"]),
        "reached": page.of_share(row.reached),
        "epochs": row.epochs.median,
        **({} if rate is None else {"rate": float(rate)}),
    }


def render(figures: dict[str, Any]) -> str:
    return page.fill("normalization", figures, blocks(figures))


def blocks(figures: dict[str, Any]) -> dict[str, str]:
    """The page's tables and commands, as Markdown."""
    units, kappa = figures["units"], figures["condition"]
    words = {
        "none": "raw",
        "scaled": "divided by the standard deviation",
        "center": "minus the mean",
        "standardize": "standardized",
    }
    found = figures["strategies"]
    logistic = figures["logistic"]
    return {
        "beginnings": page.table(
            ["inputs", "flat units", "units with their step among the rows", "condition number"],
            [
                [
                    words[name],
                    f"{100 * units[name]['flat']:.0f} %",
                    f"{100 * units[name]['inside']:.1f} %",
                    f"{float(f'{kappa[name]:.3g}'):,.10g}",
                ]
                for name in words
            ],
        ),
        "strategies": page.table(
            ["normalization", "learnt nothing", "training loss", "epochs to a tenth of a guess's"],
            [
                [
                    name,
                    page.as_percent(cell["nothing"]),
                    page.with_interval(cell["loss"]),
                    "never" if cell["epochs"] is None else f"{cell['epochs']:.0f}",
                ]
                for name, cell in ((name, found[name]) for name in STRATEGIES)
            ],
        ),
        "remedies": page.table(
            ["raw rates, with", "learnt nothing", "training loss"],
            [
                [what, page.as_percent(cell["nothing"]), page.with_interval(cell["loss"])]
                for what, cell in (
                    ("rate 0.01", found["none"]),
                    ("rate 0.01, halved every 200 epochs", figures["step"]["slow"]),
                    ("rate 0.1", figures["raw_fast"]),
                    ("rate 0.1, halved every 200 epochs", figures["step"]["fast"]),
                )
            ],
        ),
        "logistic": page.table(
            ["logistic regression on", "SGD: loss", "at rate", "Adam: loss", "at rate"],
            [
                [
                    words[name],
                    number(logistic["sgd"][name]["loss"][0]),
                    f"{logistic['sgd'][name]['rate']:g}",
                    number(logistic["adam"][name]["loss"][0]),
                    f"{logistic['adam'][name]['rate']:g}",
                ]
                for name in ("none", "center", "standardize")
            ],
        ),
        "circles": page.table(
            ["circles", "learnt nothing", "training loss"],
            [
                [name, page.as_percent(cell["nothing"]), page.with_interval(cell["loss"])]
                for name, cell in sorted(figures["circles"].items())
            ],
        ),
        "offsets": page.table(
            ["mean / standard deviation", "learnt nothing", "training loss"],
            [
                [f"{at:g}", page.as_percent(cell["nothing"]), page.with_interval(cell["loss"])]
                for at, cell in zip(OFFSETS, figures["offsets"], strict=True)
            ],
        ),
        "plain sigmoid": page.as_percent(figures["plain"]["sigmoid"]),
        "plain logits": page.as_percent(figures["plain"]["logits"]),
        "long nothing": page.as_percent(figures["long"]["nothing"]),
        "long reached": page.as_percent(figures["long"]["reached"]),
        **{f"command {name}": shown(command(name)) for name in SWEEPS},
    }


def draw(figures: dict[str, Any]) -> None:
    page.picture("first_outputs", beginnings.first_outputs())
    page.picture("offset", offset(figures["offsets"]))
    page.picture("loss_over_epochs", reported(standings("strategies"))["loss_over_epochs"])
    page.picture("logistic", reported(standings("logistic"))["sensitivity"])


def offset(found: list[dict[str, Any]]) -> Figure:
    """Share of runs that learnt nothing, and the median loss, against the inputs' mean."""
    figure, (left, right) = canvas(2, width=5.0, height=3.2)
    values, ends = _with_ends(found, "nothing", 100)
    left.errorbar(OFFSETS, values, ends, color=OKABE_ITO[0], marker="o", capsize=3, lw=1.6)
    left.set_ylim(-3, 103)
    left.yaxis.set_major_formatter("{x:g} %")
    values, ends = _with_ends(found, "loss", 1)
    right.errorbar(OFFSETS, values, ends, color=OKABE_ITO[0], marker="o", capsize=3, lw=1.6)
    log_axis(right, "y")
    for panel, what in ((left, "runs that learnt nothing"), (right, "median training loss")):
        panel.set_xscale("symlog", linthresh=2, linscale=0.7)
        panel.set_xlim(-0.5, 160)
        panel.set_xticks(OFFSETS, [f"{at:.0f}" for at in OFFSETS])
        panel.minorticks_off()
        panel.axvline(OWN, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.4)
        label(panel, "mean of the inputs, in standard deviations", what)
    title = "The same problem further and further from 0; dotted, heart rates by their spread"
    figure.suptitle(title, color=INK, size=11)
    return figure


def _with_ends(
    found: list[dict[str, Any]], name: str, factor: float
) -> tuple[list[float], list[list[float]]]:
    """Values, and how far their intervals reach below and above."""
    values, lows, highs = zip(*(cell[name] for cell in found), strict=True)
    below = [factor * (value - low) for value, low in zip(values, lows, strict=True)]
    above = [factor * (high - value) for value, high in zip(values, highs, strict=True)]
    return [factor * value for value in values], [below, above]


if __name__ == "__main__":
    page.publish("normalization", measure, render, draw)
