"""A finished run in use: raw rows in, probabilities out. No Lightning here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from normlab.data.schema import Schema
from normlab.errors import UserError
from normlab.layout import BEST, LAST
from normlab.model.checkpoint import load_network
from normlab.model.network import Network

# What predictions take: an array, or a table with named columns.
Rows = ArrayLike | Mapping[str, Any] | Sequence[Mapping[str, Any]]

CHUNK = 16_384  # rows at once, which bounds the memory and stays in a processor's cache


class Predictor:
    """A trained network with scikit-learn's methods for a binary classifier.

    Attributes:
        network: of one run, in evaluation mode.
        schema: the columns that it was trained on and what its labels mean.
        classes_: the label's value for class 0 and for class 1.
    """

    def __init__(self, network: Network, schema: Schema) -> None:
        self.network = network
        self.schema = schema
        self.classes_ = np.array(schema.classes)

    def decision_function(self, rows: Rows) -> NDArray[np.floating]:
        """Logits (n,) of rows in raw units.

        Args:
            rows: a DataFrame of polars or pandas, a dict of columns or a list of dicts, whose
                columns are found by name; or plain rows (n, features) in the order of
                `schema.features`, an array where all of them are numbers.

        Raises:
            ValueError: where the rows are not (n, features), lack a column, or hold what the
                model cannot take.
        """
        if not _has_names(rows) and self.schema.is_numeric:
            array = np.asarray(rows, dtype=np.float32)
            n_features = len(self.schema.features)
            if array.ndim != 2 or array.shape[1] != n_features:
                raise ValueError(
                    f"rows must be (n, {n_features}), the columns "
                    f"{', '.join(self.schema.features)}; got shape {array.shape}"
                )
            return self.logits(array)
        from normlab.data.meaning.frames import rows_of  # polars is slow to load

        return self.logits(rows_of(self.schema, rows))

    @torch.inference_mode()
    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.floating]:
        """Logits (n,) of rows (n, features) as in `Table.rows`, with codes for categories.

        Raises:
            ValueError: where a value is missing and the model does not impute.
        """
        if self.schema.missing != "impute":
            _refuse_missing(rows, self.schema)
        dtype = next(self.network.parameters()).dtype
        # A copy where torch would warn that it must not write.
        tensor = torch.from_numpy(np.require(rows, requirements=["C", "W"]))
        logits = tensor.new_empty(len(tensor), dtype=torch.promote_types(dtype, torch.float32))
        for start in range(0, len(tensor), CHUNK):
            chunk = tensor[start : start + CHUNK].to(dtype)
            logits[start : start + CHUNK] = self.network(chunk)[0]
        return logits.numpy()

    def predict_proba(self, rows: Rows) -> NDArray[np.floating]:
        """Probabilities (n, 2) of class 0 and class 1, for rows as `decision_function` takes."""
        positive = torch.from_numpy(self.decision_function(rows)).sigmoid().numpy()
        return np.stack([1 - positive, positive], axis=1)

    def predict(self, rows: Rows) -> NDArray:
        """The more probable label (n,), as it stood in the source."""
        return self.classes_[(self.decision_function(rows) > 0).astype(int)]


def _refuse_missing(rows: NDArray[np.float32], schema: Schema) -> None:
    missing = np.isnan(rows)
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise ValueError(
            f"row {row}, column {schema.features[column]!r}: a missing value, which the model was "
            f"trained without (data.missing={schema.missing})"
        )


def _has_names(rows: object) -> bool:
    """Whether the columns of the rows go by name."""
    if isinstance(rows, list):
        return bool(rows) and isinstance(rows[0], Mapping)
    return isinstance(rows, Mapping) or hasattr(rows, "columns")


def load(path: str | Path) -> Predictor:
    """The model of a run folder (its best checkpoint) or of a checkpoint file.

    Raises:
        UserError: where there is none, or the file is not one of this program's.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in (BEST, LAST) if (path / name).exists()]
        if not found:
            raise UserError(
                f"{path} holds no checkpoint ({BEST}): was it trained with "
                "trainer.enable_checkpointing=false?"
            )
        path = found[0]
    network, schema = load_network(path)
    if network.n_runs > 1:
        raise UserError(f"{path} holds {network.n_runs} runs, and predictions are of one of them")
    return Predictor(network, schema)
