"""Which runs may train as one: what may differ inside a stack is listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from normlab.config import Settings

# Settings that may differ inside a stack. A run's own learning rate, decay, schedule and weight
# of the positive rows are numbers in a column; its seed and its data settings make its own rows,
# split and initial weights, of the same shapes.
MAY_DIFFER = (
    "seed",
    "model.lr",
    "model.weight_decay",
    "model.scheduler",
    "model.pos_weight",
    "model.init",
    "data.seed",
    "data.noise",
    "data.factor",
    "data.mean",
    "data.std",
    "data.autocorrelation",
    "data.threshold",
    "data.split",
    "figures",
    "report",
)
# Strategies that are one affine map: they differ in their statistics alone.
AFFINE = frozenset({"none", "center", "standardize", "minmax", "robust"})
# Arguments of Trainer that the stack's own step and checkpoints keep to; any other trains alone.
TRAINER = frozenset(
    {
        "accelerator",
        "devices",
        "strategy",
        "precision",
        "max_epochs",
        "enable_progress_bar",
        "enable_checkpointing",
    }
)
# In 16 bits torch's fused optimizers reckon within a step in 32: a stack's would not, and its
# epsilon of 1e-8 would be 0.
PRECISIONS = ("32-true", "64-true")


def why_alone(settings: Settings) -> str | None:
    """What keeps a run out of every stack, in words for the log; None where nothing does."""
    trainer = settings.trainer
    others = sorted((trainer.model_extra or {}).keys() - TRAINER)
    if others:
        return f"trainer.{others[0]} is set"
    if trainer.devices not in (1, "1", "auto"):
        return f"trainer.devices={trainer.devices}"
    if trainer.strategy != "auto":
        return f"trainer.strategy={trainer.strategy}"
    if trainer.precision not in PRECISIONS:
        return f"trainer.precision={trainer.precision}"
    if trainer.unroll_epochs:
        return "trainer.unroll_epochs=true (a stack does so anyway: leave it out)"
    return None


def stacking_key(settings: Settings) -> Hashable:
    """Equal for runs that may share a stack, as far as the settings tell.

    Runs whose split has parts of different sizes are told apart later, by the data.
    """
    plain = settings.to_dict()
    for key in MAY_DIFFER:
        _remove(plain, key.split("."))
    name = settings.normalization.name
    if settings.batchnorm:  # a layer of its own; the rest of the strategy is affine or not
        plain["normalization"]["name"] = "affine" if name in AFFINE | {"batchnorm"} else name
    elif name in AFFINE:
        plain["normalization"]["name"] = "affine"
    plain["model"]["batchnorm"] = settings.batchnorm
    return _frozen(plain)


def group(settings: Sequence[Settings]) -> list[list[int]]:
    """Positions of the runs that may train as one, in the order of their first members."""
    groups: dict[Hashable, list[int]] = {}
    for i, one in enumerate(settings):
        groups.setdefault(stacking_key(one), []).append(i)
    return list(groups.values())


def _remove(plain: dict[str, Any], path: Sequence[str]) -> None:
    *parents, name = path
    for parent in parents:
        plain = plain[parent]
    plain.pop(name, None)


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in sorted(value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
