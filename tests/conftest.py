"""What many tests share: composed settings, small tables, and the program's door in-process."""

from __future__ import annotations

import logging
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from lightning import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from fork_server import ForkServer
from normlab.app.hydra_app import parse_settings
from normlab.cli import main
from normlab.config import Settings
from normlab.data.schema import Schema
from normlab.data.table import Table
from normlab.training.environment import quiet_lightning

ROOT = Path(__file__).resolve().parents[1]
REAL_TABLES = ROOT.parent / "shared" / "data"

torch.set_num_threads(1)  # nets of a few units: a second thread only waits

QUIET = ("trainer.enable_progress_bar=false",)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, where train.py and conf/ are."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`pytest -m shared` runs the tests that need the real tables."""
    for item in items:
        if "real_table" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")


@pytest.fixture(scope="session")
def real_table() -> Callable[[str], Path]:
    """The path of one of the real tables; skips where they are not."""

    def path(name: str) -> Path:
        table = REAL_TABLES / name
        if not table.exists():
            pytest.skip(f"the real tables are not here: {table}")
        return table

    return path


@pytest.fixture(scope="session")
def composed() -> Callable[..., DictConfig]:
    """conf/ as Hydra composes it under some overrides."""

    def compose_config(*overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("train", list(overrides))

    return compose_config


@pytest.fixture(scope="session")
def settings(composed: Callable[..., DictConfig]) -> Callable[..., Settings]:
    """Settings as `python train.py` makes them from some overrides."""
    return lambda *overrides: parse_settings(composed(*overrides))


@pytest.fixture(scope="session")
def blobs() -> Callable[..., Table]:
    """Makes a table of two overlapping classes, its columns far from 0 and of unlike scales."""

    def make(n_rows: int = 150, n_features: int = 3, seed: int = 0) -> Table:
        random = np.random.default_rng(seed)
        labels = (random.random(n_rows) < 0.4).astype(np.float32)
        scales = 10.0 ** np.arange(n_features)
        rows = (random.standard_normal((n_rows, n_features)) + labels[:, None]) * scales
        names = tuple(f"x{i}" for i in range(n_features))
        rows = (rows + 3 * scales).astype(np.float32)
        return Table(rows, labels, Schema(names, "label", ("no", "yes")), "blobs")

    return make


@pytest.fixture
def run_command(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`normlab ARGUMENTS`: what it prints, on standard error where it fails."""

    def run(*arguments: object, status: int = 0) -> str:
        capfd.readouterr()
        ended = main([*map(str, arguments)])
        said = capfd.readouterr()
        assert ended == status, said.err
        return said.err if status else said.out

    return run


class ListLogger(Logger):
    """Keeps the records that Lightning hands to a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        return "list"

    @property
    def version(self) -> int:
        return 0

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.records.append(dict(metrics))


@pytest.fixture
def list_logger() -> ListLogger:
    return ListLogger()


@pytest.fixture
def make_trainer(list_logger: ListLogger) -> Callable[..., Trainer]:
    """A Trainer that writes no file and logs to `list_logger`."""
    quiet_lightning()

    def make(**arguments: Any) -> Trainer:
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "devices": 1,
            "logger": list_logger,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        return Trainer(**{**defaults, **arguments})

    return make


@dataclass(frozen=True)
class Ended:
    """How a run of the program ended, and the folder that it was started in."""

    status: int
    out: str
    err: str
    cwd: Path

    @property
    def folder(self) -> Path:
        """The one run folder."""
        (folder,) = (path.parent for path in self.cwd.rglob("result.json"))
        return folder


@pytest.fixture
def train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """`python train.py ARGUMENTS` within this process, from a folder of its own."""

    def run(*arguments: str, cwd: Path | None = None) -> Ended:
        cwd = cwd or tmp_path
        monkeypatch.chdir(cwd)
        capfd.readouterr()
        status = run_door(*arguments)
        captured = capfd.readouterr()
        return Ended(status, captured.out, captured.err, cwd)

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run with a validation and a test part, three inputs, text labels."""
    folder = tmp_path_factory.mktemp("finished")
    random = np.random.default_rng(0)
    rows = random.standard_normal((200, 3)) * [1, 10, 100] + [5, 50, 500]
    labels = np.where(rows[:, 0] + random.standard_normal(200) > 5, "yes", "no")
    lines = [
        f"{a!r},{b!r},{c!r},{label}" for (a, b, c), label in zip(rows.tolist(), labels, strict=True)
    ]
    (folder / "rows.csv").write_text("\n".join(["a,b,c,answer", *lines]))
    run = folder / "run"
    status = run_door(
        "data=csv",
        f"data.path={folder / 'rows.csv'}",
        "data.target=answer",
        "data.batch_size=50",
        "model.lr=0.3",  # the best epoch is not the last one
        "trainer.max_epochs=5",
        "checkpoint.every_n_seconds=0",
        f"hydra.run.dir={run}",
        *QUIET,
    )
    assert status == 0
    return run


def run_door(*arguments: str) -> int:
    """Runs train.py as a script, and leaves the process as it was; gives the exit status."""
    with _process_restored(), warnings.catch_warnings():
        sys.argv = [str(ROOT / "train.py"), *arguments]
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0


class _process_restored:
    """Hydra configures the logging, the door catches signals: neither is for the next test."""

    def __enter__(self) -> None:
        self.argv = sys.argv
        self.environ = dict(os.environ)
        self.signals = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
        self.handlers = list(logging.root.handlers)
        self.level = logging.root.level

    def __exit__(self, *error: object) -> None:
        sys.argv = self.argv
        for name in set(os.environ) - set(self.environ):
            del os.environ[name]
        os.environ.update(self.environ)
        for number, handler in self.signals.items():
            signal.signal(number, handler)
        for handler in set(logging.root.handlers) - set(self.handlers):
            handler.close()
        logging.root.handlers[:] = self.handlers
        logging.root.setLevel(self.level)
        GlobalHydra.instance().clear()


@pytest.fixture
def process_restored() -> Iterator[None]:
    """For a test that goes through the door by itself."""
    with _process_restored():
        yield


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Starts runs in processes of their own, within milliseconds."""
    server = ForkServer(tmp_path_factory.mktemp("forks"))
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    """No test's random numbers depend on which tests ran before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
