"""A file becomes the rows and labels of a Table, in memory or on disk, or one message.

The two ways differ in a word: cells that fit in memory are collected once, and what is asked of
them then costs no further reading. What is read, and what is refused, is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.file.outline import outline
from normlab.data.file.source import Source
from normlab.data.meaning.cautions import cautions, sample_of
from normlab.data.meaning.notices import dressed_names, notices
from normlab.data.meaning.reading import Reading, cells_of
from normlab.data.meaning.store import Disk, Memory, Part
from normlab.data.meaning.survey import batch_rows
from normlab.data.meaning.target import Values
from normlab.data.schema import Column, Schema


@dataclass(frozen=True)
class Converted:
    """A file that can be trained on, and what to warn of."""

    rows: NDArray[np.float32]
    labels: NDArray[np.float32]
    schema: Schema
    read_as: str
    messages: list[str]


def convert(
    source: Source,
    target: str | int,
    format: Format,
    selection: Selection,
    store: Memory | Disk,
) -> Converted:
    """The rows and the labels of a file, as `Table` has them.

    Args:
        target, format, selection: as of `load.read_table`.
        store: where they go. Cells that go into memory are held there from the start.

    Raises:
        UserError: the file cannot be trained on.
    """
    about = outline(source, target, format, selection)
    task = None if isinstance(store, Memory) else "converting"
    cells = cells_of(source, about, selection, task)
    if isinstance(store, Memory):
        cells.collect()
    reading = Reading(cells, about, selection)
    table = _converted(reading, store)
    cells.refuse_nul()
    return table


def _converted(reading: Reading, store: Memory | Disk) -> Converted:
    """The rows and labels in the store.

    Raises:
        UserError: they cannot be trained on.
    """
    selection, columns, name = reading.selection, reading.columns, reading.source.name
    messages = [*reading.about.first.notices, *reading.unnamed(), *reading.leave_out()]
    inputs = {position: reading.input(position) for position in columns.inputs}
    reading.refuse_missing()
    groups = reading.label_groups()
    reading.refuse_infinite()
    parts = _parts(reading, inputs, groups)
    rows, labels = store.fill((reading.survey.n_rows, len(inputs)), parts)
    schema = reading.schema(tuple(inputs.values()), groups)
    sample = sample_of(rows)
    facts = [reading.survey.facts[p] for p in columns.inputs]
    messages += notices(reading.about, inputs, selection, name)
    dressed = dressed_names(reading.about, inputs, selection)
    messages += cautions(facts, sample, labels, schema, name, dressed)
    read_as = f"{reading.about.first.read_as}; inputs: {_counted(schema)}"
    return Converted(rows, labels, schema, read_as, messages)


def _parts(
    reading: Reading, inputs: Mapping[int, Column], groups: tuple[Values, Values]
) -> Iterator[Part]:
    """Encoded rows and labels."""

    def then(lazy: pl.LazyFrame) -> pl.LazyFrame:
        return reading.keep(lazy).select(reading.encoded(inputs, groups))

    for frame in reading.cells.batches(then, batch_rows(reading.cells)):
        yield frame[:, :-1].to_numpy(order="c"), frame.to_series(-1).to_numpy()


def _counted(schema: Schema) -> str:
    """How many columns there are of each type."""
    types = [column.type for column in schema.columns]
    kinds = ("numeric", "boolean", "categorical")
    counts = [f"{types.count(kind)} {kind}" for kind in kinds if kind in types]
    left_out = len(schema.file_columns) - len(types) - 1
    return ", ".join([*counts, *([f"{left_out} left out"] if left_out else [])])
