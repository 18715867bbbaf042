"""Runs the sweeps that a page of docs/ reports on, by the program's own command line."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def shown(command: Sequence[str]) -> str:
    """The command for a page: quoted for a shell, a few words a line."""
    lines = [""]
    for word in map(shlex.quote, command):
        if len(lines[-1]) + len(word) > 90:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def sweep(command: Sequence[str], folder: Path) -> dict[str, float]:
    """Trains what an earlier call has not finished; returns the seconds that it took.

    Args:
        command: `python train.py -m ...`, writing into `folder`; both relative to the root.

    Raises:
        SystemExit: naming the log of a sweep that failed.
    """
    took = ROOT / f"{folder}.seconds.json"
    if took.exists():
        return json.loads(took.read_text(encoding="utf-8"))
    print(shown(command), flush=True)
    took.parent.mkdir(parents=True, exist_ok=True)
    quiet = ["trainer.enable_progress_bar=false", "trainer.enable_checkpointing=false"]
    started, used = time.perf_counter(), _processor_seconds()
    with took.with_suffix(".log").open("w", encoding="utf-8") as log:
        words = [sys.executable, *command[1:], *quiet]
        if subprocess.run(words, cwd=ROOT, stdout=log, stderr=log).returncode:
            raise SystemExit(f"the sweep failed, see {log.name}")
    seconds = {"wall": time.perf_counter() - started, "processor": _processor_seconds() - used}
    took.write_text(json.dumps(seconds), encoding="utf-8")
    return seconds


def _processor_seconds() -> float:
    usage: Any = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
