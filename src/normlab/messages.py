"""The door's manners: for each thing a user can mend, one message and an exit status.

0 is success, 1 a mistake the user can mend, 2 a wrong command line (argparse says so itself),
130 and 143 an end by SIGINT and SIGTERM. A defect of the program keeps its traceback.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from normlab.errors import UserError
from normlab.folder_lock import let_go
from normlab.interruption import catch_signals
from normlab.out_of_memory import told_of_memory
from normlab.processes import is_echo
from normlab.quoting import hydra_quoted, shell_quoted

if TYPE_CHECKING:
    from hydra.errors import HydraException


# What a disk or its rights refuse; any other OSError is a defect of the program.
OF_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
     errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST}
)  # fmt: skip


def fail(error: Exception, status: int = 1) -> NoReturn:
    """Prints the message alone, on standard error, and ends the program."""
    if not is_echo():
        print(f"normlab: {error}", file=sys.stderr, flush=True)
    sys.exit(status)


@contextmanager
def front_door() -> Iterator[None]:
    """Turns what a user can mend into a message, and signals into exit statuses.

    Hydra's own handling of exceptions is told to step aside (HYDRA_FULL_ERROR), since it hides
    the exceptions that are translated here.
    """
    from hydra.errors import HydraException

    os.environ["HYDRA_FULL_ERROR"] = "1"
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may be beyond the terminal's alphabet
        sys.stdout.reconfigure(errors="backslashreplace")
    catch_signals()
    try:
        with told_of_memory():
            yield
    except UserError as error:
        fail(error)
    except HydraException as error:
        fail(UserError(explain(error)))
    except OSError as error:
        if _folder_has_vanished():
            fail(UserError("the working folder is gone: start the program from one that exists"))
        if error.errno not in OF_THE_DISK:
            raise
        fail(UserError(f"{error.filename or 'the disk'}: {error.strerror}"))
    finally:
        if not _folder_has_vanished():
            let_go()


def _folder_has_vanished() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def explain(error: HydraException) -> str:
    """What Hydra refused, said with the way out."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError

    if isinstance(error, OverrideParseException):
        return _explain_grammar(error.override)
    if isinstance(error, MissingConfigException) and error.options:
        name = (error.missing_cfg_file or "").rpartition("/")
        return f"{name[0]}={name[2]}: choose one of {', '.join(error.options)}"
    cause = error.__cause__
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and cause.full_key:
        return _explain_unknown(str(cause.full_key))
    return "\n".join(line for line in str(error).splitlines() if line.strip()).replace("\t", "  ")


def _explain_grammar(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"'{override}' is no setting: write KEY=VALUE (see --help)"
    quoted = shell_quoted(f"{key}={hydra_quoted(value)}")
    return f"{override}: Hydra's grammar needs quotes around this value; write\n  {quoted}"


def _explain_unknown(key: str) -> str:
    """Composes the groups that were chosen once more, to name the keys that they have."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from normlab.validation import unknown_setting

    conf = Path(sys.argv[0]).resolve().parent / "conf"
    choices = [
        argument
        for argument in sys.argv[1:]
        if (conf / argument.partition("=")[0]).is_dir() and "," not in argument
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return unknown_setting(key, compose("train", choices))
