"""normlab: what the normalization of its inputs does to a classifier's training.

>>> import normlab
>>> normlab.load("runs/2026-01-31_12-00-00").predict_proba([[88.0], [95.0]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normlab.inference.predict import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports torch only when it is asked for: settings are checked without it."""
    if name == "load":
        from normlab.inference.predict import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
