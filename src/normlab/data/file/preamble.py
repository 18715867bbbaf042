"""Lines before the table: comments, a count of rows, a title."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import takewhile
from typing import Literal

from normlab.data.file.records import Dialect, csv_reader
from normlab.data.file.source import CHUNK, Source, readable
from normlab.errors import UserError

COMMENT = "#"
SHOWN = 60  # characters of a line
FEWEST = 3  # records of one width that make a table below a line of another width
SAMPLE = 200  # records


def preamble(
    source: Source,
    lines: Sequence[str],
    dialect: Dialect,
    given: int | Literal["auto"],
    whole: bool,
) -> tuple[int, list[str]]:
    """How many lines stand before the table, and what to say of those that are skipped.

    Comments are skipped, and a line that counts the rows. The last comment may name the columns:
    it is a header where it has as many cells as a row.

    Args:
        lines: the first ones of the file.
        given: the number that the user names.
        whole: whether these are all lines of the file.

    Raises:
        UserError: other lines stand there.
    """
    if given != "auto":
        return given, []
    if lines and lines[0].lower().lstrip('"').startswith("sep="):
        return 1, []
    n_comments = len(list(takewhile(lambda line: _is_comment(line) or not line.strip(), lines)))
    if not any(map(_is_comment, lines[:n_comments])):
        n_comments = 0
    rows = _rows(lines[n_comments:], dialect)
    if n_comments and rows:
        last = max(i for i in range(n_comments) if _is_comment(lines[i]))
        ((_, name_cells),) = _rows(lines[last : last + 1], dialect) or [(0, [])]
        if len(name_cells) == len(rows[0][1]) > 1:
            n_comments, rows = last, _rows(lines[last:], dialect)
    skipped = [f"{source.name}: the first {n_comments} lines are comments and are skipped."]
    notices = skipped if n_comments else []
    widths = [len(cells) for _, cells in rows]
    n_odd = _leading_odd(widths)
    if not n_odd:
        return n_comments, notices
    first, cells = rows[0]
    after = n_comments + rows[n_odd][0]
    n_below = len(rows) - 1 if whole and len(rows) <= SAMPLE else _count_lines(source) - after
    if n_odd == 1 and cells[0].isdecimal() and int(cells[0]) in (n_below, n_below - 1):
        counted = f"{source.name}: line {after} counts the rows ({cells[0]}) and is skipped."
        return after, [*notices, counted]
    line = lines[n_comments + first].strip()
    shown = line if len(line) <= SHOWN else line[:SHOWN] + "..."
    raise UserError(
        f"{source.name}, line {n_comments + first + 1}: {shown!r} has {len(cells)} "
        f"{'cell' if len(cells) == 1 else 'cells'}, where the table below has {widths[n_odd]}. If "
        f"it is no part of the table, set data.skip_lines={after}; if it names the columns, "
        f"complete it; else set data.skip_lines=0 to see which line is at fault."
    )


def _is_comment(line: str) -> bool:
    return line.startswith(COMMENT)


def _rows(lines: Sequence[str], dialect: Dialect) -> list[tuple[int, list[str]]]:
    """The first records that are not blank, each with the number of lines before it."""
    rows: list[tuple[int, list[str]]] = []
    reader = csv_reader(iter(lines), dialect, strict=False)
    before = 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((before, [cell.strip() for cell in cells]))
            before = reader.line_num
            if len(rows) > SAMPLE:
                break
    except csv.Error:
        pass
    return rows


def _leading_odd(widths: Sequence[int]) -> int:
    """Records of other widths before a table, whose records are all of one; 0 if there are none."""
    if not widths or widths[-1] < 2:
        return 0
    n_table = len(list(takewhile(lambda width: width == widths[-1], reversed(widths))))
    n_odd = len(widths) - n_table
    return n_odd if n_table >= FEWEST and widths[-1] not in widths[:n_odd] else 0


def _count_lines(source: Source) -> int:
    """Lines of the file, the last one also where it has no end."""
    count, last = 0, b"\n"
    with readable(source.path), source.path.open("rb") as file:
        while chunk := file.read(CHUNK):
            count, last = count + chunk.count(b"\n"), chunk[-1:]
    return count + (last != b"\n")
