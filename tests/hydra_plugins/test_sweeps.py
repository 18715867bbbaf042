"""Real sweeps, from the command line to the files: fused as one by one, continued when killed."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

Train = Callable[..., Any]

# Small runs in float64; `sweep` is relative, so that equal commands leave equal files.
BASE = (
    "-m",
    "hydra.sweep.dir=sweep",
    "trainer.accelerator=cpu",
    "trainer.precision=64-true",
    "trainer.max_epochs=3",
    "trainer.enable_progress_bar=false",
    "data.rows=200",
    "data.batch_size=50",
    "model.hidden=[4]",
)
NO_REPORT = "~hydra.callbacks.sweep_report"
SMALL = (*BASE, NO_REPORT)
BASIC = "hydra/launcher=basic"
LAST = "checkpoints/last.ckpt"  # of those that train together in the first one's folder
MADE = {
    ".hydra/config.yaml", ".hydra/overrides.yaml",
    "checkpoints/best.ckpt",
    "config.yaml", "events", "metrics.csv", "provenance.json", "result.json",
}  # fmt: skip


def files_of(folder: Path) -> dict[str, Path]:
    """All files below, by their names without what is a time or a process."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {re.sub(r"events\.out.*", "events", str(p.relative_to(folder))): p for p in paths}


def numbers(text: str) -> dict[str, Any]:
    return {k: v for k, v in json.loads(text).items() if k not in ("seconds", "rows_per_second")}


