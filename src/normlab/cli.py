"""The command `normlab`: what is done with runs once they exist.

Each subcommand imports what it needs when it is run, so that --help answers at once.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from normlab.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
        sys.stdout.flush()
    except UserError as error:
        print(f"normlab: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `normlab ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="normlab")
    parser.description = "Use what `python train.py` has trained."
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_inspect(commands)
    _add_report(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: that reads the installed package's files."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"normlab {version('normlab')}")
        parser.exit()


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "inspect",
        help="show what a table would be read as",
        description="Shows a table's columns, their types and missing values, the label's "
        "balance, what needs a second look, and the command to train on it. The options are the "
        "settings under data.* of `python train.py --help`.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV, also gzipped, or Parquet")
    parser.add_argument("--target", metavar="COLUMN", help="the label's column (default: a guess)")
    parser.add_argument("--positive", nargs="+", metavar="VALUE", help="its values of class 1")
    for name, text in (
        ("features", "the input columns"),
        ("drop", "columns to leave out"),
        ("categorical", "columns that are categories"),
        ("numeric", "columns that are numbers"),
    ):
        parser.add_argument(f"--{name}", nargs="+", metavar="COLUMN", help=text)
    parser.add_argument("--missing-values", nargs="+", metavar="TEXT", help="their spellings")
    parser.add_argument("--header", choices=["true", "false"], help="of the file")
    for name, known in (
        ("separator", ["comma", "semicolon", "tab", "pipe"]),
        ("quote", ["double", "single", "none"]),
        ("decimal", ["point", "comma"]),
        ("encoding", ["utf-8", "utf-16", "latin-1", "cp1252"]),
    ):
        parser.add_argument(f"--{name}", choices=known, help="detected by default")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from normlab.data.columns import Selection
    from normlab.data.detection import Format
    from normlab.data.inspection import inspect_file
    from normlab.data.inspection_text import inspection_text

    given = {name: value for name, value in vars(options).items() if value is not None}
    if "header" in given:
        given["header"] = given["header"] == "true"
    format = Format(**{k: v for k, v in given.items() if k in Format.__dataclass_fields__})
    selection = Selection(**{k: v for k, v in given.items() if k in Selection.__dataclass_fields__})
    _print(inspection_text(inspect_file(options.file, options.target, format, selection)))


def _add_report(commands: argparse._SubParsersAction) -> None:
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

    _print(report(options.sweep, options.target_loss, options.tune).text)


def _print(text: str) -> None:
    """Prints what users have named in any script, also where the terminal knows ASCII alone."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


if __name__ == "__main__":
    sys.exit(main())
