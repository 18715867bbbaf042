"""`normlab train`: `python train.py`, wherever the program is installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def add(commands: argparse._SubParsersAction) -> None:
    """For --help alone: the arguments are Hydra's, which `main` hands to `train` unread."""
    commands.add_parser("train", help="train a run, or a sweep; `normlab train --help` says how")


def train(arguments: Sequence[str]) -> None:
    """Runs the command line; ends the process where that fails."""
    import __main__
    from normlab.app import hydra_app

    # Lightning starts the other processes of ddp by this command, a file with its arguments.
    sys.argv[0] = str(hydra_app.__file__)
    __main__.__spec__ = None
    hydra_app.main(arguments=arguments)
