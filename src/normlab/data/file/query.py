"""Queries over the cells of a file: what polars cannot read is refused with its place.

polars is told the type of the columns that look like numbers. Where one of them turns out to hold
something else, all are read as text, to the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

import polars as pl

from normlab.data.file.cells import (
    LAST,
    ROW,
    Then,
    Unreadable,
    parquet_batches,
    text_cells,
    typed_cells,
)
from normlab.data.file.columns import Columns
from normlab.data.file.faults import Expectation, fault, find_fault, malformed
from normlab.data.file.numbers import WHITESPACE
from normlab.data.file.progress import bar
from normlab.data.file.source import Source, holds


class Cells:
    """The cells of a file's inputs and target, by position (`cells.py`).

    Attributes:
        numbers: positions of the columns that are float64; the others are text.
        lazy: the query for all of them.
    """

    def __init__(
        self,
        source: Source,
        columns: Columns,
        spellings: Collection[str],
        typed: Collection[int],
        kept: Collection[int] = (),
        task: str | None = None,
    ) -> None:
        """Args:
        spellings: of a missing value.
        typed: positions of the columns to be float64 where that costs less, or, of Parquet,
            where they are numbers there.
        kept: positions of the columns to carry along as they stand, named `RAW` and the position.
        task: what a bar calls the reading on a terminal; None for no bar.
        """
        self.source, self.columns, self.spellings, self.kept = source, columns, spellings, kept
        self._task = task
        self._raw: pl.LazyFrame | None = None  # of Parquet: the columns as they stand
        if source.parquet:
            read = sorted({*columns.needed, *kept})
            scan = pl.scan_parquet(source.path, glob=False)
            self._raw = scan.select(pl.nth(position).alias(str(position)) for position in read)
        self._is_checked = False
        self._read_as(typed)

    def _read_as(self, typed: Collection[int]) -> None:
        source, columns = self.source, self.columns
        if self._raw is not None:
            as_text = set(columns.needed).difference(typed)

            def cells(raw: pl.LazyFrame) -> pl.LazyFrame:
                return typed_cells(raw, columns, self.spellings, as_text, source.name, self.kept)

            self._cells = cells
            self.lazy = cells(self._raw)
            types = self.lazy.collect_schema()
            self.numbers = frozenset(p for p in columns.needed if types[str(p)] == pl.Float64)
        else:
            self.lazy = text_cells(source, columns, self.spellings, typed, self.kept)
            self.numbers = frozenset(typed)

    def collect(self) -> None:
        """Reads all cells into memory, once for all queries."""
        self.lazy = self._retried(lambda: self.lazy.collect()).lazy()
        self._raw = None

    def query(self, then: Then) -> pl.DataFrame:
        """What a query makes of the cells; `then` looks at `numbers` for what they are."""
        return self._retried(lambda: then(self.lazy).collect(engine="streaming"))

    def _retried(self, run: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        try:
            return run()
        except Unreadable as error:
            if self.source.parquet or not self.numbers:
                raise malformed(self.source, self.columns, _reason(error)) from error
        self._read_as(())
        return self._retried(run)

    @property
    def control(self) -> list[str]:
        """Columns that every batch of a text file has to keep."""
        return [] if self.source.parquet else [ROW, LAST]

    def batches(self, then: Then, n_rows: int) -> Iterator[pl.DataFrame]:
        """The same batch by batch, about so many rows at a time.

        A text where a number was expected changes `numbers` between two batches.
        """
        with bar(self._task, self.source, self.columns) as see:
            for frame in self._batches(then, n_rows):
                yield frame
                if see is not None:
                    see(frame.height)

    def _batches(self, then: Then, n_rows: int) -> Iterator[pl.DataFrame]:
        done = 0  # rows of a text file that are read already
        while True:
            try:
                if self._raw is not None:
                    yield from parquet_batches(
                        self._raw, n_rows, lambda raw: then(self._cells(raw))
                    )
                    return
                rest = self.lazy.filter(pl.col(ROW) >= done) if done else self.lazy
                for frame in then(rest).collect_batches(chunk_size=n_rows, maintain_order=True):
                    if ROW in frame.columns and frame.height:
                        done = frame[ROW][-1] + 1
                    yield frame
                return
            except Unreadable as error:
                if self.source.parquet or not self.numbers:
                    raise malformed(self.source, self.columns, _reason(error)) from error
            self._read_as(())

    def refuse_short_rows(self, last: pl.Series | bool) -> None:
        """Refuses rows with too few cells, which polars fills with nulls.

        Args:
            last: `LAST`, or whether it is true anywhere: only then the file is looked through.
        """
        found = last if isinstance(last, bool) else bool(last.any())
        if found and not self._is_checked and not self.source.parquet:
            self._is_checked = True
            if may_have_short_rows(self.source, self.columns):
                short = find_fault(self.source, self.columns, Expectation({}))
                if short is not None:
                    raise short

    def refuse_nul(self) -> None:
        """Refuses the NUL byte, which polars lets pass within text."""
        if not self.source.parquet and holds(self.source.path, b"\0")[0]:
            raise fault(self.source, self.columns, Expectation({}))


def may_have_short_rows(source: Source, columns: Columns) -> bool:
    """Whether a line that is not blank holds too few separators outside of quotation marks.

    Where quotation marks carry a cell over several lines, only Python's slow reader can tell.
    """
    separator, quote = columns.dialect.separator_character, columns.dialect.quote_character
    lines = pl.scan_lines(source.path).slice(columns.lines_before_rows)
    line = pl.nth(0)
    if quote is not None:
        odd = (line.str.count_matches(quote, literal=True) % 2 == 1).any()
        if lines.select(odd).collect(engine="streaming").item():
            return True
        line = line.str.replace_all(f"{re.escape(quote)}[^{quote}]*{re.escape(quote)}", "x")
    separators = line.str.count_matches(separator, literal=True)
    filled = line.str.strip_chars(WHITESPACE + separator) != ""
    short = (filled & (separators < len(columns.names) - 1)).any()
    return bool(lines.select(short).collect(engine="streaming").item())


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0]
