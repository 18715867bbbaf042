"""Several processes train what one would: the same rows, the same figures, one run folder."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from normlab.config import Settings
from normlab.config.processes import is_echo, is_first
from normlab.data.load import split_table
from normlab.data.serve.batches import Batches, Share
from normlab.data.table import Table
from normlab.layout import LAST
from normlab.model.layers import Dropout
from normlab.training.result import Result
from normlab.training.run import Run, Together
from normlab.training.trainer import make_trainer

Blobs = Callable[..., Table]
Settled = Callable[..., Settings]
Train = Callable[..., Any]
QUIET = "trainer.enable_progress_bar=false"


@pytest.fixture(autouse=True)
def _no_process_waits_for_ever() -> Iterator[None]:
    """A process that waits for another would stop all tests."""

    def fail(*_: object) -> None:
        raise TimeoutError("two processes wait for each other")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(150)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# The rows of a process


@pytest.mark.parametrize("n_ranks", [2, 3])
@pytest.mark.parametrize("batch_size", [None, 1, 2, 8, 20])
def test_processes_share_each_batch_of_the_single_process(
    n_ranks: int, batch_size: int | None
) -> None:
    rows = torch.arange(50.0)[:, None].expand(50, 2)

    def batches(share: Share | None) -> Batches:
        index = torch.arange(50)[None]
        return Batches(rows, rows[:, 0], index, batch_size, [1], at_once=False, share=share)

    every = [batches(None), *(batches(Share(rank, n_ranks)) for rank in range(n_ranks))]
    for epoch in (0, 3):
        for one in every:
            one.sampler.set_epoch(epoch)
        for whole, *parts in zip(*(one.pieces() for one in every), strict=True):
            assert torch.equal(torch.cat([part.rows for part in parts], 1), whole.rows)
            assert torch.equal(torch.cat([part.labels for part in parts], 1), whole.labels)
            sizes = [part.labels.shape[1] for part in parts]
            assert max(sizes) - min(sizes) <= 1
            for part in parts:
                (step,) = part.steps
                assert step.factor == n_ranks / whole.labels.shape[1]


# The figures of all of them


class Witness(Callback):
    """Writes down what its process served, and what it came to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.served: list[Tensor] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        batches: Any = trainer.train_dataloader
        self.served += [piece.rows[0] for piece in batches.pieces()]

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        dropouts = [one for one in pl_module.modules() if isinstance(one, Dropout)]
        seen = {
            "served": torch.cat(self.served),
            "seeds": [made.initial_seed() for one in dropouts for made in one.generators],
            "record": pl_module.records.last(),
            "outcomes": pl_module.outcomes.state_dict(),
            "normalizer": pl_module.network.normalizer.state_dict(),
        }
        torch.save(seen, self.folder / f"{trainer.global_rank}.pt")


BASE = (
    "data.split=none", "data.batch_size=30", "model.hidden=[5]", "model.lr=0.05", "seed=3",
    "model/scheduler=none", "trainer.max_epochs=3", "trainer.precision=64-true",
    "diagnosis.every_n_epochs=2", QUIET,
)  # fmt: skip
VALIDATED = ("data.split=random", "data.val_fraction=0.3", "data.test_fraction=0")
CASES: dict[str, tuple[str, ...]] = {
    "full equal batches": (),
    "32 bit": ("trainer.precision=32-true",),
    "one batch of all rows": ("data.batch_size=null",),
    "uneven halves and a short last batch": ("data.batch_size=41",),
    "batches of one row": ("data.batch_size=1", "trainer.max_epochs=1"),
    "fewer rows than processes": ("data.batch_size=74",),
    "a validation part, StepLR, weights": (
        *VALIDATED, "model/scheduler=step", "model.scheduler.step_size=1",
        "model.scheduler.gamma=0.3", "model.pos_weight=2.5",
    ),
    "early stopping": (
        *VALIDATED, "early_stopping.patience=1", "trainer.max_epochs=50", "model.lr=0.5",
    ),
    "accumulated and clipped": (
        "+trainer.accumulate_grad_batches=2", "+trainer.gradient_clip_val=0.1",
    ),
    "batchnorm": ("normalization=batchnorm", "data.batch_size=41"),
}  # fmt: skip


def fit(settings: Settings, table: Table, folder: Path) -> tuple[Together, Result, list[Any]]:
    """A training, and what each of its processes saw."""
    folder.mkdir()
    together = Together([Run(settings, split_table(settings, table))])
    (result,) = together.train(make_trainer(settings, callbacks=[Witness(folder)]))
    return together, result, [torch.load(file) for file in sorted(folder.glob("*.pt"))]


