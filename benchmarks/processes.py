"""Whole Python processes, with their time and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Used(NamedTuple):
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        peak: the most memory that it held at once, in bytes.
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
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=errors
        )
        _, ended, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended)
        output.seek(0)
        errors.seek(0)
        if process.returncode != status:
            raise RuntimeError(f"{arguments} ended with {process.returncode}:\n{errors.read()}")
        return Used(seconds, used.ru_maxrss * 1024.0, output.read())  # Linux counts it in KiB
