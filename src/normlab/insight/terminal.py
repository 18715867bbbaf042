"""The report in a terminal: plain text, as wide as the window and at most 100 columns.

A row of a table takes one line where that fits and there is no interval; else the median, its
quartiles and its interval stand below one another, and columns that still do not fit follow in a
block of their own, which begins with the settings again.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from normlab.insight.standings import Standings
from normlab.insight.standings_canvas import MOST
from normlab.insight.tables import Cell, Table, tables
from normlab.insight.words import LEGEND, METHOD, headline, notes

_MOST_WIDE = 100
_LEAST = 40  # of a window; what is narrower breaks the lines by itself
_SETTING = 28  # letters of a setting's value
_GAP = "  "


def terminal(standings: Standings, page_path: Path) -> str:
    """The sentence, the notes, and the tables of the best settings."""
    columns = shutil.get_terminal_size(fallback=(_MOST_WIDE, 24)).columns
    width = max(_LEAST, min(_MOST_WIDE, columns))
    parts = [*(_wrap(sentence, width) for sentence in headline(standings)), ""]
    parts += [_wrap(note, width, "- ") for note in notes(standings)]
    for table in tables(standings, standings.best[:MOST]):
        for block in blocks(table, width):
            parts += ["", *block]
    if len(standings.best) > MOST:
        parts += ["", f"The best {MOST} of {len(standings.best)}; the others are in the report."]
    parts += ["", _wrap(LEGEND, width), _wrap(METHOD, width), "", f"Report: {page_path}"]
    return "\n".join(parts)


def blocks(table: Table, width: int) -> list[list[str]]:
    """The table as lines of at most `width` letters, where a column by itself is no wider."""
    lead = table.n_settings
    all_columns = [
        _column(head, [row[i] for row in table.rows], width, setting=i < lead)
        for i, head in enumerate(table.head)
    ]
    settings, others = all_columns[:lead], all_columns[lead:]
    parts: list[list[_Column]] = [[]]
    for column in others:
        if parts[-1] and _width([*settings, *parts[-1], column]) > width:
            parts.append([])
        parts[-1].append(column)
    return [_lines([*settings, *part]) for part in parts]


class _Column:
    """The lines of a head and of each cell."""

    def __init__(self, head: list[str], cells: list[list[str]]) -> None:
        self.head = head
        self.cells = cells
        self.width = max((len(line) for lines in (head, *cells) for line in lines), default=0)


def _column(head: str, cells: Sequence[Cell], width: int, setting: bool) -> _Column:
    lines = [
        [
            _cut(cell.main) if setting else cell.main,
            *filter(None, [*cell.spread.replace("; ", ";\n").split("\n"), cell.interval]),
        ]
        for cell in cells
    ]
    body = max((len(text) for line in lines for text in line), default=0)
    words = max((len(word) for word in head.split()), default=0)
    return _Column(textwrap.wrap(head, min(max(body, words, 10), width)) or [""], lines)


def _cut(text: str) -> str:
    return text if len(text) <= _SETTING else f"{text[: _SETTING - 3]}..."


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _lines(columns: Sequence[_Column]) -> list[str]:
    heads = [column.head for column in columns]
    depth = max(map(len, heads))
    lines = _side_by_side(columns, [[""] * (depth - len(head)) + head for head in heads])
    lines.append("-" * _width(columns))
    for row in zip(*(column.cells for column in columns), strict=True):
        lines += _side_by_side(columns, row)
    return lines


def _side_by_side(columns: Sequence[_Column], cells: Sequence[list[str]]) -> list[str]:
    depth = max(len(cell) for cell in cells)
    lines = []
    for i in range(depth):
        texts = (cell[i] if i < len(cell) else "" for cell in cells)
        padded = (text.ljust(column.width) for text, column in zip(texts, columns, strict=True))
        lines.append(_GAP.join(padded).rstrip())
    return [line for line in lines if line]


def _wrap(text: str, width: int, bullet: str = "") -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )
