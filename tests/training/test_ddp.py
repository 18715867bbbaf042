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

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from normlab.model.classifier import Classifier
from torch import Tensor, nn

from normlab.config.processes import is_echo, is_first
from normlab.data.serve.batches import Batches, EpochOrder, Share, SharedBatches
from normlab.data.serve.module import TableDataModule
from normlab.data.table import Table
from normlab.model.network import Network
from normlab.model.scalers import make_scaler
from normlab.seeding import Stream, epoch_seed
from normlab.training import single
from normlab.training.result import Result

Blobs = Callable[..., Table]
MakeTrainer = Callable[..., Trainer]
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
    alone = Batches(rows, rows[:, 0], batch_size, EpochOrder(50, seed=1))
    shared = [
        SharedBatches(rows, rows[:, 0], batch_size, EpochOrder(50, seed=1), Share(rank, n_ranks))
        for rank in range(n_ranks)
    ]
    for epoch in (0, 3):
        for batches in (alone, *shared):
            assert batches.sampler is not None
            batches.sampler.set_epoch(epoch)
        for whole, *parts in zip(alone, *shared, strict=True):
            assert torch.equal(torch.cat([part[0] for part in parts]), whole[0])
            assert torch.equal(torch.cat([part[1] for part in parts]), whole[1])
            sizes = [len(part[1]) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            assert all(part[2] == n_ranks / len(whole[1]) for part in parts)


def test_each_process_draws_its_own_dropout() -> None:
    seeds = {epoch_seed(5, 2, Stream.DROPOUT, rank) for rank in range(8)}
    assert len(seeds) == 8
    assert epoch_seed(5, 2, Stream.DROPOUT) == epoch_seed(5, 2, Stream.DROPOUT, 0)


# The figures of all of them


class Witness(Callback):
    """Writes down what its process served, and what it came to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.served: list[Tensor] = []
        self.seeds: list[int] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.served.append(batch[0])
        self.seeds.append(torch.initial_seed())

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        seen = {
            "served": torch.cat(self.served),
            "seeds": self.seeds,
            "metrics": {k: v.item() for k, v in trainer.callback_metrics.items() if "/" in k},
            "best": pl_module.best.state_dict(),
            "normalizer": pl_module.network.normalizer.state_dict(),
        }
        torch.save(seen, self.folder / f"{trainer.global_rank}.pt")


def fit(
    make_trainer: MakeTrainer,
    table: Table,
    folder: Path,
    *,
    hidden: tuple[int, ...] = (5,),
    batch_size: int | None = 30,
    val_fraction: float = 0.0,
    patience: int | None = None,
    learning: dict[str, Any] | None = None,
    **trainer: Any,
) -> tuple[Classifier, Result, list[dict[str, Any]]]:
    """A training as `app.run` does it, and what each of its processes saw."""
    folder.mkdir()
    data = TableDataModule(
        table, "random" if val_fraction else "none", val_fraction, 0.0, batch_size
    )
    torch.manual_seed(3)
    network = Network(make_scaler("standardize", table.rows.shape[1]), hidden)
    data.fit(network)
    model = Classifier(network, table.schema, **{"lr": 0.05, **(learning or {})})
    callbacks: list[Callback] = [Witness(folder)]
    if patience:
        callbacks.append(
            EarlyStopping("val/loss", patience=patience, check_on_train_epoch_end=True)
        )
    made = make_trainer(callbacks=callbacks, **{"max_epochs": 3, **trainer})
    result = single.train(data, model, made)
    return model, result, [torch.load(file) for file in sorted(folder.glob("*.pt"))]


STEP = {"scheduler": {"name": "step", "step_size": 1, "gamma": 0.3}, "pos_weight": 2.5}
CASES: dict[str, dict[str, Any]] = {
    "full equal batches": {},
    "32 bit": {"precision": "32-true"},
    "one batch of all rows": {"batch_size": None},
    "uneven halves and a short last batch": {"batch_size": 41},
    "batches of one row": {"batch_size": 1, "max_epochs": 1},
    "fewer rows than processes": {"batch_size": 74, "devices": 3},
    "a validation part, StepLR, weights": {"val_fraction": 0.3, "learning": STEP},
    "early stopping": {
        "val_fraction": 0.3, "patience": 1, "max_epochs": 50, "learning": {"lr": 0.5}
    },
    "accumulated and clipped": {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_processes_train_as_one_does(
    name: str, blobs: Blobs, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    case = {"precision": "64-true", **CASES[name]}
    ranks = {"devices": case.pop("devices", 2), "strategy": "ddp_fork"}
    tolerance = 1e-5 if case["precision"] == "32-true" else 1e-10
    table = blobs(150)
    one, alone, (before,) = fit(make_trainer, table, tmp_path / "one", **case)
    two, shared, seen = fit(make_trainer, table, tmp_path / "two", **case, **ranks)

    for part in ("train", "val", "test"):
        assert getattr(shared, part) == pytest.approx(getattr(alone, part), abs=tolerance)
    assert shared.epochs == alone.epochs
    assert (two.best.epoch, two.best.loss) == pytest.approx(
        (one.best.epoch, one.best.loss), abs=tolerance, nan_ok=True
    )
    for key, weight in one.best.weights.items():
        torch.testing.assert_close(two.best.weights[key], weight, rtol=0, atol=tolerance)
    if name == "early stopping":
        assert one.best.epoch < alone.epochs < 50

    assert len(seen) == ranks["devices"]
    for rank in seen:
        assert rank["metrics"] == pytest.approx(before["metrics"], abs=tolerance)
        assert rank["metrics"] == seen[0]["metrics"]  # to the bit, so that all decide alike
        assert str(rank["best"]) == str(seen[0]["best"])
        assert str(rank["normalizer"]) == str(before["normalizer"])  # of the whole table
    assert len({rank["seeds"][0] for rank in seen}) == len(seen)
    served = torch.cat([rank["served"] for rank in seen])
    rows, times = served.unique(dim=0, return_counts=True)
    assert len(rows) == len(before["served"]) // alone.epochs
    assert set(times.tolist()) == {alone.epochs}  # each row once an epoch


def test_a_process_without_any_row_takes_part(train: Train, tmp_path: Path) -> None:
    """Of batches of one row the first process gets none, in a whole epoch."""
    for rows in (16, 20):
        arguments = (
            f"data.rows={rows}", "data.split=none", "data.batch_size=1", "trainer.max_epochs=2",
            "trainer.precision=64-true", QUIET,
        )  # fmt: skip
        ranks = ("trainer.devices=2", "trainer.strategy=ddp_fork")
        for name, more in (("one", ()), ("two", ranks)):
            ended = train(*arguments, *more, f"hydra.run.dir={name}{rows}")
            assert ended.status == 0, ended.err
        one, two = (tmp_path / f"{name}{rows}" for name in ("one", "two"))
        assert len(records(two)) == 2
        for ours, theirs in zip(records(two), records(one), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-10)
        assert result_of(two)["train"] == pytest.approx(result_of(one)["train"], abs=1e-10)


def test_a_fork_after_threads_have_run_does_not_wait_for_them(
    blobs: Blobs, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    """OpenMP's threads die in a fork; here they have run, and the child's steps are large."""
    torch.set_num_threads(2)
    try:
        torch.mm(torch.randn(600, 600), torch.randn(600, 600))
        torch.randn(500_000).exp()
        _, result, _ = fit(
            make_trainer, blobs(3000), tmp_path / "two", hidden=(300,), batch_size=None,
            devices=2, strategy="ddp_fork", max_epochs=1,
        )  # fmt: skip
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


def start(root: Path, cwd: Path, *arguments: str, torchrun: bool = False) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2"] if torchrun else []
    cwd.mkdir()
    return subprocess.Popen(
        [sys.executable, *launcher, root / "train.py", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ddp_and_torchrun_leave_one_run_folder_as_one_process_does(
    train: Train, tmp_path: Path, root: Path
) -> None:
    """Real commands, at the same time; both read a file, in each process."""
    lines = [f"{i % 37 + 40 * (i % 2)},{i % 11},{i % 2}" for i in range(200)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,label", *lines]))
    arguments = (
        "data=csv", f"data.path={tmp_path / 'rows.csv'}", "data.target=label",
        "data.batch_size=32", "trainer.max_epochs=3", "checkpoint.every_n_seconds=0",
    )  # fmt: skip
    ddp = start(root, tmp_path / "ddp", *arguments, "trainer.devices=2")
    elastic = start(
        root, tmp_path / "torchrun", *arguments, "trainer.devices=2", QUIET, torchrun=True
    )
    (tmp_path / "one").mkdir()
    alone = train(*arguments, QUIET, cwd=tmp_path / "one")
    assert alone.status == 0, alone.err
    for process in (ddp, elastic):
        out, err = process.communicate(timeout=140)
        assert process.returncode == 0, err
        assert sum(line.endswith("on cpu, 2 processes") for line in out.splitlines()) == 1
        assert out.count("loss  accuracy") == out.count("tensorboard --logdir") == 1  # said once
        if process is ddp:
            assert err.count("100%") == 1  # one bar
    for name in ("ddp", "torchrun"):
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
        assert last["global_step"] == before["global_step"]


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
        assert files(folder) == sorted([*files(stacked), "train.log"])
        for ours, theirs in zip(records(folder), records(stacked), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)
        assert result_of(folder)["epochs"] == 2
    assert (tmp_path / "forked/report.html").exists()


REFUSED: list[tuple[list[str], dict[str, str], str]] = [
    (["normalization=batchnorm", "trainer.devices=2"], {}, "BatchNorm over 2 processes needs GPUs"),
    (["model.batchnorm=true", "trainer.devices=2", "trainer.strategy=ddp_fork"], {},
     "BatchNorm over 2 processes needs GPUs"),
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


def test_batchnorm_that_is_synchronized_is_still_batchnorm() -> None:
    """As Lightning has it during a training on several GPUs."""
    network = Network(make_scaler("none", 2), batchnorm=True)
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert isinstance(synchronized, Network)
    assert isinstance(synchronized.batchnorm, nn.SyncBatchNorm)
    assert synchronized.settings() == network.settings()
    assert network.settings()["batchnorm"] is True


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