@pytest.mark.parametrize("name", CASES)
def test_processes_train_as_one_does(
    name: str, settings: Settled, blobs: Blobs, tmp_path: Path
) -> None:
    n_ranks = 3 if name == "fewer rows than processes" else 2
    ranks = (f"trainer.devices={n_ranks}", "trainer.strategy=ddp_fork")
    tolerance = 1e-5 if name == "32 bit" else 1e-10
    table = blobs(150)
    case = (*BASE, *CASES[name])
    one, alone, (before,) = fit(settings(*case), table, tmp_path / "one")
    two, shared, seen = fit(settings(*case, *ranks), table, tmp_path / "two")

    for part in ("train", "val", "test"):
        assert getattr(shared, part) == pytest.approx(getattr(alone, part), abs=tolerance)
    assert shared.epochs == alone.epochs
    ours, theirs = two.module.outcomes, one.module.outcomes
    assert ours.best_epoch.tolist() == theirs.best_epoch.tolist()
    close = {"rtol": 0, "atol": tolerance, "equal_nan": True}
    np.testing.assert_allclose(ours.best_loss, theirs.best_loss, rtol=0, atol=tolerance)
    torch.testing.assert_close(ours.best, theirs.best, **close)
    if name == "early stopping":
        assert int(theirs.best_epoch[0]) < alone.epochs < 50

    assert len(seen) == n_ranks
    for rank in seen:
        assert rank["record"] == pytest.approx(before["record"], abs=tolerance)
        assert rank["record"] == seen[0]["record"]  # to the bit, so that all decide alike
        assert str(rank["outcomes"]) == str(seen[0]["outcomes"])
        assert str(rank["normalizer"]) == str(before["normalizer"])  # of the whole table
    served = torch.cat([rank["served"] for rank in seen])
    rows, times = served.unique(dim=0, return_counts=True)
    assert len(rows) == len(before["served"]) // alone.epochs
    assert set(times.tolist()) == {alone.epochs}  # each row once an epoch


def test_each_process_draws_its_own_dropout(
    settings: Settled, blobs: Blobs, tmp_path: Path
) -> None:
    """The first one draws as a single process would."""
    seeds = []
    for name, ranks in (
        ("one", ()), ("two", ("trainer.devices=2", "trainer.strategy=ddp_fork"))
    ):  # fmt: skip
        own = settings(*BASE, "model.dropout=0.5", *ranks)
        seeds += [one["seeds"] for one in fit(own, blobs(150), tmp_path / name)[2]]
    assert all(seeds)
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_fork_after_threads_have_run_does_not_wait_for_them(
    settings: Settled, blobs: Blobs, tmp_path: Path
) -> None:
    """OpenMP's threads die in a fork; here they have run, and the child's steps are large."""
    torch.set_num_threads(2)
    try:
        torch.mm(torch.randn(600, 600), torch.randn(600, 600))
        torch.randn(500_000).exp()
        own = settings(
            *BASE, "model.hidden=[300]", "data.batch_size=null", "trainer.max_epochs=1",
            "trainer.devices=2", "trainer.strategy=ddp_fork",
        )  # fmt: skip
        _, result, _ = fit(own, blobs(3000), tmp_path / "two")
        assert result.epochs == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert "MASTER_PORT" not in os.environ


# The commands


def records(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text("utf-8"))


