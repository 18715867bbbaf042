"""A file becomes a Table in memory, or one message that says what in the file to mend."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.file.source import Sha256, opened
from normlab.data.meaning.convert import convert
from normlab.data.meaning.store import Memory
from normlab.data.table import Table

log = logging.getLogger(__name__)


def read_table(
    path: str | Path,
    target: str | int,
    format: Format | None = None,
    selection: Selection | None = None,
) -> Table:
    """Read a text file (CSV and its kin, also gzipped) or a Parquet file to train on.

    Blank lines, and spaces around a cell, are ignored. What looks like a mistake that would cost
    a day (cautions.py) is logged as a warning.

    Args:
        path: the file.
        target: name of the label's column, or its position, -1 being the last.
        format: how the file is written, where it is not to be detected.
        selection: which columns are inputs, of which types, and what missing values become.

    Returns:
        The rows, float32 (n, features), all finite, but nan for a missing value under the policy
        "impute"; the label's values as 0 and 1. `schema` says what they mean.

    Raises:
        UserError: the file cannot be read, or something in it cannot be trained on.
    """
    path, format, selection = Path(path), format or Format(), selection or Selection()
    with opened(path, format.encoding) as source, Sha256(path) as digest:
        found = convert(source, target, format, selection, Memory())
        sha256 = digest.result()
    for message in found.messages:
        warn_once(path, sha256, message)
    return Table(found.rows, found.labels, found.schema, path.name, sha256, found.read_as)


@cache
def warn_once(path: Path, sha256: str, message: str) -> None:
    """A sweep reads its table several times."""
    log.warning(message)
