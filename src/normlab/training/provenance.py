"""What a run was made of, so that it can be made again."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "normlab",
    "torch",
    "lightning",
    "hydra-core",
    "omegaconf",
    "numpy",
    "polars",
    "scikit-learn",
)


def provenance(sha256: str | None) -> dict[str, Any]:
    """Versions, the git commit and the data file's SHA-256, as plain types.

    Args:
        sha256: of the file that the rows came from; None where there was none.
    """
    return {**_program(), "data_sha256": sha256}


@cache
def _program() -> dict[str, Any]:
    """The same for all runs of a process."""
    return {
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """git's answer about the program's own checkout; None where it is not in one."""
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
