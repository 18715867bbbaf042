"""Every setting: its name, type, range and help; the defaults live in `conf/`.

This package is imported before torch, so that a mistyped setting is refused at once. Pydantic
itself is imported where settings are checked: a look at a table needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normlab.config.settings import Settings

__all__ = ["Settings"]


def __getattr__(name: str) -> Any:
    if name != "Settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from normlab.config.settings import Settings

    return Settings
