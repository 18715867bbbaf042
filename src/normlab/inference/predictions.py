"""A file's rows with their predictions beside them, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import torch

from normlab.data.file.dialect import Format
from normlab.data.file.records import Dialect
from normlab.data.meaning.apply import Batch, Keep, read_for
from normlab.data.meaning.compare import Comparison
from normlab.errors import UserError
from normlab.inference.predict import Predictor

PROBABILITY, PREDICTION = "probability", "prediction"
THRESHOLD = 0.5  # as in training: accuracies in result.json, and its threshold, go by it


class Predictions:
    """The rows of a file, in their order, with two more columns, as an iterator of frames.

    `probability` is that of class 1; `prediction` is the label as it stood in the training file,
    that of class 1 where the probability is above the threshold. Both are null in rows with a
    missing value if the model was trained without such rows (data.missing=drop).

    Args:
        path: CSV, also gzipped, or Parquet.
        kept: columns of the file that stand before these two; None for all.
        numbers: whether the model's numeric columns of a text file are kept as float64, not text.

    Attributes:
        dialect: how the file is written, if it is text.
        quoted: whether some cell may need quotation marks under that dialect.
        unknown: the file's columns that the training file did not have.
        comparison: how the file differs from the training file.
        n_rows: rows so far.
        n_left_out: those of them without a prediction.
        n_positive: those whose prediction is class 1.

    Raises:
        UserError: as `read_for`; also where the file has columns of the two names. While it is
            iterated, for rows that the model cannot take.
    """

    def __init__(
        self,
        predictor: Predictor,
        path: Path,
        kept: Sequence[str] | None = None,
        threshold: float = THRESHOLD,
        format: Format | None = None,
        numbers: bool = False,
    ) -> None:
        self.n_rows = self.n_left_out = self.n_positive = 0
        self._predictor = predictor
        self._least_logit = math.log(threshold) - math.log1p(-threshold)
        self.comparison = Comparison(predictor.schema, path.name)
        keep = Keep(kept, numbers)
        batches = read_for(predictor.schema, path, format, keep=keep, comparison=self.comparison)
        first = next(batches, None)
        if first is None:
            raise UserError(f"{path.name} has no rows")
        taken = [name for name in (PROBABILITY, PREDICTION) if name in first.kept.columns]
        if taken:
            raise UserError(
                f"{path.name} has a column {taken[0]!r} already: name the columns to write beside "
                f"the predictions (--id), without it"
            )
        known = predictor.schema.file_columns
        self.unknown = [name for name in first.columns.names if name not in known]
        self.dialect: Dialect = first.columns.dialect
        names = "".join(map(str, predictor.schema.classes))
        special = {self.dialect.separator_character, *'"\r\n'}
        self.quoted = first.quoted or not special.isdisjoint(names)
        self._batches = chain([first], batches)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for batch in self._batches:
            yield self._frame(batch)

    def _frame(self, batch: Batch) -> pl.DataFrame:
        logits = self._predictor.logits(batch.rows)
        probabilities = torch.from_numpy(logits).sigmoid().numpy()
        positive = logits > self._least_logit
        self.n_rows += batch.n_read
        self.n_left_out += batch.n_read - len(logits)
        self.n_positive += int(positive.sum())
        probability = pl.Series(PROBABILITY, probabilities)
        code = pl.Series(positive).cast(pl.UInt32)
        if len(logits) < batch.n_read:
            known = np.zeros(batch.n_read, dtype=bool)
            known[batch.index - batch.start] = True
            place = pl.Series(known.cumsum() - 1).set(pl.Series(~known), None)
            probability, code = probability.gather(place), code.gather(place)
        prediction = _classes(self._predictor).gather(code).alias(PREDICTION)
        return batch.kept.hstack([probability, prediction])


def _classes(predictor: Predictor) -> pl.Series:
    """The two labels in one type: text if one of them is."""
    classes = list(predictor.schema.classes)
    if any(isinstance(value, str) for value in classes):
        return pl.Series(list(map(str, classes)))
    return pl.Series(classes, strict=False)
