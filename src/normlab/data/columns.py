"""What the columns of a CSV file are called, which one is the label, and where the rows begin."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from normlab.data.label import number
from normlab.data.records import records
from normlab.errors import UserError

LISTED_NAMES = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """The outline of a CSV file.

    Attributes:
        names: one for each column, all different.
        target: position of the label's column in `names`.
        header: whether the first record holds the names.
        lines_before_rows: lines to skip to reach the first row: blank ones and the header's.
    """

    names: tuple[str, ...]
    target: int
    header: bool
    lines_before_rows: int

    @property
    def features(self) -> tuple[str, ...]:
        return self.names[: self.target] + self.names[self.target + 1 :]


def read_columns(path: Path, target: str | int, header: bool) -> Columns:
    """The outline of the file, from its first two records.

    Raises:
        UserError: no rows, two columns of one name, an unknown target, or no feature besides it.
        OSError: the file cannot be read.
    """
    first_records = list(islice(records(path), 1 + header))
    if not first_records:
        raise UserError(f"{path.name} is empty. It needs one row for each example.")
    if len(first_records) < 1 + header:
        raise UserError(
            f"{path.name} holds a single line and no rows below it. "
            f"Add rows, or set data.header=false if that line is a row."
        )
    cells = first_records[0].cells
    names = _header_names(cells, path.name) if header else tuple(map(str, range(len(cells))))
    at = _named(target, names, path.name) if header else _counted(target, names, path.name)
    if len(names) == 1:
        raise UserError(
            f"{path.name} has the one column {names[0]!r} and no feature besides the target. "
            f"Columns are separated by commas; add a column or change the separator to a comma."
        )
    return Columns(names, at, header, first_records[-1].line - 1)


def _header_names(cells: list[str], source: str) -> tuple[str, ...]:
    names = tuple(cell or str(position) for position, cell in enumerate(cells))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(
            f"{source}: several columns are named {_listed(twice)}. "
            f"Rename them in the header{_perhaps_no_header(names)}."
        )
    if "" in cells:
        log.warning(
            "%s: column %d of the header has no name and is called %r. If it is a row index, "
            "remove it: it can give the label away.",
            source,
            cells.index("") + 1,
            str(cells.index("")),
        )
    return names


def _named(target: str | int, names: tuple[str, ...], source: str) -> int:
    """The target's position by its name, which a command line may have turned into an int."""
    name = str(target)
    if name in names:
        return names.index(name)
    close = difflib.get_close_matches(name.lower(), [known.lower() for known in names], n=1)
    meant = [known for known in names if [known.lower()] == close][:1]
    suggestion = f" Did you mean {meant[0]!r}?" if meant else ""
    raise UserError(
        f"{source} has no column {name!r} for data.target.{suggestion} "
        f"Its columns: {_listed(names)}. Name one of them{_perhaps_no_header(names)}."
    )


def _counted(target: str | int, names: tuple[str, ...], source: str) -> int:
    """The target's position in a file without a header, where -1 is the last column."""
    try:
        position = int(target)
    except ValueError as error:
        raise UserError(
            f"{source}: data.target is {target!r}, but without a header columns go by position, "
            f"from 0 to {len(names) - 1}, with -1 for the last. Give a position or set "
            f"data.header=true."
        ) from error
    if not -len(names) <= position < len(names):
        raise UserError(
            f"{source}: data.target={position} is out of range. The file has {len(names)} "
            f"columns: give 0 to {len(names) - 1}, or -1 for the last."
        )
    return position % len(names)


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, names[:LISTED_NAMES]))
    more = len(names) - LISTED_NAMES
    return f"{listed} and {more} more" if more > 0 else listed


def _perhaps_no_header(names: tuple[str, ...]) -> str:
    all_numbers = all(number(name) is not None for name in names)
    return ", or set data.header=false if the first line is a row already" if all_numbers else ""
