"""Which runs may share a network: what may differ between them is listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from normlab.config import Settings
from normlab.model.scalers import SCALERS

# A run's own learning rate, decay, schedule and weight of the positive rows are numbers in a
# column; its seed and its data settings make its own rows, split and weights, of the same shapes.
MAY_DIFFER = (
    "seed",
    "model.lr",
    "model.weight_decay",
    "model.momentum",
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
# Mixed precision scales or casts each step by itself.
PRECISIONS = ("32-true", "64-true", "16-true", "bf16-true")


def why_apart(settings: Settings) -> str | None:
    """What needs Lightning to see each step of an epoch by itself; None where nothing does.

    Such a run also shares no network with others: gradients are clipped and shared by the model.
    """
    trainer = settings.trainer
    others = sorted((trainer.model_extra or {}).keys())
    if others:
        return f"trainer.{others[0]} is set"
    if trainer.devices not in (1, "1", "auto"):
        return f"trainer.devices={trainer.devices}"
    if trainer.strategy != "auto":
        return f"trainer.strategy={trainer.strategy}"
    if trainer.precision not in PRECISIONS:
        return f"trainer.precision={trainer.precision}"
    return None


def sharing_key(settings: Settings) -> Hashable:
    """Equal for runs that may share a network, as far as the settings tell.

    Runs whose split has parts of different sizes are told apart later, by the data.
    """
    plain = settings.to_dict()
    for key in MAY_DIFFER:
        _remove(plain, key.split("."))
    # Affine maps differ in their statistics alone.
    name = settings.normalization.name
    plain["normalization"]["name"] = SCALERS[name].family
    plain["model"]["batchnorm"] = settings.batchnorm
    return _frozen(plain)


def _remove(plain: dict[str, Any], path: Sequence[str]) -> None:
    *parents, name = path
    for parent in parents:
        plain = plain[parent]
    plain.pop(name, None)


def _frozen(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in sorted(value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
