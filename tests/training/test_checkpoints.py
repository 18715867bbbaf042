"""When checkpoints are written: a training that ends anywhere goes on to the same files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from normlab.errors import UserError
from normlab.layout import BEST
from normlab.training import checkpoints


def test_a_run_ended_between_its_two_last_checkpoints_comes_to_both(
    train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its best weights are of the last epoch: the file of the epoch before would be others."""
    few = ("data.rows=300", "trainer.max_epochs=2", "trainer.enable_progress_bar=false")
    assert train(*few, "hydra.run.dir=whole").status == 0
    save, written = checkpoints.save_durably, []

    def full_disk(path: Path, content: dict[str, Any]) -> None:
        written.append(path.name)
        if len(written) == 3:  # last.ckpt: before the first epoch, and after each
            raise UserError("the disk is full")
        save(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_durably", full_disk)
        cut = (*few, "checkpoint.every_n_seconds=0", "hydra.run.dir=cut")
        assert train(*cut).status == 1
    assert written == ["last.ckpt"] * 3
    assert train("resume=cut").status == 0
    best = [torch.load(tmp_path / folder / BEST)["state_dict"] for folder in ("whole", "cut")]
    torch.testing.assert_close(best[0], best[1], rtol=0, atol=0)
