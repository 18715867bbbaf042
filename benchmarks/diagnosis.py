"""What the thresholds of the diagnosis rest on: runs made worse step by step.

    python benchmarks/diagnosis.py                  # all tables of docs/diagnosis.md: ten minutes
    python benchmarks/diagnosis.py --only alarms    # offsets, scales, alarms or cost

Runs are whole commands of the program, and what is counted is what they leave in result.json and
metrics.csv. A run counts as slow where it needs 3 times the epochs to halve the label entropy that
the median run of the first row needs, or never does.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 20
SLOW = 3.0
OFFSETS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30)
RATIOS = (1, 3, 10, 30, 100, 300, 1000, 10000)
ACTIVATIONS = {"sigmoid": "saturated", "tanh": "saturated", "relu": "dead"}
COMMON = (
    "data.split=none",
    "data.batch_size=null",
    "model.hidden=[8]",
    "model/scheduler=none",
    f"model.activation={','.join(ACTIVATIONS)}",
    f"seed=range(0,{SEEDS})",
    "trainer.max_epochs=500",
)


@dataclass(frozen=True)
class Run:
    """A finished run: its settings, its diagnosis, and its first epoch at half the entropy."""

    config: dict
    diagnosis: dict
    halved: float

    @property
    def lost(self) -> float:
        """The largest share of a layer's units that start saturated or dead."""
        start = self.diagnosis["start"]
        return max(start.get("saturated_units") or start.get("dead_units") or [0.0])


def sweep(*overrides: str) -> list[Run]:
    """Trains all combinations in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "train.py", "-m", f"hydra.sweep.dir={folder}", *overrides]
        quiet = ["trainer.enable_progress_bar=false", "trainer.enable_checkpointing=false"]
        done = subprocess.run([*command, *quiet], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return [read(path.parent) for path in Path(folder).glob("*/result.json")]


def read(folder: Path) -> Run:
    result = json.loads((folder / "result.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    halved = math.inf
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if float(row["train/loss"]) <= result["label_entropy"] / 2:
                halved = float(row["epoch"])
                break
    return Run(config, result["diagnosis"], halved)


def offset_runs() -> list[Run]:
    """One column of a standard deviation of 1 whose mean moves away, and the label x > mean."""
    means = ",".join(map(str, OFFSETS))
    rows = ("data.rows=300", "data.autocorrelation=0", "data.std=1")
    where = (f"data.mean={means}", "data.threshold=${data.mean}")
    return sweep("data=heart_rate", "normalization=none", *rows, *where, *COMMON)


def scale_runs() -> list[Run]:
    """Two columns around 0 whose scales move apart; both together decide the label."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for ratio in RATIOS:
            random = np.random.default_rng(0)
            x = random.standard_normal((300, 2))
            label = (x.sum(1) > 0).astype(int)
            x *= [math.sqrt(ratio), 1 / math.sqrt(ratio)]
            lines = [f"{a!r},{b!r},{y}" for (a, b), y in zip(x.tolist(), label, strict=True)]
            paths.append(f"{folder}/ratio{ratio}.csv")
            Path(paths[-1]).write_text("\n".join(["a,b,label", *lines]))
        source = ("data=csv", f"data.path={','.join(paths)}", "data.target=label")
        return sweep(*source, "normalization=none", *COMMON)


def table(title: str, runs: list[Run], keys: tuple, key: Callable[[Run], object]) -> None:
    """For each key and activation: stuck, slow, and the share of units lost at the start."""
    print(f"\n{title}\n")
    heads = [f"{name}: stuck, slow, {lost}" for name, lost in ACTIVATIONS.items()]
    print(f"| {' | '.join(['value', *heads, 'warned'])} |")
    print(f"| {' | '.join(['---'] * (len(heads) + 2))} |")
    usual = {}
    for value in keys:
        chosen = [run for run in runs if key(run) == value]
        cells = []
        for name in ACTIVATIONS:
            some = [run for run in chosen if run.config["model"]["activation"] == name]
            usual.setdefault(name, statistics.median(run.halved for run in some))
            lost = statistics.mean(run.lost for run in some)
            cells.append(", ".join(map(percent, [*outcome(some, usual[name]), lost])))
        warned = sum(run.diagnosis["warning"] is not None for run in chosen) / len(chosen)
        print(f"| {value} | {' | '.join(cells)} | {percent(warned)} |", flush=True)


def outcome(runs: list[Run], usual: float) -> tuple[float, float]:
    """Shares of the runs that are stuck, and that are slow or stuck."""
    stuck = sum(run.diagnosis["verdict"] == "stuck" for run in runs)
    slow = sum(run.halved > SLOW * usual for run in runs)
    return stuck / len(runs), slow / len(runs)


def percent(share: float) -> str:
    return f"{share:.0%}"


def scale_ratio(run: Run) -> int:
    """The ratio that the run's file is named by."""
    return int(Path(run.config["data"]["path"]).stem.removeprefix("ratio"))


def units(runs: list[Run]) -> None:
    """The runs of the first table, by the share of units that start lost."""
    print("\nUnits lost at the start: the runs of the table above\n")
    print("| activation | share lost | runs | stuck | slow |\n| --- | --- | --- | --- | --- |")
    for name in ACTIVATIONS:
        some = [run for run in runs if run.config["model"]["activation"] == name]
        usual = statistics.median(run.halved for run in some if mean_of(run) == 0)
        for low, high in ((-1, 0), (0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)):
            chosen = [run for run in some if low < run.lost <= high]
            if chosen:
                shares = " | ".join(map(percent, outcome(chosen, usual)))
                print(f"| {name} | {band(low, high)} | {len(chosen)} | {shares} |", flush=True)


