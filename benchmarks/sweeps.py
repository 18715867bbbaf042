"""What a run of a sweep costs: the fused launcher against Hydra's basic one, side by side.

    python benchmarks/sweeps.py            # about ten minutes on two cores
    python benchmarks/sweeps.py --repeat 5

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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "batch 64, 20 epochs": ["data.batch_size=64", "trainer.max_epochs=20"],
    "full batch, 300 epochs": ["data.batch_size=null", "trainer.max_epochs=300"],
}
FUSED, BASIC = 200, 8  # runs of a sweep
NET = "model.hidden=[10]"


def sweep(launcher: str, n_runs: int, settings: list[str]) -> tuple[float, float]:
    """Seconds of the whole command, and of the training of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "train.py", "-m", f"seed=range(0,{n_runs})"),
            *(f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}", NET, *settings),
        ]
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        results = [json.loads(path.read_text()) for path in Path(folder).glob("*/result.json")]
    assert len(results) == n_runs
    return seconds, statistics.median(result["seconds"] for result in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="times each is measured")
    repeat = parser.parse_args().repeat
    print(f"{'':24}{'marginal, basic / fused':>32}{'training, basic / fused':>32}")
    for name, settings in SETTINGS.items():
        whole, training = [], []
        for _ in range(repeat):
            one_fused, _ = sweep("fused", 1, settings)
            many_fused, fused_training = sweep("fused", FUSED, settings)
            one_basic, _ = sweep("basic", 1, settings)
            many_basic, basic_training = sweep("basic", BASIC, settings)
            fused = (many_fused - one_fused) / (FUSED - 1)
            basic = (many_basic - one_basic) / (BASIC - 1)
            whole.append((basic / fused, basic, fused))
            training.append((basic_training / fused_training, basic_training, fused_training))
        print(f"{name:24}" + "".join(_ratio(figures) for figures in (whole, training)))


def _ratio(figures: list[tuple[float, float, float]]) -> str:
    ratio, slow, fast = sorted(figures)[len(figures) // 2]
    low, high = min(figures)[0], max(figures)[0]
    return f"{f'{slow * 1e3:.0f} / {fast * 1e3:.1f} ms = {ratio:.0f} ({low:.0f}-{high:.0f})':>32}"


if __name__ == "__main__":
    main()