def scalars(path: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(path)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def content(name: str, path: Path) -> Any:
    if name.endswith(".ckpt"):
        checkpoint = torch.load(path, weights_only=True)
        checkpoint.pop("run", None)  # times, and lengths of files
        return checkpoint
    if name.endswith("events"):
        return scalars(path)
    text = path.read_text("utf-8")
    if name.endswith("metrics.csv"):
        rows = list(csv.DictReader(text.splitlines()))
        return [{key: float(value) for key, value in row.items() if value} for row in rows]
    if name.endswith("result.json"):
        return numbers(text)
    return yaml.safe_load(text)


def assert_alike(one: Any, other: Any, where: str) -> None:
    if isinstance(one, Tensor):
        torch.testing.assert_close(
            one, other, atol=1e-9, rtol=1e-9, equal_nan=True, msg=lambda m: f"{where}: {m}"
        )
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_alike(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_alike(a, b, f"{where}/{i}")
    elif isinstance(one, float):
        # TensorBoard's scalars are float32.
        assert other == pytest.approx(one, abs=1e-9, rel=1e-6, nan_ok=True), where
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path) -> None:
    """The same files with the same content, but for what Hydra's own launcher writes besides.

    And for last.ckpt, of which runs that train together have one.
    """
    left, right = files_of(one), files_of(other)
    hydras = {"train.log", ".hydra/hydra.yaml", LAST}
    assert left.keys() - hydras == right.keys() - hydras
    for name in left.keys() - hydras:
        assert_alike(content(name, left[name]), content(name, right[name]), f"{one.name}/{name}")


def state_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file with its content and when it was written."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def logged(ended: Any) -> list[str]:
    """What the sweep says of its runs, without times."""
    lines = [line.partition("] ")[2] or line for line in ended.out.splitlines()]
    lines = [line.removeprefix("- ") for line in lines]
    return [line for line in lines if re.match(r"\d+ runs as one|job \d+ alone|\d+ of \d+", line)]


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders to start in."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    return one, other


def test_both_launchers_leave_the_same_files(train: Train, places: tuple[Path, Path]) -> None:
    """Stacked runs, one that trains alone, and Hydra's own launcher."""
    command = (*SMALL, "normalization=none,standardize,log1p", "seed=0,1")
    fused, basic = (
        train(*command, *more, cwd=place) for place, more in zip(places, ([], [BASIC]), strict=True)
    )
    assert (fused.status, basic.status) == (0, 0), fused.err + basic.err
    assert logged(fused) == [
        "4 runs as one: job 0 to job 3",
        "2 runs as one: job 4 to job 5",
    ]
    one, other = (place / "sweep" for place in places)
    assert {path.name for path in one.iterdir()} == {*map(str, range(6)), "multirun.yaml"}
    for num in range(6):
        assert set(files_of(one / str(num))) == MADE | ({LAST} if num in (0, 4) else set())
        assert_same_run(one / str(num), other / str(num))
    losses = [numbers((one / f"{n}/result.json").read_text())["val"]["loss"] for n in range(6)]
    assert len(set(losses)) == 6


def test_runs_that_share_no_stack_train_alone_and_say_why(
    train: Train, places: tuple[Path, Path]
) -> None:
    one, other = places
    command = (*SMALL, "normalization=none,center,quantile", "seed=3")
    fused, basic = train(*command, cwd=one), train(*command, BASIC, cwd=other)
    assert (fused.status, basic.status) == (0, 0)
    assert logged(fused) == [
        "2 runs as one: job 0 to job 1",
        "job 2 alone: no other run shares its stack",
    ]
    for num in range(3):
        assert_same_run(one / f"sweep/{num}", other / f"sweep/{num}")
    clipped = train(*SMALL, "seed=0,1", "+trainer.gradient_clip_val=1.0", "hydra.sweep.dir=clipped")
    assert clipped.status == 0
    assert logged(clipped) == [
        "job 0 alone: trainer.gradient_clip_val is set",
        "job 1 alone: trainer.gradient_clip_val is set",
    ]
    assert len(list(clipped.cwd.glob("clipped/*/result.json"))) == 2


def test_the_number_of_runs_in_a_stack_may_be_limited(
    train: Train, places: tuple[Path, Path]
) -> None:
    """The parts change nothing of what a run comes to."""
    one, other = places
    command = (*SMALL, "seed=0,1,2,3,4", "trainer.enable_checkpointing=false")
    parts = train(*command, "hydra.launcher.max_runs=3", cwd=one)
    whole = train(*command, cwd=other)
    assert (parts.status, whole.status) == (0, 0)
    assert logged(parts) == ["2 runs as one: job 0 to job 1", "3 runs as one: job 2 to job 4"]
    assert logged(whole) == ["5 runs as one: job 0 to job 4"]
    for num in range(5):
        names = ("metrics.csv", "result.json", "config.yaml")
        for name in names:
            first, second = (place / f"sweep/{num}/{name}" for place in places)
            assert_alike(content(name, first), content(name, second), name)
        found = set(files_of(one / f"sweep/{num}"))
        assert found == {name for name in MADE if not name.startswith("checkpoints")}
        assert numbers((one / f"sweep/{num}/result.json").read_text())["checkpoint"] is None

    refused = train(*command, "hydra.launcher.max_runs=0", "hydra.sweep.dir=none", cwd=one)
    assert refused.status == 1
    assert "normlab: hydra.launcher.max_runs=0: must be at least 1" in refused.err


# A sweep that was killed


def damage(run: Path) -> None:
    """What a kill -9 in mid-run leaves behind."""
    (run / "result.json").unlink()
    text = (run / "metrics.csv").read_bytes()
    (run / "metrics.csv").write_bytes(text[: len(text) // 2])
    (run / "checkpoints/last.ckpt").write_bytes(b"PK half an archive")
    (run / "checkpoints/best.ckpt.partial").write_bytes(b"PK")
    (run / "config.yaml.partial").write_text("seed: ")
    (run / "events.out.tfevents.1.other.1.0").write_bytes(b"half an event")


@pytest.mark.parametrize("launcher", ["fused", "basic"])
def test_the_same_command_continues_a_sweep(
    train: Train, tmp_path: Path, places: tuple[Path, Path], launcher: str
) -> None:
    """Finished runs stay untouched; the others are trained as if nothing had been there."""
    command = (*SMALL, "seed=0,1,2,3", f"hydra/launcher={launcher}")
    broken, whole = places
    for place in places:
        assert train(*command, cwd=place).status == 0
    runs = [broken / f"sweep/{num}" for num in range(4)]
    for num in (1, 3):
        damage(runs[num])
    for path in (runs[3] / "config.yaml", runs[3] / ".hydra/config.yaml"):
        path.unlink()
    before = {num: state_of(runs[num]) for num in (0, 2)}

    again = train(*command, cwd=broken)
    assert again.status == 0, again.err
    if launcher == "fused":
        assert logged(again) == [
            "2 of 4 runs had finished and are kept",
            "2 runs as one: job 1 to job 3",
        ]
        assert {num: state_of(runs[num]) for num in (0, 2)} == before
    else:  # Hydra writes .hydra/ and train.log before it asks
        kept = {p: s for num in before for p, s in before[num].items() if ".hydra" not in str(p)}
        kept = {path: state for path, state in kept.items() if path.name != "train.log"}
        assert kept
        assert {path: state_of(path.parent)[path] for path in kept} == kept
    for num in range(4):
        assert_same_run(whole / f"sweep/{num}", runs[num])
    assert not list(tmp_path.rglob("*.partial"))


def test_a_finished_run_of_other_settings_is_refused(train: Train, tmp_path: Path) -> None:
    """No run is trained, though others of the sweep are new; nothing is written."""
    assert train(*SMALL, "seed=0,1", "hydra.launcher.max_runs=2").status == 0
    for num in range(2):
        (tmp_path / f"sweep/{num}/result.json").touch()
    before = state_of(tmp_path)
    changes = ["normalization=none", "seed=4,5"]
    named = ["normalization.name", "seed"]
    for change, key in zip(changes, named, strict=True):
        seeds = () if change.startswith("seed") else ("seed=0,1,2",)
        ended = train(*SMALL, change, *seeds, "hydra.launcher.max_runs=2")
        assert ended.status == 1
        (line,) = (line for line in ended.err.splitlines() if line.startswith("normlab: "))
        assert f"holds a finished run of other settings ({key})" in line
        assert "hydra.sweep.dir" in line
        assert not (tmp_path / "sweep/2").exists()
        after = state_of(tmp_path)
        sweeps_own = tmp_path / "sweep/multirun.yaml"  # Hydra's sweeper writes it first
        assert after.keys() == before.keys()
        assert all(after[path] == before[path] for path in before if path != sweeps_own)
    several = train(*SMALL, "model.lr=0.5", "model.hidden=[3]", "seed=0,1")
    assert "(model.hidden, model.lr)" in several.err
    # What changes no figure is no other run.
    same = train(*SMALL, "seed=0,1", "report.target_loss=0.1")
    assert same.status == 0
    assert logged(same) == ["2 of 2 runs had finished and are kept"]


@pytest.mark.slow
def test_a_killed_sweep_is_continued(train: Train, tmp_path: Path, root: Path) -> None:
    """SIGKILL while the second group of runs is training."""
    once = (one for one in SMALL if not one.startswith(("trainer.max_epochs", "data.batch_size")))
    command = (*once, "seed=0,1", "trainer.max_epochs=2,150", "data.batch_size=20")
    process = subprocess.Popen(
        [sys.executable, root / "train.py", *command],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    results = [tmp_path / f"sweep/{num}/result.json" for num in range(4)]
    unfinished = tmp_path / "sweep/1/config.yaml"
    deadline = time.monotonic() + 100
    while not (results[0].exists() and results[2].exists() and unfinished.exists()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert [path.exists() for path in results] == [True, False, True, False]
    before = state_of(results[0].parent)

    again = train(*command)
    assert again.status == 0, again.err
    assert logged(again) == [
        "2 of 4 runs had finished and are kept",
        "2 runs as one: job 1 to job 3",
    ]
    assert state_of(results[0].parent) == before
    for num, path in enumerate(results):
        assert set(files_of(path.parent)) - {LAST} == MADE
        epochs = (2, 150)[num % 2]
        assert numbers(path.read_text())["epochs"] == epochs
        assert len(content("metrics.csv", path.parent / "metrics.csv")) == epochs


# What is refused


@pytest.mark.parametrize(
    ("overrides", "job", "message"),
    [
        (["model.lr=0.01,0.1,-1"], 2, "model.lr=-1: should be greater than 0"),
        (["+model.lrr=0.01"], 0, "model.lrr is not a setting; did you mean model.lr?"),
        (["normalization=none,centre"], 1, "normalization=centre: choose one of"),
        (["+trainer.callbacks=1,2"], 0, "trainer.callbacks cannot be set here"),
        (["data.batch_size=1,2", "model.batchnorm=true"], 0, "data.batch_size=1 cannot train"),
    ],
)
def test_bad_settings_of_one_job_stop_the_sweep_before_it_starts(
    train: Train, tmp_path: Path, overrides: list[str], job: int, message: str
) -> None:
    ended = train(*SMALL, "seed=0", *overrides)
    assert ended.status == 1
    (line,) = (line for line in ended.err.splitlines() if line.startswith("normlab: "))
    assert line.startswith(f"normlab: job {job} (")
    assert message in line
    assert "Traceback" not in ended.err
    assert listing(tmp_path) == set()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.threshold=91,500"], "job 1: heart_rate: all 200 rows lie at or below"),
        (["data.val_fraction=0.15,0.001", "seed=1"], "job 1: The validation part would be empty"),
        (["trainer.accelerator=cpu,tpu", "seed=0,1"], "trainer: "),
        (["trainer.accelerator=cpu,tpu", "seed=0,1", "hydra.launcher.max_runs=2"], "trainer: "),
        (["trainer.accelerator=cpu,tpu", "+trainer.gradient_clip_val=1.0"], "trainer: "),
        (["trainer.devices=1,abc"], "trainer: "),
    ],
)  # fmt: skip
def test_bad_data_of_one_job_stops_the_sweep_before_any_trains(
    train: Train, tmp_path: Path, overrides: list[str], message: str
) -> None:
    """Data are read, and the Trainer made, for all jobs first."""
    ended = train(*SMALL, *overrides)
    assert ended.status == 1
    (line,) = (line for line in ended.err.splitlines() if line.startswith("normlab: "))
    assert line.startswith(f"normlab: {message}")
    assert "Traceback" not in ended.err
    left = listing(tmp_path) - {"sweep", "sweep/multirun.yaml"}  # Hydra's sweeper's own
    assert left == set()


@pytest.mark.parametrize("launcher", ["fused", "basic"])
@pytest.mark.parametrize(
    ("subdir", "overrides", "folder", "jobs"),
    [
        ("${normalization.name}", ["seed=0,1", "normalization=none,center"], "sweep/none",
         {0: "seed=0 normalization=none", 2: "seed=1 normalization=none"}),
        (".", ["seed=3,4"], "sweep", {0: "seed=3", 1: "seed=4"}),
        ("a/../${data.name}", ["data=circles,circles"], "sweep/a/../circles",
         {0: "data=circles", 1: "data=circles"}),
    ],
)  # fmt: skip
def test_jobs_of_one_folder_are_refused(
    train: Train,
    tmp_path: Path,
    launcher: str,
    subdir: str,
    overrides: list[str],
    folder: str,
    jobs: dict[int, str],
) -> None:
    """They would write over one another's files."""
    base = [one for one in SMALL if not one.startswith(("data", "hydra.sweep.dir"))]
    ended = train(
        *base, *overrides, f"hydra/launcher={launcher}", f"hydra.sweep.subdir='{subdir}'",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert ended.status == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("normlab: ")
    for num, given in jobs.items():
        assert re.search(rf"job {num} \([^)]* {given}\)", line)
    assert f" {folder} " in line
    assert "hydra.sweep.subdir" in line
    assert listing(tmp_path) == set()


def test_a_strategy_that_starts_the_sweep_anew_is_refused(train: Train, tmp_path: Path) -> None:
    ended = train(*SMALL, "seed=0,1", "trainer.strategy=ddp")
    assert ended.status == 1
    assert "trainer.strategy=ddp starts the whole sweep anew" in ended.err.splitlines()[-1]
    assert "trainer.strategy=ddp_fork" in ended.err
    assert listing(tmp_path) == set()


# The end of a sweep


def test_a_sweep_ends_in_a_report(train: Train, tmp_path: Path) -> None:
    """In the terminal, as a page, and as pictures for TensorBoard."""
    ended = train(*BASE, "normalization=none,standardize", "seed=0,1,2")
    assert ended.status == 0, ended.err
    assert "normalization=standardize" in ended.out
    assert "The runs cannot tell yet" in ended.out
    page = tmp_path / "sweep/report.html"
    assert f"Report: {page}" in ended.out or "Report: sweep/report.html" in ended.out
    assert "standardize" in page.read_text("utf-8")
    (events,) = (tmp_path / "sweep").glob("events.out.tfevents.*")
    accumulated = EventAccumulator(str(events)).Reload()
    tags = accumulated.Tags()["images"]
    assert tags
    assert all(tag.startswith("whole_sweep/") for tag in tags)
    for tag in tags:
        (image,) = accumulated.Images(tag)
        assert image.encoded_image_string.startswith(b"\x89PNG")
        assert min(image.width, image.height) > 100


def test_the_report_of_a_sweep_of_one_run(train: Train) -> None:
    """The smallest sweep there is ends as well as any other."""
    ended = train(*BASE, "seed=0")
    assert ended.status == 0, ended.err
    assert logged(ended) == ["job 0 alone: no other run shares its stack"]


@pytest.mark.filterwarnings("ignore")  # of the plugin's and of Optuna's own
def test_a_search_by_optuna(train: Train, tmp_path: Path) -> None:
    if importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        pytest.skip("hydra-optuna-sweeper is not installed")
    ended = train(
        *SMALL,
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=1",
        "hydra.sweeper.direction=minimize",
        "hydra.sweeper.n_trials=5",
        "hydra.sweeper.n_jobs=3",
        "model.lr=tag(log, interval(0.001, 0.3))",
        "normalization=choice(none, standardize)",
        "seed=7",
    )
    assert ended.status == 0, ended.err
    assert logged(ended) == ["3 runs as one: job 0 to job 2", "2 runs as one: job 3 to job 4"]
    found = yaml.safe_load((tmp_path / "sweep/optimization_results.yaml").read_text())
    losses, settings = [], []
    for num in range(5):
        run = tmp_path / f"sweep/{num}"
        assert set(files_of(run)) - {LAST} == MADE
        losses.append(numbers((run / "result.json").read_text())["val"]["loss"])
        settings.append(yaml.safe_load((run / "config.yaml").read_text()))
    best = settings[losses.index(min(losses))]
    assert found["best_value"] == pytest.approx(min(losses))
    assert found["best_params"]["model.lr"] == pytest.approx(best["model"]["lr"])
    assert found["best_params"]["normalization"] == best["normalization"]["name"]
    assert len({one["model"]["lr"] for one in settings}) == 5
    assert not any(math.isnan(loss) for loss in losses)


@pytest.mark.filterwarnings("ignore")  # of the plugin's and of Optuna's own
def test_a_search_goes_on_past_trials_that_diverge(train: Train, tmp_path: Path) -> None:
    """They are the worst, to the sampler as well, which draws at random but ten times."""
    if importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None:
        pytest.skip("hydra-optuna-sweeper is not installed")
    ended = train(
        *SMALL,
        "hydra/sweeper=search",
        "hydra.sweeper.n_trials=14",
        "hydra.sweeper.n_jobs=7",
        "model.lr=choice(0.01, 1e30, 1e35)",
        "model.optimizer=sgd",
    )
    assert ended.status == 0, ended.err
    losses = [
        numbers((tmp_path / f"sweep/{num}/result.json").read_text())["val"]["loss"]
        for num in range(14)
    ]
    found = yaml.safe_load((tmp_path / "sweep/optimization_results.yaml").read_text())
    assert None in losses[:7]  # not a number, in JSON
    assert found["best_value"] == pytest.approx(min(one for one in losses if one is not None))
    assert found["best_params"]["model.lr"] == 0.01