def files(folder: Path) -> list[str]:
    """Names without the time and the process in that of the events."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = (str(path.relative_to(folder)) for path in paths)
    return sorted("events" if name.startswith("events") else name for name in names)


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2")
INSTALLED = ("-m", "normlab.cli", "train")


def start(cwd: Path, *command: str) -> subprocess.Popen[str]:
    cwd.mkdir()
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ddp_and_torchrun_leave_one_run_folder_as_one_process_does(
    train: Train, tmp_path: Path, root: Path
) -> None:
    """Real commands, at the same time; all read a file, in each process."""
    lines = [f"{i % 37 + 40 * (i % 2)},{i % 11},{i % 2}" for i in range(200)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,label", *lines]))
    arguments = (
        "data=csv", f"data.path={tmp_path / 'rows.csv'}", "data.target=label",
        "data.batch_size=32", "trainer.max_epochs=3", "checkpoint.every_n_seconds=0",
    )  # fmt: skip
    door, two = str(root / "train.py"), "trainer.devices=2"
    ddp = start(tmp_path / "ddp", door, *arguments, two)
    elastic = start(tmp_path / "torchrun", *TORCHRUN, door, *arguments, two, QUIET)
    installed = start(tmp_path / "installed", *INSTALLED, *arguments, two, QUIET)
    (tmp_path / "one").mkdir()
    alone = train(*arguments, QUIET, cwd=tmp_path / "one")
    assert alone.status == 0, alone.err
    for process in (ddp, elastic, installed):
        out, err = process.communicate(timeout=140)
        assert process.returncode == 0, err
        assert sum(line.endswith("on cpu, 2 processes") for line in out.splitlines()) == 1
        assert out.count("loss  accuracy") == out.count("tensorboard --logdir") == 1  # said once
        if process is ddp:
            assert err.count("100%") == 1  # one bar
    for name in ("ddp", "torchrun", "installed"):
        (folder,) = (tmp_path / name / "runs").iterdir()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["runs"]
        assert files(folder) == files(alone.folder)
        for ours, theirs in zip(records(folder), records(alone.folder), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)
        ours, theirs = result_of(folder), result_of(alone.folder)
        for part in ("train", "val", "test"):
            assert ours[part] == pytest.approx(theirs[part], abs=1e-5)
        last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
        before = torch.load(alone.folder / "checkpoints/last.ckpt", weights_only=True)
        assert last.keys() == before.keys()
        assert last["state_dict"].keys() == before["state_dict"].keys()
        steps = [one["optimizer_states"][0]["steps"] for one in (last, before)]
        assert steps == [15, 15]


def test_a_sweep_forks(train: Train, tmp_path: Path) -> None:
    """Each of its runs alone; the table is read in this process, none in a fork of it."""
    (tmp_path / "rows.csv").write_text(
        "\n".join(["a,label", *(f"{i % 37 + 40 * (i % 2)},{i % 2}" for i in range(200))])
    )
    arguments = (
        "-m", "data=csv", "data.path=rows.csv", "data.target=label", "data.batch_size=32",
        "seed=0,1", "trainer.max_epochs=2", QUIET,
    )  # fmt: skip
    forked = train(
        *arguments, "trainer.devices=2", "trainer.strategy=ddp_fork", "hydra.sweep.dir=forked"
    )
    assert forked.status == 0, forked.err
    assert forked.out.count("alone: trainer.devices=2") == 2
    assert train(*arguments, "hydra.sweep.dir=stacked").status == 0
    for name in ("0", "1"):
        folder, stacked = tmp_path / "forked" / name, tmp_path / "stacked" / name
        assert {*files(folder)} - {LAST} == {*files(stacked)} - {LAST}
        for ours, theirs in zip(records(folder), records(stacked), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)
        assert result_of(folder)["epochs"] == 2
    assert (tmp_path / "forked/report.html").exists()


REFUSED: list[tuple[list[str], dict[str, str], str]] = [
    (["-m", "seed=0,1", "trainer.devices=2"], {},
     "job 0 (seed=0 trainer.devices=2): trainer.devices=2 with trainer.strategy=auto is ddp"),
    (["-m", "seed=0,1", "+trainer.num_nodes=2"], {}, "job 0 ("),
    ([], {"RANK": "0"}, "torchrun started 2 processes, and trainer.devices=1"),
    (["-m", "seed=0,1"], {"RANK": "0"}, "torchrun starts the whole sweep in every process"),
    (["+trainer.limit_val_batches=0", "early_stopping.patience=2"], {},
     "early_stopping.patience needs a validation"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "environment", "message"), REFUSED)
def test_what_processes_cannot_do_is_refused(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    message: str,
) -> None:
    if environment:  # of torchrun
        environment = {**environment, "LOCAL_RANK": environment["RANK"], "WORLD_SIZE": "2"}
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ended = train(*arguments)
    assert ended.status == 1
    (line,) = (line for line in ended.err.splitlines() if line.startswith("normlab: "))
    assert line.startswith(f"normlab: {message}")
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


def test_what_one_process_says_the_others_need_not(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does any of them touch a file: not even one in the folder that it was started in."""
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    (tmp_path / "train.log").write_text("mine")
    ended = train("data=csv", "data.path=missing.csv", "data.target=label", "trainer.devices=2")
    assert (ended.status, ended.out, ended.err) == (1, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]


@pytest.mark.parametrize(
    ("overrides", "environment", "first", "echo"),
    [
        ([], {}, True, False),
        (["trainer.devices=2"], {}, True, False),
        (["trainer.devices=2"], {"LOCAL_RANK": "0", "NODE_RANK": "0"}, True, False),
        (["trainer.devices=2"], {"LOCAL_RANK": "1", "NODE_RANK": "0"}, False, False),
        (["+trainer.num_nodes=2"], {"NODE_RANK": "1"}, False, False),
        (["trainer.devices=auto"], {"LOCAL_RANK": "1"}, False, False),
        (["trainer.devices=2"], {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, False, False),
        ([], {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, True, False),  # four runs by srun -n 4
        ([], {"RANK": "1"}, True, False),  # a pod of Kubernetes
        ([], {"RANK": "1", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"}, False, True),
        ([], {"RANK": "2", "LOCAL_RANK": "0", "TORCHELASTIC_RUN_ID": "x"}, False, False),
    ],
)
def test_which_process_this_is(
    settings: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    overrides: list[str],
    environment: dict[str, str],
    first: bool,
    echo: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first(settings(*overrides).trainer) is first
    assert is_echo() is echo


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_fork"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_processes(
    tmp_path: Path, root: Path, strategy: str, number: signal.Signals
) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable, root / "train.py", f"hydra.run.dir={folder}", "trainer.devices=2",
            f"trainer.strategy={strategy}", "trainer.max_epochs=100000", QUIET,
        ],
        cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        while not (folder / "metrics.csv").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)  # ends when the last process has
        assert process.returncode == 128 + number, err
        assert err == "" or err.startswith("normlab: ended by "), err
        assert not (folder / "result.json").exists()
        assert len(records(folder)) >= 1
    finally:
        process.kill()
        process.wait()
