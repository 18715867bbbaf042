"""A sweep's folder as training leaves it behind, small, with losses that the test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ENTROPY = 0.6786
AddRun = Callable[..., Path]


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "2026-11-22_16-00-00"
    folder.mkdir()
    (folder / "multirun.yaml").write_text("hydra: {}\n")
    return folder


@pytest.fixture
def add_run(sweep_dir: Path) -> AddRun:
    """Adds a run to the sweep: its settings, its losses, and its result unless loss is None."""

    def add(
        loss: float | None,
        seed: int | None = 0,
        normalization: str = "none",
        lr: float = 0.01,
        curve: Sequence[float] = (0.7, 0.3, 0.05),
        splits: Sequence[str] = ("train", "val", "test"),
        name: str | None = None,
        extra: dict[str, Any] | None = None,
        **losses: float,
    ) -> Path:
        number = sum(1 for path in sweep_dir.iterdir() if path.is_dir())
        run = sweep_dir / (name or str(number))
        run.mkdir(parents=True)
        config = {
            "seed": seed,
            "data": {"name": "circles", "seed": 123, "batch_size": 64},
            "normalization": {"name": normalization},
            "model": {"hidden": [4], "lr": lr},
            **(extra or {}),
        }
        if normalization == "quantile":
            config["normalization"]["n_quantiles"] = 100
        (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (run / ".hydra").mkdir()  # Hydra's own copy, which is no run
        (run / ".hydra" / "config.yaml").write_text("seed: 0\n")
        val = "val" in splits
        lines = ["epoch,lr,train/loss,train/accuracy" + (",val/loss,val/accuracy" if val else "")]
        lines += [
            f"{epoch},{lr},{value},0.9" + (f",{value},0.9" if val else "")
            for epoch, value in enumerate(curve, start=1)
        ]
        (run / "metrics.csv").write_text("\n".join(lines) + "\n")
        if loss is not None:
            measured = {
                split: {"loss": losses.get(split, loss), "accuracy": 0.9, "auroc": None}
                for split in splits
            }
            result = {
                "checkpoint": None,
                **dict.fromkeys(("train", "val", "test")),
                **measured,
                "label_entropy": ENTROPY,
                "threshold": None,
                "epochs": len(curve),
                "seconds": 1.5,
                "rows_per_second": 1e4,
            }
            (run / "result.json").write_text(json.dumps(result))
        return run

    return add
