"""What the columns of a file are called, which one is the label, and which ones are inputs."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from normlab.data.file.dialect import Detected
from normlab.data.file.numbers import listed, number
from normlab.data.file.records import Dialect, is_blank, records
from normlab.data.file.source import Source
from normlab.data.schema import MISSING_VALUES, ColumnType, MissingPolicy, Value
from normlab.errors import UserError


@dataclass(frozen=True)
class Selection:
    """What the user says of the columns; what is not said is found in the cells.

    Attributes:
        features: the input columns; None for all but the target.
        drop: columns to leave out.
        categorical, numeric: columns of these types, whatever their cells look like.
        positive: the label's value or values of class 1; None for the larger of two.
        missing: what becomes of missing values (see `Schema`).
        missing_values: their spellings beside the blank cell, in any case of their letters.
        integer_categories: a column of at most so many different whole numbers is categorical,
            or boolean if they are 0 and 1.
    """

    features: Sequence[str | int] | None = None
    drop: Sequence[str | int] = ()
    categorical: Sequence[str | int] = ()
    numeric: Sequence[str | int] = ()
    positive: Value | Sequence[Value] | None = None
    missing: MissingPolicy = "error"
    missing_values: Sequence[str] = MISSING_VALUES
    integer_categories: int = 0

    def names(self) -> list[str | int]:
        """All columns that are named."""
        return [*(self.features or ()), *self.drop, *self.categorical, *self.numeric]


@dataclass(frozen=True)
class Columns:
    """The outline of a table's file.

    Attributes:
        names: one for each column of the file, all different.
        target: position of the label's column in `names`; None where it is not asked for.
        inputs: positions of the input columns, ascending.
        types: of the input columns whose type is given, by position.
        dialect: how cells are written.
        header: whether the first record holds the names.
        lines_before_rows: lines to skip to reach the first row: those before the table, blank
            ones and the header's.
    """

    names: tuple[str, ...]
    target: int | None
    inputs: tuple[int, ...]
    types: dict[int, ColumnType]
    dialect: Dialect
    header: bool
    lines_before_rows: int

    @property
    def needed(self) -> list[int]:
        """Positions of the inputs and the target, ascending."""
        return sorted({*self.inputs, *(() if self.target is None else (self.target,))})

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.names[position] for position in self.inputs)


@dataclass(frozen=True)
class Header:
    """The columns' names, which of them the file leaves blank, and the lines before the rows."""

    names: tuple[str, ...]
    unnamed: tuple[int, ...] = ()
    lines_before_rows: int = 0


def read_header(source: Source, detected: Detected) -> Header:
    """The names of the columns: their positions where the file gives none.

    Raises:
        UserError: no rows, or two columns of one name.
    """
    rows = (row for row in records(source, detected.dialect, detected.skip) if not is_blank(row))
    first_records = list(islice(rows, 1 + detected.header))
    if not first_records:
        raise UserError(f"{source.name} is empty. It needs one row for each example.")
    if len(first_records) < 1 + detected.header:
        raise UserError(
            f"{source.name} holds a single line and no rows below it. "
            f"Add rows, or set data.header=false if that line is a row."
        )
    cells = first_records[0].cells
    names = numbered(len(cells))
    unnamed: tuple[int, ...] = ()
    if detected.header:
        names = tuple(
            cell or (f"unnamed_{name}" if name in cells else name)
            for cell, name in zip(cells, names, strict=True)
        )
        unnamed = tuple(i for i, cell in enumerate(cells) if not cell)
        _refuse_duplicates(names, first_records[0].line, source.name)
    return Header(names, unnamed, first_records[-1].line - 1)


def numbered(n_columns: int) -> tuple[str, ...]:
    """The names of columns that have none."""
    return tuple(map(str, range(n_columns)))


