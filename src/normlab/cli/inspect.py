"""`normlab inspect`: what a table would be read as."""

from __future__ import annotations

import argparse
from pathlib import Path

from normlab.cli.options import add_format, format_of, show


def add(commands: argparse._SubParsersAction) -> None:
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
    add_format(parser.add_argument_group("how FILE is written", "detected by default"))
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    from normlab.data.file.columns import Selection
    from normlab.data.meaning.inspect import inspect_file
    from normlab.data.meaning.inspect_text import inspection_text

    given = {name: value for name, value in vars(options).items() if value is not None}
    selection = Selection(**{k: v for k, v in given.items() if k in Selection.__dataclass_fields__})
    inspection = inspect_file(options.file, options.target, format_of(options), selection)
    show(inspection_text(inspection))
