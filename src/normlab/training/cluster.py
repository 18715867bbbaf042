"""Handing groups of runs to submitit: processes of this machine, or jobs of a Slurm cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from normlab.errors import UserError


def submit(
    function: Callable[[Any], Any], arguments: Sequence[Any], parameters: dict[str, Any]
) -> list[Any]:
    """Calls a function on each argument, each in a job of its own.

    Args:
        parameters: `folder` for submitit's logs, `cluster` ("slurm", "local", "debug"; None: Slurm
            where there is one, else local), and what `AutoExecutor.update_parameters` takes.

    Returns:
        submitit's jobs, in order; `job.result()` waits, and raises what the function raised.

    Raises:
        UserError: where submitit is not installed.
    """
    try:
        from submitit import AutoExecutor
    except ImportError:
        raise UserError(
            "hydra.launcher.executor=submitit needs submitit: pip install -c constraints.txt "
            "-e '.[slurm]'"
        ) from None
    parameters = dict(parameters)
    executor = AutoExecutor(parameters.pop("folder"), cluster=parameters.pop("cluster", None))
    executor.update_parameters(**parameters)
    with executor.batch():
        return [executor.submit(function, argument) for argument in arguments]
