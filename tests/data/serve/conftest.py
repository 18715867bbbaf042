"""Tables on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from normlab.data.table import Table


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Table], Table]:
    """The same table, on disk."""

    def store(table: Table) -> Table:
        np.save(tmp_path / "rows.npy", table.rows)
        np.save(tmp_path / "labels.npy", table.labels)
        mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("rows", "labels"))
        return replace(table, **dict(zip(("rows", "labels"), mapped, strict=True)))

    return store
