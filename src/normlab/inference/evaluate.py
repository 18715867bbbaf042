"""A model on the labelled rows of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normlab.data.file.dialect import Format
from normlab.data.meaning.apply import read_for
from normlab.data.meaning.compare import Comparison
from normlab.errors import UserError
from normlab.inference.predict import Predictor


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a model says of rows whose labels are known.

    Attributes:
        logits: (n,).
        labels: float32 (n,), each 0 or 1.
        n_left_out: rows with a missing value, under data.missing=drop.
        messages: how the file differs from the training file.
    """

    logits: NDArray[np.floating]
    labels: NDArray[np.float32]
    n_left_out: int
    messages: list[str]


def labelled_logits(predictor: Predictor, path: Path, format: Format | None = None) -> Labelled:
    """The logits of a file's rows beside their labels; rows are read in batches.

    Raises:
        UserError: as `read_for`, with the label's column needed; also where no row is left.
    """
    schema = predictor.schema
    comparison = Comparison(schema, path.name)
    logits, labels, n_rows = [], [], 0
    for batch in read_for(schema, path, format, labels=True, comparison=comparison):
        logits.append(predictor.logits(batch.rows))
        labels.append(batch.labels)
        n_rows += batch.n_read
    n_kept = sum(map(len, logits))
    if not n_kept:
        what = "every row has a missing value" if n_rows else "no rows"
        raise UserError(f"{path.name} leaves nothing to evaluate: {what}")
    n_left_out, messages = n_rows - n_kept, comparison.messages()
    return Labelled(np.concatenate(logits), np.concatenate(labels), n_left_out, messages)
