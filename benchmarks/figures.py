"""What the figures cost: the share of a run's time that goes into them, start-up included.

    python benchmarks/figures.py            # about five minutes on two cores
    python benchmarks/figures.py --repeat 15

Measured inside each run, in the process's own seconds of computing, so that other programs on the
machine hardly matter; a ratio within one run, so that the machine does not either.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = {
    "1 input": [],
    "2 inputs": ["data=circles"],
    "30 inputs": ["data=breast_cancer"],
    "1 input, 3,000 epochs": ["trainer.max_epochs=3000"],
}
# Runs train.py with a clock around all that draws and around the whole process.
TIMED = """
import json, runpy, sys, time

def timed(function):
    def wrapper(*arguments, **named):
        before = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent.append(time.process_time() - before)
    return wrapper

spent = []
sys.argv = sys.argv[1:]
from normlab.insight.pictures import callback, dashboard
from normlab.app import run
callback.draw_epoch = timed(callback.draw_epoch)
run.introduce, run.conclude = timed(run.introduce), timed(run.conclude)
sys.path.insert(0, "")
try:
    runpy.run_path("train.py", run_name="__main__")
finally:
    drawn = len(spent) - 1  # introduce draws nothing, conclude the last epoch
    figures = {"spent": sum(spent), "whole": time.process_time(), "drawn": drawn}
    print("\\n" + json.dumps(figures))
"""


def run(settings: list[str]) -> dict[str, float]:
    """Seconds of computing in figures and in all, and how many epochs were drawn."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", TIMED, "train.py", f"hydra.run.dir={folder}/run"]
        command += ["trainer.enable_progress_bar=false", *settings]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="What figures cost of a run's time.")
    parser.add_argument("--repeat", type=int, default=7, help="times each is measured")
    repeat = parser.parse_args().repeat
    print(f"{'':24}{'figures / whole run':>22}{'share':>8}{'(range)':>16}{'epochs drawn':>14}")
    for name, settings in RUNS.items():
        found = [run(settings) for _ in range(repeat)]
        shares = [each["spent"] / each["whole"] for each in found]
        spent, whole, drawn = (
            statistics.median(each[key] for each in found) for key in ("spent", "whole", "drawn")
        )
        spread = f"({min(shares):.1%}-{max(shares):.1%})"
        print(
            f"{name:24}{f'{spent:.2f} / {whole:.2f} s':>22}{statistics.median(shares):>8.1%}"
            f"{spread:>16}{drawn:>14.0f}"
        )


if __name__ == "__main__":
    main()
