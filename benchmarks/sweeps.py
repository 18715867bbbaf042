"""What a run of a sweep costs: the fused launcher against Hydra's basic one, side by side.

    python -m benchmarks sweeps            # about ten minutes on two cores

Whole commands, with validation, logging and checkpoints: the marginal cost of a run is
(time of many runs - time of one) / (their number - 1). Training alone is what the program reports
as a run's `seconds`, and of a plain Lightning run the time of `Trainer.fit`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator

from benchmarks import plain_lightning
from benchmarks.peers import N_TRAIN
from benchmarks.processes import new_folder, python
from benchmarks.rounds import Comparison, ratio

SETTINGS = {
    "batch 64, 20 epochs": ["data.batch_size=64", "trainer.max_epochs=20"],
    "full batch, 300 epochs": ["data.batch_size=null", "trainer.max_epochs=300"],
}
AIMS = {
    ("batch 64, 20 epochs", "basic", "a run"): 1 / 35,
    ("full batch, 300 epochs", "basic", "a run"): 1 / 28,
}
OTHERS = ("basic", "joblib")
PLAIN = {"batch 64, 20 epochs": (20, 64), "full batch, 300 epochs": (300, N_TRAIN)}
FUSED, FEW = 200, 20  # runs of a sweep
NET = "model.hidden=[10]"


def sweep(launcher: str, n_runs: int, settings: list[str]) -> tuple[float, float]:
    """Seconds of the whole command, and of the training of one run."""
    folder = new_folder()
    seconds, *_ = python(
        *("train.py", "-m", f"seed=range(0,{n_runs})"),
        *(f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}", NET, *settings),
        *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []),
    )
    results = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    assert len(results) == n_runs
    return seconds, statistics.median(result["seconds"] for result in results)


def measure(rounds: int) -> Iterator[Comparison]:
    plain_lightning.train(1, N_TRAIN)  # imports
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
            taken.setdefault("plain", []).append(plain_lightning.train(*PLAIN[name]))
        for what, times in taken.items():
            print(f"  {name}, {what}: {statistics.median(times) * 1e3:.1f} ms")
        for other in OTHERS:
            for what in ("a run", "training"):
                over = ratio(taken[what], taken[f"{other}, {what}"])
                words = {"a run": "one more run", "training": "training of a run"}[what]
                aim = AIMS.get((name, other, what))
                yield Comparison(f"{words} of a sweep, {name}", f"{other} launcher", over, aim)
        over = ratio(taken["training"], taken["plain"])
        yield Comparison(f"training of a run of a sweep, {name}", "plain Lightning run", over)
