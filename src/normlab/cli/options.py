"""What several subcommands have in common: options of a file, the model, and printing."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.errors import UserError

if TYPE_CHECKING:
    from normlab.data.file.dialect import Format
    from normlab.inference.predict import Predictor


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=Path,
        metavar="RUN",
        help="the folder of a run (its best checkpoint) or a checkpoint file, which is read as "
        "data alone: nothing in it is executed",
    )


def add_file(parser: argparse.ArgumentParser, text: str) -> None:
    """The file, and how it is written where that is not to be detected."""
    parser.add_argument("file", type=Path, metavar="FILE", help=text)
    add_format(parser.add_argument_group("how FILE is written", "detected by default"))


def add_format(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--header", choices=["true", "false"], help="whether names stand first")
    for name, known, text in (
        ("separator", ["comma", "semicolon", "tab", "pipe"], "between cells"),
        ("quote", ["double", "single", "none"], "around cells that hold a separator"),
        ("decimal", ["point", "comma"], "before a number's fraction"),
        ("thousands", ["none", "comma", "point", "space", "apostrophe"], "between thousands"),
        ("encoding", ["utf-8", "utf-16", "latin-1", "cp1252"], "of the text"),
    ):
        parser.add_argument(f"--{name}", choices=known, help=text)
    parser.add_argument("--skip-lines", type=_whole, metavar="N", help="lines before the table")


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of lines")
    return int(text)


def format_of(options: argparse.Namespace) -> Format:
    from normlab.data.file.dialect import Format

    given = {
        name: value
        for name, value in vars(options).items()
        if value is not None and name in Format.__dataclass_fields__
    }
    if "header" in given:
        given["header"] = given["header"] == "true"
    return Format(**given)


def add_threshold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold",
        type=probability,
        default=0.5,
        metavar="P",
        help="predict the label of class 1 where its probability is above P (default: 0.5, by "
        "which the accuracies and the decision threshold in result.json go)",
    )


def probability(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def load_model(options: argparse.Namespace) -> Predictor:
    """The model of the argument RUN.

    Raises:
        UserError: there is none, or the FILE is not there: that is told without waiting for torch.
    """
    file = getattr(options, "file", None)
    for path in (options.model, file):
        if path is not None and not path.exists():
            raise UserError(f"{path}: no such file{' or folder' if path is not file else ''}")
    import torch

    from normlab.inference.predict import load

    predictor = load(options.model)
    widest = max([*predictor.network.hidden, predictor.network.n_inputs])
    if widest < FEW_UNITS:
        torch.set_num_threads(1)
    return predictor


# Of the widest layer: below, more threads of torch only take time from those that read and write.
FEW_UNITS = 128


@contextmanager
def settings_as_options() -> Iterator[None]:
    """Messages about a file name settings of a training; here they are options.

    Raises:
        UserError: in the words of this command line.
    """
    try:
        yield
    except UserError as error:
        names = "header|separator|quote|decimal|thousands|skip_lines|encoding"
        text = re.sub(
            rf"data\.({names})=([\w-]+)",
            lambda found: f"--{found[1].replace('_', '-')} {found[2]}",
            str(error),
        )
        text = text.replace("Check data.path; it is", "Check the path; it is")
        raise UserError(text.replace("Check data.path.", "Check the path.")) from error


def show(text: str) -> None:
    """Prints what users have named in any script, also where the terminal knows ASCII alone."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def note(text: str) -> None:
    """Says on standard error what is no part of the result."""
    encoding = sys.stderr.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)
