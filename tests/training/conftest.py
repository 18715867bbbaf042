"""Settings are composed once for each set of overrides: Hydra takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from normlab.config import Settings


@pytest.fixture(scope="session")
def settings(settings: Callable[..., Settings]) -> Callable[..., Settings]:
    return cache(settings)
