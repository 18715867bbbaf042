"""normlab: what the normalization of its inputs does to a classifier's training.

>>> import normlab
>>> trained = normlab.train(normlab.settings("data=circles", seed=3))
>>> normlab.load("runs/2026-01-31_12-00-00").predict_proba([[88.0], [95.0]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normlab.api import settings, train
    from normlab.inference.predict import load

__all__ = ["load", "settings", "train"]


def __getattr__(name: str) -> Any:
    """Imports torch only when it is asked for: settings are checked without it."""
    if name == "load":
        from normlab.inference.predict import load

        return load
    if name in ("settings", "train"):
        from normlab import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
