"""What runs came to: the figures of result.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from normlab.data.serve.module import TableDataModule
from normlab.model.network import Network
from normlab.model.tasks import Task
from normlab.model.thresholds import decision_thresholds
from normlab.training.outputs import Outputs


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
        seconds: duration of the training; of runs that train together, a run's share.
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


@torch.no_grad()
def measure(
    network: Network,
    data: TableDataModule,
    task: Task,
    *,
    guesses: Sequence[float],
    epochs: Sequence[int],
    seconds: float,
) -> list[Result]:
    """Evaluates the runs of a network, which is left in evaluation mode, on all splits.

    Args:
        guesses: of each run, the loss of the best guess that ignores its input.
        epochs: that each run was trained for.
        seconds: of each.
    """
    network.eval()
    parts = {part: _evaluate(network, data, task, part) for part in ("train", "val", "test")}
    thresholds = None
    if network.n_columns == 1:
        sampled = torch.stack([run.sampled_rows() for run in data.runs])
        thresholds = decision_thresholds(network, sampled)
    n_train = data.n_rows("train")
    return [
        Result(
            checkpoint=None,
            **{part: figures[i] for part, figures in parts.items()},
            label_entropy=task.guess_loss(run.train_labels),
            guess_loss=guesses[i],
            threshold=None if thresholds is None else thresholds[i],
            epochs=epochs[i],
            seconds=seconds,
            rows_per_second=epochs[i] * n_train / seconds,
        )
        for i, run in enumerate(data.runs)
    ]


def _evaluate(network: Network, data: TableDataModule, task: Task, part: str) -> list[Any]:
    """The metrics by name of each run on a part; None where the part is empty."""
    if not data.n_rows(part):
        return [None] * len(data.runs)
    dtype = next(network.parameters()).dtype
    outputs = Outputs(data.n_rows(part))
    for rows, labels in data.evaluation(part):
        outputs.add(network(rows.to(dtype)), labels.to(dtype))
    values = task.evaluate(*outputs.joined()).tolist()
    return [dict(zip(task.metrics, own, strict=True)) for own in values]
