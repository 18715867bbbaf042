"""The command `normlab`: what is done with tables and with runs.

A module for each subcommand, which imports what it needs when it is run, so that --help answers
at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from normlab.cli import evaluate, example, export, inspect, predict, report, train
from normlab.errors import UserError

COMMANDS = (example, inspect, train, report, predict, evaluate, export)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["train"]:  # signals and errors are its own door's
        train.train(given[1:])
        return 0
    options = _parser().parse_args(given)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        with _signals_unwind():
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
    parser.description = "Look at a table, train on it, and use what was trained."
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: that reads the installed package's files."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"normlab {version('normlab')}")
        parser.exit()


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """SIGINT and SIGTERM end the program by an exception, so that nothing is left half-written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, _end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)
