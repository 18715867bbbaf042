"""`normlab report`: the settings of a sweep, compared."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from normlab.cli.options import show


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "report",
        help="compare the settings of a sweep",
        description="Compares the settings of a sweep, finished or running: a table here, and "
        "report.md, report.csv and report.html in its folder.",
    )
    parser.add_argument("sweep", type=Path, metavar="SWEEP_DIR", help="the folder of a multirun")
    parser.add_argument(
        "--target-loss",
        type=_loss,
        metavar="X",
        help="count the epochs to this training loss (default: 10 %% of the label entropy)",
    )
    parser.add_argument(
        "--tune",
        nargs="+",
        metavar="KEY",
        help="settings that each strategy chooses for itself (default: report.tune of the sweep, "
        "model.lr); what a search has drawn at random always is",
    )
    parser.set_defaults(run=_report)


def _loss(text: str) -> float:
    loss = float(text)
    if not 0 < loss < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and finite")
    return loss


def _report(options: argparse.Namespace) -> None:
    from normlab.insight.report import report

    show(report(options.sweep, options.target_loss, options.tune).text)
