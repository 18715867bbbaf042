"""A signal that arrives where Python swallows exceptions, and the word on how to go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from normlab.training.signals import how_to_go_on

SIGNAL_IN_DEL = """
import os, signal, time
from normlab.training.signals import Interrupted, catch_signals

class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))

catch_signals()
try:
    Slow()
    time.sleep(30)
except Interrupted as end:
    print("ended", end.code)
"""


def test_a_signal_within_a_del_ends_the_program_after_it() -> None:
    command = [sys.executable, "-c", SIGNAL_IN_DEL]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("ended 143\n", "")


def test_a_search_goes_on_by_its_own_command(tmp_path: Path) -> None:
    """It keeps no record that `resume=` could read."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").touch()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/multirun.yaml").touch()
    for name in ("run", "sweep"):
        said = how_to_go_on(tmp_path / name)
        assert said.startswith("  to go on: ")
        assert " resume=" in said
        assert said.endswith(name)
    (tmp_path / "search/0").mkdir(parents=True)
    assert "the same command with hydra.sweep.dir=" in how_to_go_on(tmp_path / "search")