def band(low: float, high: float) -> str:
    return "none" if high == 0 else f"{percent(low)} to {percent(high)}"


def alarms() -> None:
    """Warnings of runs whose rows are normalized, or need no normalization."""
    print("\nWarnings by data and normalization: runs that warn, of all\n")
    strategies = "standardize,robust,minmax,log1p,quantile,batchnorm,center,none"
    names = strategies.split(",")
    print(f"| data | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")
    for data in ("circles", "heart_rate", "breast_cancer"):
        runs = sweep(
            f"data={data}",
            f"normalization={strategies}",
            "data.batch_size=null",
            "model.activation=sigmoid,tanh,relu,gelu",
            "model.hidden=[4],[16],[32,16]",
            "model.init=torch,he,xavier",
            "seed=range(0,5)",
            "trainer.max_epochs=1",
        )
        cells = []
        for name in names:
            some = [run for run in runs if run.config["normalization"]["name"] == name]
            warned = [run for run in some if run.diagnosis["warning"] is not None]
            cells.append(f"{len(warned)} of {len(some)}")
        print(f"| {data} | {' | '.join(cells)} |", flush=True)


COMMANDS = {
    "one run, batch 64, 100 epochs": ["seed=0"],
    "one run, full batch, 1,000 epochs": ["experiment=heart_rate"],
    "200 runs, batch 64, 20 epochs": ["-m", "seed=range(0,200)", "trainer.max_epochs=20"],
    "200 runs, full batch, 300 epochs": [
        *("-m", "seed=range(0,200)", "data.batch_size=null", "trainer.max_epochs=300"),
    ],
}


def cost(repeat: int) -> None:
    """Processor time of the diagnosis's own functions over that of the training without them.

    The difference of two whole commands would be hidden by the noise of either. What the folder
    writes more is taken as such a difference, of the writing alone.
    """
    print("\nProcessor time of the diagnosis / of the training without it\n")
    print("| what | median | smallest to largest |\n| --- | --- | --- |")
    for what, overrides in COMMANDS.items():
        shares = []
        for _ in range(repeat):
            on, off = (
                timed([*overrides, f"diagnosis.enabled={value}"]) for value in ("true", "false")
            )
            more = max(0.0, on["writing"] - off["writing"])
            shares.append((on["diagnosis"] + more) / off["training"])
        low, middle, high = min(shares), statistics.median(shares), max(shares)
        print(f"| {what} | {middle:.1%} | {low:.1%} to {high:.1%} |", flush=True)


def timed(overrides: list[str]) -> dict[str, float]:
    """Runs `--inside` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = "hydra.sweep.dir" if "-m" in overrides else "hydra.run.dir"
        quiet = ["trainer.enable_progress_bar=false", f"{place}={folder}/run"]
        command = [sys.executable, __file__, "--inside", *overrides, *quiet]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])


def clocked_places() -> dict[str, list[tuple[Any, str]]]:
    """Where the functions stand whose time is taken, by what they do."""
    from normlab.diagnosis.curves import Curves
    from normlab.diagnosis.watch import Watch
    from normlab.training import run
    from normlab.training.folder import RunFolder

    return {
        "training": [(run.Together, "train")],
        "diagnosis": [
            *((run.Together, "examine"), (run, "conclude"), (Curves, "extend")),
            *((Watch, "__init__"), (Watch, "look")),
        ],
        "writing": [(RunFolder, "write")],
    }


def inside(arguments: list[str]) -> None:
    """Runs train.py with clocks on its functions; the last line printed is what they show."""
    places = clocked_places()
    spent = dict.fromkeys(places, 0.0)
    for name, functions in places.items():
        for place, function in functions:
            setattr(place, function, clocked(getattr(place, function), spent, name))
    sys.argv = ["train.py", *arguments]
    with contextlib.suppress(SystemExit):
        runpy.run_path("train.py", run_name="__main__")
    print(json.dumps(spent))


def clocked(function: Callable, spent: dict[str, float], name: str) -> Callable:
    """The function, its processor time added up: without that of clocked ones that it calls."""

    def call(*args: object, **kwargs: object) -> object:
        before, started = dict(spent), time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            own = time.process_time() - started
            if name != "training":
                own -= sum(spent[other] - before[other] for other in spent)
            spent[name] += own

    return call


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["offsets", "scales", "alarms", "cost"])
    parser.add_argument("--repeat", type=int, default=3, help="times that the cost is measured")
    options = parser.parse_args()
    only = options.only
    wanted = {only} if only else {"offsets", "scales", "alarms", "cost"}
    if "offsets" in wanted:
        runs = offset_runs()
        table("Mean of the column, in standard deviations from 0", runs, OFFSETS, mean_of)
        units(runs)
    if "scales" in wanted:
        table("Ratio of the two scales", scale_runs(), RATIOS, scale_ratio)
    if "alarms" in wanted:
        alarms()
    if "cost" in wanted:
        cost(options.repeat)


def mean_of(run: Run) -> float:
    return run.config["data"]["mean"]


if __name__ == "__main__":
    main()
