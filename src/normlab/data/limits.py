"""Tables whose numbers the chosen arithmetic cannot hold, refused before anything is trained."""

from __future__ import annotations

import numpy as np

from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.errors import UserError

# Normalizations under which a column keeps its spread, or BatchNorm takes its variance.
KEEP_THE_SPREAD = ("none", "center", "batchnorm")
# The largest whole number up to which a dtype of 16 bits holds them all.
EXACT_UP_TO = {"bf16-true": 2**8, "16-true": 2**11}


def refuse_overflow(table: Table, normalization: str, batchnorm: bool) -> None:
    """Refuses a column whose variance overflows float32, where some step would compute it.

    Raises:
        UserError: naming the column.
    """
    if normalization not in KEEP_THE_SPREAD or not len(table):
        return
    limit = float(np.finfo(np.float32).max)
    largest = np.max([np.nanmax(np.abs(rows), 0, initial=0) for rows in table.chunks()], 0)
    for position in np.flatnonzero(largest > limit**0.5 / 2):
        column = table.rows[:, position].astype(np.float64)
        spread = float(np.nanstd(column))
        if spread**2 > limit or (normalization != "center" and largest[position] > limit**0.5):
            step = "BatchNorm" if batchnorm else "the first layer"
            name = table.schema.features[position]
            raise UserError(
                f"{table.source}, column {name!r}: values up to {largest[position]:.3g}, whose "
                f"variance overflows float32 in {step} (normalization={normalization}). Rescale "
                f"the column, or set normalization=standardize, robust or log1p."
            )


def refuse_merged_codes(schema: Schema, precision: str) -> None:
    """Refuses a precision that would take one category for another.

    Raises:
        UserError: naming the column.
    """
    most = EXACT_UP_TO.get(precision)
    if most is None:
        return
    for column in schema.columns:
        if column.type == "categorical" and len(column.categories) > most:
            raise UserError(
                f"column {column.name!r}: {len(column.categories)} categories are more than the "
                f"{most} that trainer.precision={precision} can tell apart. Use 32-true, or "
                f"{precision.removesuffix('-true')}-mixed."
            )
