"""How one run learns: the settings of its optimizer, with what depends on its labels."""

from __future__ import annotations

from dataclasses import dataclass

from normlab.config import Settings
from normlab.config.model import SchedulerSettings
from normlab.data.serve.module import SplitTable


@dataclass(frozen=True)
class Recipe:
    """How one run learns.

    Attributes:
        optimizer: "adam", "adamw" or "sgd".
        lr, weight_decay: learning rate and L2 penalty (decoupled for adamw).
        momentum: of sgd.
        scheduler: of the learning rate, in epochs.
        weight: of the rows of class 1 in the training loss.
        seed: makes dropout.
        patience, min_delta: of early stopping; a patience of None never stops.
        normalization: of the inputs, for what is said of a run that diverges.
    """

    optimizer: str
    lr: float
    scheduler: SchedulerSettings
    weight_decay: float = 0.0
    momentum: float = 0.0
    weight: float = 1.0
    seed: int = 0
    patience: int | None = None
    min_delta: float = 0.0
    normalization: str = "none"


def make_recipe(settings: Settings, data: SplitTable) -> Recipe:
    """How a run learns, with what depends on its labels."""
    model, weight = settings.model, settings.model.pos_weight
    if weight == "balanced":  # both classes have the same total
        positive = data.train_labels.sum().item()
        weight = (len(data.train_labels) - positive) / positive
    return Recipe(
        optimizer=model.optimizer,
        lr=model.lr,
        scheduler=model.scheduler,
        weight_decay=model.weight_decay,
        momentum=model.momentum,
        weight=1.0 if weight is None else float(weight),
        seed=settings.seed,
        patience=settings.early_stopping.patience,
        min_delta=settings.early_stopping.min_delta,
        normalization=settings.normalization.name,
    )
