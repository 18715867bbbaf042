"""JSON that every parser takes."""

from __future__ import annotations

import json
import math
from typing import Any


def strict_json(value: Any) -> str:
    """The value as text; nan and infinities, for which JSON has no words, are null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
