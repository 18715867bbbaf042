"""Whole Python processes, with their time and their memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# A process's peak begins with that of the one that started it, hence a small one between them.
STARTER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
status = subprocess.call(sys.argv[2:])
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # Linux counts it in KiB
with open(sys.argv[1], "w") as file:
    json.dump([status, seconds, peak], file)
"""


@cache
def _folders() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def new_folder() -> Path:
    """An empty folder that is there until the program ends.

    To remove a sweep's thousands of files slows the disk down for what is timed next: where blocks
    are trimmed as they become free, files were then made in four times the time.
    """
    return Path(tempfile.mkdtemp(dir=_folders().name))


class Used(NamedTuple):
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        peak: the most memory that it, or one that it started, held at once, in bytes.
        printed: its standard output.
    """

    seconds: float
    peak: float
    printed: str


def python(*arguments: str, status: int = 0) -> Used:
    """Runs Python with these arguments in the project's folder.

    Raises:
        RuntimeError: it ended with another status, with what it printed.
    """
    with tempfile.NamedTemporaryFile("r") as told:
        starter = [sys.executable, "-c", STARTER, told.name]
        ended = subprocess.run(
            [*starter, sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
        )
        found, seconds, peak = json.load(told)
    if found != status:
        raise RuntimeError(f"{arguments} ended with {found}:\n{ended.stderr}")
    return Used(seconds, peak, ended.stdout)
