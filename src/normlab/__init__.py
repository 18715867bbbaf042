"""normlab: what the normalization of its inputs does to a classifier's training.

>>> import normlab
>>> trained = normlab.train(normlab.settings("data=circles", seed=3))
>>> normlab.load("runs/2026-01-31_12-00-00").predict_proba([[88.0], [95.0]])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normlab.api import train
    from normlab.config.compose import settings
    from normlab.inference.predict import load

__all__ = ["load", "settings", "train"]
PLACES = {"load": "inference.predict", "settings": "config.compose", "train": "api"}


def __getattr__(name: str) -> Any:
    """Imports torch only where it is needed: settings are checked without it."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
