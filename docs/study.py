"""Every normalization x learning rates x 50 seeds on nine tables, and what came of it.

python docs/study.py           trains what is not yet in build/study, writes docs/study.*
python docs/study.py --check   the same, but writes nothing: compares with what is printed
python docs/study.py --text    measures nothing, fills docs/study.md from docs/study.json
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import page
import study_pictures
from study_tables import TABLES, settings
from sweeps import ROOT, shown, sweep

from normlab.insight.comparison import duel
from normlab.insight.standing import Standing, by_seed, losses
from normlab.insight.standings import Standings, rank
from normlab.insight.sweep import read_sweep
from normlab.insight.words import number

BUILD = Path("build/study")
STRATEGIES = ("none", "center", "standardize", "minmax", "robust", "log1p", "quantile", "batchnorm")
RATES = ("0.001", "0.01", "0.1", "1")
N_SEEDS = 50
TRAINING = (
    "model.hidden=[8]",
    "model/scheduler=none",
    "data.batch_size=32",
    "trainer.max_epochs=40",
)
SWEEPS = TABLES  # a sweep for each
WILL_DO = 0.1  # of the label entropy: a rate so near to the table's lowest test loss will do


def command(name: str) -> list[str]:
    """The sweep of a table, as it would be typed."""
    return [
        "python",
        "train.py",
        "-m",
        *settings(name, BUILD / "tables"),
        f"normalization={','.join(STRATEGIES)}",
        f"model.lr={','.join(RATES)}",
        f"seed=range(0,{N_SEEDS})",
        *TRAINING,
        f"hydra.sweep.dir={BUILD / name}",
    ]


def measure() -> dict[str, Any]:
    """All figures of the page; trains where that has not been done yet."""
    tables, seconds = {}, []
    for name in TABLES:
        seconds.append(sweep(command(name), BUILD / name))
        tables[name] = measure_table(rank(read_sweep(ROOT / BUILD / name)))
    best = [table["ranking"][0] for table in tables.values()]
    return {
        "tables": tables,
        "n_tables": len(tables),
        "n_runs": sum(table["n_runs"] for table in tables.values()),
        "processor_minutes": (sum(one["processor"] for one in seconds) + time.process_time()) / 60,
        "won": {name: best.count(name) for name in STRATEGIES},
        "will_do": {
            name: sum(table["strategies"][name]["will_do"] for table in tables.values())
            for name in STRATEGIES
        },
    }


def measure_table(standings: Standings) -> dict[str, Any]:
    runs = standings.sweep.finished
    entropies = [run.finals["label_entropy"] for run in runs if run.finals]
    entropy = sorted(entropies)[len(entropies) // 2]
    best = {row.values["normalization.name"] or "": row for row in standings.best}
    lowest = min(row.measures["test/loss"].median for row in standings.rows)
    strategies = {}
    for name in STRATEGIES:
        ordered = sorted(
            (row for row in standings.rows if row.values["normalization.name"] == name),
            key=lambda row: float(row.values["model.lr"] or 0),
        )
        strategies[name] = {
            **measure_row(best[name]),
            "will_do": sum(
                row.measures["test/loss"].median <= lowest + WILL_DO * entropy for row in ordered
            ),
            "val_by_rate": [row.measures["val/loss"].median for row in ordered],
            "test_by_rate": [row.measures["test/loss"].median for row in ordered],
            "nothing_by_rate": [row.nothing.value for row in ordered],
        }
    raw = by_seed(best["none"], "test/loss")
    against = duel(by_seed(best["standardize"], "test/loss"), raw)
    return {
        "n_runs": len(runs),
        "label_entropy": entropy,
        "ranking": list(best),
        "outcome": standings.verdicts[0].outcome,
        "standardize_beats_none": page.of_share(against.wins),
        "standardize_minus_none": page.of_summary(against.difference),
        "strategies": strategies,
    }


def measure_row(row: Standing) -> dict[str, Any]:
    assert row.duel is not None
    return {
        "rate": float(row.values["model.lr"] or 0),
        "test_loss": page.of_summary(row.measures["test/loss"]),
        "seed_by_seed": losses(row, "test/loss")[:3],
        "test_accuracy": page.of_summary(row.measures["test/accuracy"]),
        "nothing": page.of_share(row.nothing),
        "beats_best_other": page.of_share(row.duel.wins),
        "minus_best_other": page.of_summary(row.duel.difference),
    }


def render(figures: dict[str, Any]) -> str:
    return page.fill("study", figures, blocks(figures))


def blocks(figures: dict[str, Any]) -> dict[str, str]:
    """The page's tables and commands, as Markdown."""
    tables = figures["tables"]
    lowest, paired, rates = [], [], []
    for name, table in tables.items():
        cells = table["strategies"]
        first, second = table["ranking"][:2]
        lowest.append([spoken(name), *(_loss(cells[s], s == first) for s in STRATEGIES)])
        rates.append([spoken(name), *(f"{cells[s]['will_do']}" for s in STRATEGIES)])
        paired.append(
            [
                spoken(name),
                f"{first} before {second}",
                page.as_probability(cells[first]["beats_best_other"]),
                page.with_interval(cells[first]["minus_best_other"]),
                page.as_probability(table["standardize_beats_none"]),
                page.with_interval(table["standardize_minus_none"]),
            ]
        )
    rates.append(["all", *(f"{figures['will_do'][s]}" for s in STRATEGIES)])
    return {
        "losses": page.table(["table", *STRATEGIES], lowest),
        "rates": page.table(["table", *STRATEGIES], rates),
        "paired": page.table(
            [
                "table",
                "lowest median, and next",
                "probability that it beats the next",
                "by (difference of test losses)",
                "probability that standardize beats none",
                "by",
            ],
            paired,
        ),
        "n_rates": str(len(RATES)),
        "clear winners": _listed(
            f"{table['ranking'][0]} on {spoken(name)}"
            for name, table in tables.items()
            if table["outcome"] == "won"
        ),
        "better": _listed(
            spoken(name)
            for name, table in tables.items()
            if table["standardize_beats_none"][1] > 0.5
        ),
        "worse": _listed(
            spoken(name)
            for name, table in tables.items()
            if table["standardize_beats_none"][2] < 0.5
        ),
        "command": shown(command("breast_cancer")),
    }


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _loss(cell: dict[str, Any], first: bool) -> str:
    median, low, high = map(number, cell["test_loss"])
    lost = f"; {100 * cell['nothing'][0]:.0f} % nothing" if cell["nothing"][0] else ""
    mark = "**" if first else ""
    return f"{mark}{median}{mark}<br>({low} to {high})<br>at {cell['rate']:g}{lost}"


def spoken(name: str) -> str:
    return name.replace("_", " ")


def main() -> None:
    page.publish("study", measure, render, lambda figures: study_pictures.draw(figures, RATES))


if __name__ == "__main__":
    main()
