"""What a run came to: the figures of result.json."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from normlab.data.batches import Batch
from normlab.data.module import TableDataModule
from normlab.model.metrics import METRICS, binary_metrics, guess_loss
from normlab.model.network import Network
from normlab.model.outputs import Outputs
from normlab.model.threshold import decision_thresholds


@dataclass(frozen=True)
class Result:
    """All figures come from one set of weights, in evaluation mode, over all rows of a split.

    Attributes:
        checkpoint: the file of these weights, relative to the run folder; None if none is kept.
        train, val, test: loss (nats), accuracy and auroc; None where the split is absent.
        label_entropy: loss of a model that ignores its input, in nats, on the training labels.
        guess_loss: the same of a model that was trained under `model.pos_weight`; what is no
            better has learnt nothing.
        threshold: inputs at which the decision changes, in the raw unit; None for several inputs.
        epochs: number of epochs trained.
        seconds: duration of the training.
        rows_per_second: training rows passed in a second, validation and logging included.
        diagnosis: `diagnosis.conclusion`; None where it is switched off.
        diverged: how, where the loss turned nan or infinite and ended the run; else None.
    """

    checkpoint: str | None
    train: dict[str, float]
    val: dict[str, float] | None
    test: dict[str, float] | None
    label_entropy: float
    guess_loss: float
    threshold: list[float] | None
    epochs: int
    seconds: float
    rows_per_second: float
    diagnosis: dict[str, Any] | None = None
    diverged: str | None = None

    @property
    def guess_in_words(self) -> str:
        """What the losses are to be held against."""
        said = f"label entropy {self.label_entropy:.4f}, the loss of a guess without inputs"
        weighted = f"; {self.guess_loss:.4f} under model.pos_weight"
        return said + (weighted if abs(self.guess_loss - self.label_entropy) > 1e-6 else "")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    network: Network,
    data: TableDataModule,
    *,
    epochs: int,
    seconds: float,
    pos_weight: float = 1.0,
    checkpoint: str | None = None,
) -> Result:
    """Evaluates a trained network, which is left in evaluation mode, on all splits.

    Args:
        pos_weight: of the loss that it was trained with.
    """
    network.eval()
    device = next(network.parameters()).device
    parts = {}
    for name in ("train", "val", "test"):
        present = len(getattr(data.split, name)) > 0
        parts[name] = evaluate(network, data.chunks(name, device)) if present else None
    return Result(
        checkpoint=checkpoint,
        **parts,
        label_entropy=guess_loss(data.train_labels),
        guess_loss=guess_loss(data.train_labels, pos_weight),
        threshold=decision_thresholds(network, data.sampled_rows()),
        epochs=epochs,
        seconds=seconds,
        rows_per_second=epochs * len(data.split.train) / seconds,
    )


@torch.no_grad()
def evaluate(network: Network, batches: Iterable[Batch]) -> dict[str, float]:
    """Metrics by name over all of some rows (n, features) and labels (n,)."""
    dtype = next(network.parameters()).dtype
    outputs = Outputs()
    for rows, labels in batches:
        outputs.append(network(rows.to(dtype)), labels.to(dtype))
    values = binary_metrics(*outputs.joined()).tolist()
    return dict(zip(METRICS, values, strict=True))
