"""The door's manners: for each thing a user can mend, one message and an exit status.

0 is success, 1 a mistake the user can mend, 2 a wrong command line (argparse says so itself),
130 and 143 an end by SIGINT and SIGTERM. A defect of the program keeps its traceback.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from normlab.app.folders import remove_unused
from normlab.config.processes import is_echo
from normlab.errors import UserError, of_the_disk, told_of_memory
from normlab.training.signals import catch_signals


def fail(error: Exception, status: int = 1) -> NoReturn:
    """Prints the message alone, on standard error, and ends the program."""
    if not is_echo():
        print(f"normlab: {error}", file=sys.stderr, flush=True)
    sys.exit(status)


@contextmanager
def front_door() -> Iterator[None]:
    """Turns what a user can mend into a message, and signals into exit statuses."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may be beyond the terminal's alphabet
        sys.stdout.reconfigure(errors="backslashreplace")
    catch_signals()
    try:
        with told_of_memory():
            yield
    except UserError as error:
        fail(error)
    except BrokenPipeError:  # `... --help | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if _folder_has_vanished():
            fail(UserError("the working folder is gone: start the program from one that exists"))
        if not of_the_disk(error):
            raise
        fail(UserError(f"{error.filename or 'the disk'}: {error.strerror}"))
    finally:
        if not _folder_has_vanished():
            remove_unused()


def _folder_has_vanished() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
