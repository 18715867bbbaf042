"""A signal that arrives where Python swallows exceptions."""

from __future__ import annotations

import subprocess
import sys

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
