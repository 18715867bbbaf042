"""Ended by Ctrl-C or by a request to terminate: with a checkpoint, and a word on how to go on.

Between two epochs the training's state is whole. So a first signal waits for the end of the epoch,
if that comes soon, and all that came before stays; a second Ctrl-C ends the program at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from normlab.config.typed import setting, shell_quoted

GRACE_SECONDS = 5.0  # for the end of an epoch
A_MOMENT = 0.01
CALLED = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "a request to terminate"}


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


@dataclass
class _State:
    """Of the process, as its signals are."""

    caught: bool = False
    asked: int | None = None
    waits: bool = False


_state = _State()


def catch_signals() -> None:
    """From now on signals end the program by `Interrupted`."""
    _state.caught, _state.asked, _state.waits = True, None, False
    for number in CALLED:
        signal.signal(number, _on_signal)


def catch_sigterm_again() -> None:
    """To be called when Lightning has begun a training.

    Its own handler of SIGTERM, which calls the one before, then ends the program between two
    epochs, with exit status 0. At the end it puts back the one before.
    """
    if _state.caught and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.asked is not None:
        if number == signal.SIGINT:  # whatever holds it up, and nothing is half-written
            os._exit(128 + number)
        return
    _state.asked = number
    if not _state.waits:
        _interrupt(number, frame)
        return
    print(
        f"\nnormlab: {CALLED[signal.Signals(number)]}: ends with this epoch, or in "
        f"{GRACE_SECONDS:.0f} seconds; Ctrl-C ends at once",
        file=sys.stderr,
        flush=True,
    )
    signal.signal(signal.SIGALRM, _on_timeout)
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)


def _on_timeout(number: int, frame: FrameType | None) -> None:
    assert _state.asked is not None
    _interrupt(_state.asked, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends the program; a moment later where Python would swallow the exception, in a `__del__`."""
    inside = frame
    while inside is not None and inside.f_code.co_name != "__del__":
        inside = inside.f_back
    if inside is None:
        raise Interrupted(number)
    signal.signal(signal.SIGALRM, _on_timeout)
    signal.setitimer(signal.ITIMER_REAL, A_MOMENT)


@contextmanager
def until_epoch_end(waits: bool = True) -> Iterator[None]:
    """Within, a signal waits for `end_if_asked`, which whoever trains calls after each epoch.

    Args:
        waits: False ends at once here too.

    Raises:
        Interrupted: at the end, where a signal came and no epoch followed.
    """
    _state.waits = waits
    try:
        yield
        end_if_asked()
    finally:
        _state.waits = False
        if _state.asked is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)


def asked_to_end() -> bool:
    """Whether a signal waits for the end of the epoch."""
    return _state.asked is not None


def end_if_asked() -> None:
    """Ends the program where a signal has asked for it.

    Raises:
        Interrupted: in that case.
    """
    if _state.asked is not None:
        raise Interrupted(_state.asked)


def tell(end: Interrupted, what_is_kept: str, folder: Path) -> None:
    """Says, once, what was kept and how to go on.

    Args:
        folder: of the run or the sweep.
    """
    if not end.told:
        end.told = True
        print(
            f"normlab: ended by {end.by}; {what_is_kept}\n{how_to_go_on(folder)}",
            file=sys.stderr,
            flush=True,
        )


def how_to_go_on(folder: Path) -> str:
    """What continues the run, the sweep or the search of this folder, in a line of its own."""
    shown = min(os.path.relpath(folder), str(folder), key=len)
    if not any((folder / record).exists() for record in ("config.yaml", "multirun.yaml")):
        return f"  to go on: the same command with {setting('hydra.sweep.dir', shown)}"  # a search
    return f"  to go on: python train.py {shell_quoted(f'resume={shown}')}"
