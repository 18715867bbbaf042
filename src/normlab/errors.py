"""The one exception for what a user can mend, so that it is told apart from a defect."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Bad input: a setting, a file, a folder. Its message says what is wrong, where, what to do.

    The program's doors print the message alone and exit with status 1. Any other exception is a
    defect of the program and keeps its traceback.
    """


# What a disk or its rights refuse; any other OSError is a defect of the program.
OF_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
     errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST}
)  # fmt: skip


def of_the_disk(error: Exception) -> bool:
    """Whether the user's disk is the reason, not the program."""
    return isinstance(error, OSError) and error.errno in OF_THE_DISK


REFUSED = ("can't allocate memory", "out of memory")  # by torch, on the CPU and on a GPU


@contextmanager
def told_of_memory() -> Iterator[None]:
    """Turns what Python, NumPy and torch raise for want of memory into a message.

    Not what polars does: its library ends the process, with a line of its own.

    Raises:
        UserError: instead of a MemoryError or torch's RuntimeError.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        if not isinstance(error, MemoryError) and not any(words in said for words in REFUSED):
            raise
        raise UserError(
            "the memory does not suffice. Ways out: data.cache=true, which leaves the table on "
            "disk, with some rows in a step (data.batch_size=1024); a smaller network; in a fused "
            f"sweep fewer runs at once (hydra.launcher.max_runs). The reason given: {said}"
        ) from error
