"""A model's columns found in another file: by name, in any order and among others.

In a file without a header they go by position.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from normlab.data.file.columns import Columns, numbered
from normlab.data.file.dialect import Format, counts_columns, detect
from normlab.data.file.faults import Expectation, Role
from normlab.data.file.numbers import Signs, listed, number
from normlab.data.file.outline import First, first_rows
from normlab.data.file.signs import SIGN
from normlab.data.file.source import Source
from normlab.data.file.thousands import refuse_doubt
from normlab.data.schema import ColumnType, Schema
from normlab.errors import UserError


@dataclass(frozen=True)
class Matched:
    """A file's outline.

    Attributes:
        positions: of each feature.
        notices: what a user should know of.
    """

    columns: Columns
    positions: list[int]
    notices: list[str]


def matched(source: Source, schema: Schema, format: Format, labels: bool) -> Matched:
    """The columns that the schema names.

    Where nothing else is said the file is as the training file was: with a header or without, and
    with its signs within numbers unless it proves others.

    Raises:
        UserError: a column is absent, columns without names are not those of training, or the sign
            of the numbers may mark their thousands.
    """
    notices = []
    if format.header == "auto" and not source.parquet:
        format = replace(format, header=_has_header(source, schema, format, labels))
        if not schema.header:
            notices.append(
                f"{source.name}: columns are taken by position, as in the training file, which had "
                f"no header."
            )
    known = Signs(schema.decimal, schema.thousands)
    wanted = [*schema.features, *([schema.target] * labels)]
    first = first_rows(source, format, wanted, known)
    names = first.header.names
    by_name = first.has_header and bool(schema.header or source.parquet)
    find = _by_name if by_name else _by_position
    places = find(first, schema, labels, source.name)
    positions = [places[name] for name in schema.features]
    target = places[schema.target] if labels else None
    lines = first.header.lines_before_rows
    inputs = tuple(sorted(positions))
    types: dict[int, ColumnType] = {
        p: "categorical"
        for p, column in zip(positions, schema.columns, strict=True)
        if column.type == "categorical"
    }
    columns = Columns(names, target, inputs, types, first.dialect, first.has_header, lines)
    # What was settled for the training file is not asked again of a few rows.
    settled = first.dialect.decimal == schema.decimal and (
        schema.thousandths or schema.thousands in SIGN
    )
    if not source.parquet and format.asks_for_signs and not settled:
        refuse_doubt(source, columns, first.sample)
    return Matched(columns, positions, [*notices, *first.notices])


def _has_header(source: Source, schema: Schema, format: Format, labels: bool) -> bool:
    """Whether the file has one, as the training file had: one that counts is looked for.

    Its names are positions, so that a file without them can be read as well.
    """
    if schema.file_columns != numbered(len(schema.file_columns)):
        return bool(schema.header)
    rows = detect(source, replace(format, header=False), ()).sample
    if not rows:
        return bool(schema.header)
    needed = {*schema.features, *([schema.target] * labels)}
    first, names = rows[0], {*rows[0]}
    are_names = (
        needed <= names
        and len(names) == len(first)
        and all(number(name) is None for name in names.difference(schema.file_columns))
    )
    return counts_columns(rows) or (bool(schema.header) and are_names)


def _by_name(first: First, schema: Schema, labels: bool, source: str) -> dict[str, int]:
    names = first.header.names
    found = {name: position for position, name in enumerate(names)}
    needed = [*schema.features, *([schema.target] if labels else [])]
    absent = [name for name in needed if name not in found]
    if not absent:
        return found
    if len(absent) == len(needed) and len(names) >= len(schema.features):
        raise UserError(
            f"{source}, line 1: {listed(names, 4)} is no header with the names that the model "
            f"needs: {listed(needed)}. Put these above the rows; or, if this line is a row and the "
            f"columns are those of the training file in their order, set data.header=false."
        )
    spare = [name for name in names if name not in schema.file_columns]
    lower = {name.lower(): name for name in spare}
    renamed = []
    for name in absent:
        close = difflib.get_close_matches(name.lower(), lower, 1)
        renamed += [f"{lower[close[0]]!r} to {name!r}"] if close else []
    hint = f"Rename {', '.join(renamed)}." if renamed else "Add them."
    if not renamed and spare:
        hint = f"It has {listed(spare)}, unknown to the model: rename those that are meant."
    raise UserError(
        f"{source}, line 1: the header lacks {listed(absent)}, which the model needs. {hint} If "
        f"the file has no header, set data.header=false."
    )


def _by_position(first: First, schema: Schema, labels: bool, source: str) -> dict[str, int]:
    """Columns in the order of the training file, whose label may be absent where it is no input."""
    names, expected = first.header.names, schema.file_columns
    if len(names) == len(expected):
        return {name: position for position, name in enumerate(expected)}
    unlabelled = [name for name in expected if name != schema.target]
    if not labels and len(names) == len(unlabelled):
        return {name: position for position, name in enumerate(unlabelled)}
    without = "" if labels else f" ({len(unlabelled)} without the label)"
    degree = "more" if len(names) > len(expected) else "fewer"
    raise UserError(
        f"{source}: {len(names)} columns and no header, {degree} than the {len(expected)} of the "
        f"training file{without}. Columns without names go by position: give the same columns, or "
        f"a header with their names."
    )


def expectation_of(schema: Schema, found: Matched) -> Expectation:
    """What the columns may hold, for the message about a cell that they may not."""
    roles: dict[int, Role] = {}
    values, forms = {}, {}
    for position, column in zip(found.positions, schema.columns, strict=True):
        roles[position] = "number" if column.type == "numeric" else "text"
        if column.type == "numeric":
            forms[position] = column.form
        if column.type == "boolean":
            values[position] = column.categories
    target = found.columns.target
    if target is not None:
        roles[target] = "label"
        values[target] = [value for group in schema.label_values for value in group]
    return Expectation(
        roles,
        missing=schema.missing != "error",
        missing_label=schema.missing == "drop",
        left_out=schema.missing == "drop",
        missing_values=schema.missing_values,
        values=values,
        forms=forms,
        at_prediction=True,
    )


def positions_of(names: Sequence[str] | None, columns: Columns, source: str) -> list[int]:
    """The positions of columns to carry along; of all where no names are given.

    Raises:
        UserError: the file has no such column.
    """
    if names is None:
        return list(range(len(columns.names)))
    places = {name: position for position, name in enumerate(columns.names)}
    for name in names:
        if name not in places:
            close = difflib.get_close_matches(name, places, 1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise UserError(
                f"{source} has no column {name!r} to carry along. {hint}"
                f"Its columns: {listed(columns.names)}."
            )
    return list(dict.fromkeys(places[name] for name in names))