def choose_columns(
    names: tuple[str, ...],
    target: str | int | None,
    selection: Selection,
    header: bool,
    source: str,
    spaced: bool = False,
) -> tuple[int | None, tuple[int, ...], dict[int, ColumnType]]:
    """The target's position, the input columns' positions, and the types that are given.

    Args:
        spaced: whether the first line holds spaces, for a file of one column.

    Raises:
        UserError: a column that is not there or is given two roles, or no input column.
    """
    find = _Finder(names, header, source)
    if len(names) == 1 and (target is not None or spaced):
        remedy = "check that, or add a column."
        if spaced:
            remedy = (
                "here they seem to be separated by spaces. Put commas there, for example: "
                "sed -E 's/^ +//; s/ +/,/g' FILE > NEW.csv"
            )
        raise UserError(
            f"{source} has the one column {names[0]!r} and no feature besides the target. Cells "
            f"are separated by commas, semicolons, tabs or pipes (data.separator): {remedy}"
        )
    at = None if target is None else find(target, "data.target")
    dropped = {find(name, "data.drop") for name in selection.drop}
    if selection.features is None:
        inputs = set(range(len(names))) - dropped - {at}
    else:
        inputs = {find(name, "data.features") for name in selection.features}
        for position, key in ((at, "data.target"), *((p, "data.drop") for p in dropped)):
            if position in inputs:
                raise UserError(
                    f"{source}: column {names[position or 0]!r} is in data.features and in {key}. "
                    f"Leave it in one of them."
                )
    if at in dropped:
        raise UserError(f"{source}: data.drop holds the target {names[at or 0]!r}. Keep it.")
    if not inputs:
        raise UserError(f"{source}: no column is left as an input. Drop fewer columns.")
    types: dict[int, ColumnType] = {}
    given: tuple[tuple[ColumnType, Sequence[str | int]], ...] = (
        ("categorical", selection.categorical),
        ("numeric", selection.numeric),
    )
    for kind, chosen in given:
        for name in chosen:
            position = find(name, f"data.{kind}")
            if position == at or types.get(position, kind) != kind:
                role = "the target" if position == at else "also in data.categorical"
                raise UserError(
                    f"{source}: column {names[position]!r} in data.{kind} is {role}. Leave it out."
                )
            types[position] = kind
    return at, tuple(sorted(inputs)), types


class _Finder:
    """Finds columns by name, or by position where no column has that name."""

    def __init__(self, names: tuple[str, ...], header: bool, source: str) -> None:
        self.names = names
        self.header = header
        self.source = source

    def __call__(self, wanted: str | int, key: str) -> int:
        name = str(wanted)
        if self.header and name in self.names:
            return self.names.index(name)
        try:
            position = int(name)
        except ValueError:
            position = None
        if position is not None and -len(self.names) <= position < len(self.names):
            return position % len(self.names)
        raise UserError(self._unknown(name, key) if self.header else self._uncounted(wanted, key))

    def _unknown(self, name: str, key: str) -> str:
        close = difflib.get_close_matches(name.lower(), [known.lower() for known in self.names], 1)
        meant = [known for known in self.names if [known.lower()] == close][:1]
        suggestion = f" Did you mean {meant[0]!r}?" if meant else ""
        return (
            f"{self.source} has no column {name!r} for {key}.{suggestion} "
            f"Its columns: {listed(self.names)}. Name one of them{_no_header(self.names)}."
        )

    def _uncounted(self, wanted: str | int, key: str) -> str:
        n_columns = len(self.names)
        try:
            int(wanted)
        except ValueError:
            return (
                f"{self.source}: {key} is {wanted!r}, but without a header columns go by "
                f"position, from 0 to {n_columns - 1}, with -1 for the last. Give a position or "
                f"set data.header=true."
            )
        return (
            f"{self.source}: {key}={wanted} is out of range. The file has {n_columns} "
            f"columns: give 0 to {n_columns - 1}, or -1 for the last."
        )


def _refuse_duplicates(names: Sequence[str], line: int, source: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(
            f"{source}, line {line}: several columns are named {listed(twice)} "
            f"({_places(names, twice[0])}). Rename them in the header{_no_header(names)}."
        )


def _places(names: Sequence[str], name: str) -> str:
    places = [str(i + 1) for i, known in enumerate(names) if known == name]
    return f"columns {', '.join(places)}"


def _no_header(names: Sequence[str]) -> str:
    all_numbers = all(number(name) is not None for name in names)
    return ", or set data.header=false if the first line is a row already" if all_numbers else ""
