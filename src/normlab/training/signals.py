"""Ended by Ctrl-C or by a request to terminate: with a checkpoint, and a word on how to go on.

Between two epochs the training's state is whole. So a first signal waits for the end of the epoch,
and all that came before stays; a second Ctrl-C ends the program at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from normlab.config.typed import setting, shell_quoted
from normlab.layout import CONFIG, SWEEP

CALLED = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "a request to terminate"}
A_MOMENT = 0.01  # seconds


class Interrupted(SystemExit):
    """Unwinds the stack, so that every `finally` on the way runs; the exit status is 128 + signal.

    Attributes:
        by: what has ended the program, in words.
        told: whether the user knows how to go on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.by = CALLED[signal.Signals(number)]
        self.told = False


class _Process:
    """What this process does with signals."""

    catches = False
    waits = False  # for the end of the epoch
    asked: int | None = None  # the signal that came


def catch_signals() -> None:
    """From now on signals end the program by `Interrupted`."""
    _Process.catches, _Process.waits, _Process.asked = True, False, None
    for number in CALLED:
        signal.signal(number, _on_signal)


def catch_sigterm_again() -> None:
    """To be called when Lightning has begun a training, whose handler of SIGTERM ends with 0.

    At the end Lightning puts back the one before.
    """
    if _Process.catches and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _Process.asked is not None:
        if number == signal.SIGINT:  # whatever holds it up, and nothing is half-written
            os._exit(128 + number)
        return
    _Process.asked = number
    if _Process.waits:
        called = CALLED[signal.Signals(number)]
        said = f"\nnormlab: {called}: ends with this epoch; Ctrl-C ends at once"
        print(said, file=sys.stderr, flush=True)
    else:
        _interrupt(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends the program; a moment later where Python would swallow the exception, in a `__del__`."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    if frame is None:
        raise Interrupted(number)
    signal.signal(signal.SIGALRM, lambda _, later: _interrupt(number, later))
    signal.setitimer(signal.ITIMER_REAL, A_MOMENT)


@contextmanager
def until_epoch_end(waits: bool = True) -> Iterator[None]:
    """Within, a signal waits for `end_if_asked`, which whoever trains calls after each epoch.

    Args:
        waits: False ends at once here too.

    Raises:
        Interrupted: at the end, where a signal came and no epoch followed.
    """
    _Process.waits = waits
    try:
        yield
        end_if_asked()
    finally:
        _Process.waits = False


def asked_to_end() -> bool:
    """Whether a signal waits for the end of the epoch."""
    return _Process.asked is not None


def end_if_asked() -> None:
    """Ends the program where a signal has asked for it.

    Raises:
        Interrupted: in that case.
    """
    if _Process.asked is not None:
        raise Interrupted(_Process.asked)


def tell(end: Interrupted, what_is_kept: str, folder: Path) -> None:
    """Says, once, what was kept and how to go on.

    Args:
        folder: of the run or the sweep.
    """
    if not end.told:
        end.told = True
        said = f"normlab: ended by {end.by}; {what_is_kept}\n{how_to_go_on(folder)}"
        print(said, file=sys.stderr, flush=True)


def how_to_go_on(folder: Path) -> str:
    """What continues the run, the sweep or the search of this folder, in a line of its own."""
    shown = min(os.path.relpath(folder), str(folder), key=len)
    if not any((folder / record).exists() for record in (CONFIG, SWEEP)):
        return f"  to go on: the same command with {setting('hydra.sweep.dir', shown)}"  # a search
    program = "python train.py" if Path(sys.argv[0]).name == "train.py" else "normlab train"
    return f"  to go on: {program} {shell_quoted(f'resume={shown}')}"
