"""A model's columns found in another file: by name, in any order and among others.

In a file without a header they go by position.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from normlab.data.columns import Columns, Header, numbered, read_header
from normlab.data.detection import Detected, Format, counts_columns, detect, signs_of
from normlab.data.faults import Expectation, Role
from normlab.data.numbers import listed, number
from normlab.data.parquet import parquet_names
from normlab.data.records import Dialect
from normlab.data.schema import ColumnType, Schema
from normlab.data.source import Source
from normlab.data.thousands import refuse_doubt
from normlab.errors import UserError


def matched_columns(
    source: Source, schema: Schema, format: Format, labels: bool
) -> tuple[Columns, list[int]]:
    """The file's outline, and the position of each feature.

    Raises:
        UserError: a column is absent, columns without names are not those of training, or the
            numbers' sign may be the decimal sign or not.
    """
    if source.parquet:
        header, has_header, dialect, sample = Header(parquet_names(source)), True, Dialect(), []
    else:
        detected = _as_in_training(source, schema, format, labels)
        header, has_header = read_header(source, detected), detected.header
        dialect, sample = detected.dialect, detected.sample[has_header:]
    names, lines = header.names, header.lines_before_rows
    positions = (
        _by_name(names, schema, labels, source.name)
        if has_header
        else _by_position(names, schema, labels, source.name)
    )
    sources = [positions[name] for name in schema.features]
    target = positions[schema.target] if labels else None
    types: dict[int, ColumnType] = {
        positions[c.name]: "categorical"
        for c in schema.columns
        if c.type == "categorical" and isinstance(c.categories[0], str)
    }
    inputs = tuple(sorted(sources))
    columns = Columns(names, target, inputs, types, dialect, has_header, lines)
    written = schema.written
    known = written and written.thousandths and written.decimal == dialect.decimal
    if not source.parquet and format.decimal == "auto" and not known:
        refuse_doubt(source, columns, sample)
    return columns, sources


def _are_names(first: Sequence[str], needed: Sequence[str], known: Sequence[str]) -> bool:
    """Whether a record holds all names, which may look like numbers, and no other number."""
    others = {*first}.difference(known)
    return (
        {*needed} <= {*first}
        and len({*first}) == len(first)
        and all(number(cell) is None for cell in others)
    )


def _as_in_training(source: Source, schema: Schema, format: Format, labels: bool) -> Detected:
    """What the first lines show, in the light of how the training file was written."""
    needed = [*schema.features, *([schema.target] * labels)]
    detected, written = detect(source, format, needed), schema.written
    if format.header == "auto" and detected.sample:
        first = detected.sample[0]
        if written and written.header and _are_names(first, needed, schema.file_columns):
            detected = replace(detected, header=True)
        elif schema.file_columns == numbered(len(schema.file_columns)):
            detected = replace(detected, header=counts_columns(first))  # there are no others
    dialect, signs = detected.dialect, signs_of(detected.sample)
    # Numbers that all have the other sign are from a program with other customs, as a spreadsheet's
    # in another language. And where commas separate the cells, few numbers have them.
    told = signs == {dialect.decimal} or (not signs and dialect.separator == "comma")
    if format.decimal == "auto" and written and not told:
        detected = replace(detected, dialect=replace(dialect, decimal=written.decimal))
    return detected


def _by_name(names: Sequence[str], schema: Schema, labels: bool, source: str) -> dict[str, int]:
    found = {name: position for position, name in enumerate(names)}
    needed = [*schema.features, *([schema.target] if labels else [])]
    absent = [name for name in needed if name not in found]
    if not absent:
        return found
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


def _by_position(names: Sequence[str], schema: Schema, labels: bool, source: str) -> dict[str, int]:
    """Columns in the order of the training file, whose label may be absent where it is no input."""
    expected = schema.file_columns
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


def expectation_of(schema: Schema, columns: Columns, sources: Sequence[int]) -> Expectation:
    """What the columns may hold, for the message about a cell that they may not."""
    roles: dict[int, Role] = {}
    values = {}
    for position, column in zip(sources, schema.columns, strict=True):
        roles[position] = "number" if column.type == "numeric" else "text"
        if column.type == "boolean":
            values[position] = column.categories
    if columns.target is not None:
        roles[columns.target] = "label"
        values[columns.target] = [value for group in schema.label_values for value in group]
    return Expectation(
        roles,
        missing=schema.missing != "error",
        missing_label=schema.missing == "drop",
        missing_values=schema.missing_values,
        values=values,
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
