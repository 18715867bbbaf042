"""What a run of a sweep costs: the fused launcher against Hydra's basic one, side by side.

    python -m benchmarks.sweeps            # about ten minutes on two cores
    python -m benchmarks.sweeps --rounds 5

Whole commands, with validation, logging and checkpoints: the marginal cost of a run is
(time of many runs - time of one) / (their number - 1). Training alone is what the program reports
as a run's `seconds`. Only ratios mean something: machines differ and are noisy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rounds import Comparison, ratio

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "batch 64, 20 epochs": ["data.batch_size=64", "trainer.max_epochs=20"],
    "full batch, 300 epochs": ["data.batch_size=null", "trainer.max_epochs=300"],
}
AIMS = {
    ("batch 64, 20 epochs", "basic", "a run"): "at least 20",
    ("batch 64, 20 epochs", "basic", "training"): "at least 60",
    ("full batch, 300 epochs", "basic", "a run"): "at least 15",
    ("full batch, 300 epochs", "basic", "training"): "at least 30",
}
OTHERS = ("basic", "joblib")
FUSED, FEW = 200, 8  # runs of a sweep
NET = "model.hidden=[10]"


def sweep(launcher: str, n_runs: int, settings: list[str]) -> tuple[float, float]:
    """Seconds of the whole command, and of the training of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "train.py", "-m", f"seed=range(0,{n_runs})"),
            *(f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}", NET, *settings),
            *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []),
        ]
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        results = [json.loads(path.read_text()) for path in Path(folder).glob("*/result.json")]
    assert len(results) == n_runs
    return seconds, statistics.median(result["seconds"] for result in results)


def measure(rounds: int) -> Iterator[Comparison]:
    for name, settings in SETTINGS.items():
        taken: dict[str, list[float]] = {}
        for _ in range(rounds):
            one_fused, _ = sweep("fused", 1, settings)
            many_fused, fused_training = sweep("fused", FUSED, settings)
            one_other = {other: sweep(other, 1, settings)[0] for other in OTHERS}
            for other in OTHERS:
                many_other, training = sweep(other, FEW, settings)
                marginal = (many_other - one_other[other]) / (FEW - 1)
                taken.setdefault(f"{other}, a run", []).append(marginal)
                taken.setdefault(f"{other}, training", []).append(training)
            taken.setdefault("a run", []).append((many_fused - one_fused) / (FUSED - 1))
            taken.setdefault("training", []).append(fused_training)
        for what, times in taken.items():
            print(f"  {name}, {what}: {statistics.median(times) * 1e3:.1f} ms")
        for other in OTHERS:
            for what in ("a run", "training"):
                over = ratio(taken[f"{other}, {what}"], taken[what])
                aim = AIMS.get((name, other, what), "")
                yield Comparison(f"{name}: {what}, {other} launcher / fused", over, aim)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured")
    for comparison in measure(parser.parse_args().rounds):
        print(comparison, flush=True)


if __name__ == "__main__":
    main()
