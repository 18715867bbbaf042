"""Whether a file may be read into the memory at hand."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import polars as pl

from normlab.data.file.source import GZIP, PARQUET

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

SHARE = 0.5  # of the free memory that reading may take
# Bytes that reading and splitting take at their peak, measured on tables of 10 to 100 columns:
PER_BYTE_OF_TEXT = 3.0
PER_CELL_OF_PARQUET = 24.0
UNPACKED = 6.0  # bytes of text in a byte of gzip, for numbers and short words
# Where Linux tells of this process's group, in its two versions: the limit, what is used, and
# how much of that is files that it would give back.
GROUP_FOLDER = Path("/sys/fs/cgroup")
GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


@cache
def may_exceed_memory(path: str | Path) -> bool:
    """Whether reading a file may take more than half of the free memory; a rough estimate.

    A file that cannot be read does not: whoever reads it says why. The answer stays the same
    within a process, in which several runs of a sweep ask.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(4)
        if start.startswith(PARQUET):
            frame = pl.scan_parquet(path, glob=False)
            n_cells = frame.select(pl.len()).collect().item() * frame.collect_schema().len()
            needed = PER_CELL_OF_PARQUET * n_cells
        else:
            packed = UNPACKED if start.startswith(GZIP) else 1.0
            needed = PER_BYTE_OF_TEXT * packed * os.path.getsize(path)
    except (OSError, pl.exceptions.PolarsError):
        return False
    return needed > SHARE * free_memory()


def free_memory() -> int:
    """Bytes that this process may still take without the system's swapping or ending it."""
    free = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):  # with what the page cache would give back
            free = [1024 * int(line.split()[1])]
    for limit, used, files in GROUPS:
        limit, used = (GROUP_FOLDER / name for name in (limit, used))
        if _text(limit).strip().isdecimal():
            stat = dict(line.split() for line in _text(used.with_name("memory.stat")).splitlines())
            free.append(int(_text(limit)) - int(_text(used)) + int(stat.get(files, 0)))
    return max(0, min(free + _within_limits()))


def _within_limits() -> list[int]:
    """What the limits of this process leave (`ulimit -v` and `-d`), where it has any."""
    if resource is None:
        return []
    status = dict(line.split(":", 1) for line in _text("/proc/self/status").splitlines())
    limits = {"VmSize": resource.RLIMIT_AS, "VmData": resource.RLIMIT_DATA}
    return [
        resource.getrlimit(limit)[0] - 1024 * int(status[used].split()[0])
        for used, limit in limits.items()
        if used in status and resource.getrlimit(limit)[0] != resource.RLIM_INFINITY
    ]


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
