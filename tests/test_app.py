"""The commands themselves: what a run reaches, leaves behind, and says when it cannot start.

Most run train.py as a script within this process, for importing Lightning takes seconds; what
only a process of its own can show (its exit by a signal, what it does not import) runs in one.
"""

from __future__ import annotations

import csv
import json
import math
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
import yaml

import normlab
from normlab.config.check import settings_help
from normlab.training.sweep import objective

Train = Callable[..., Any]
FAST = ("trainer.max_epochs=2", "trainer.enable_progress_bar=false")
FULL = ("trainer.enable_progress_bar=false",)
MADE = {
    ".hydra/config.yaml",
    ".hydra/hydra.yaml",
    ".hydra/overrides.yaml",
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
    "config.yaml",
    "metrics.csv",
    "provenance.json",
    "result.json",
    "train.log",
}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def listing(folder: Path) -> set[str]:
    """All files and folders below."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text("utf-8"))


def metrics_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def write_table(path: Path, n_rows: int = 60) -> Path:
    """A CSV file of two columns that tell the label."""
    random = np.random.default_rng(0)
    labels = np.arange(n_rows) % 2
    rows = random.normal(90, 5, (n_rows, 2)) + 4 * labels[:, None]
    lines = [f"{a!r},{b!r},{label}" for (a, b), label in zip(rows.tolist(), labels, strict=True)]
    path.write_text("\n".join(["a,b,label", *lines]))
    return path


# What a run reaches


def test_the_default_command(tmp_path: Path, root: Path) -> None:
    """`python train.py`, nothing more: in a process of its own, at its full length."""
    done = subprocess.run(
        [sys.executable, root / "train.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    result = result_of(folder)
    assert result["test"]["accuracy"] > 0.97
    (threshold,) = result["threshold"]
    assert threshold == pytest.approx(91, abs=0.3)
    assert result["epochs"] == 100

    first, *_ = done.stdout.splitlines()
    assert first == (
        "heart_rate: 1,800 rows x 1 (1,260 train, 270 val, 270 test); target label: 0 -> 0, 1 -> 1"
    )
    for part in ("train", "val", "test"):
        figures = " ".join(f"{result[part][name]:9.4f}" for name in ("loss", "accuracy", "auroc"))
        assert f"{part:6} {figures}" in done.stdout
    assert f"decision threshold {threshold:.4g}" in done.stdout
    assert f"runs/{folder.name}    tensorboard --logdir runs" in done.stdout

    files = {name for name in listing(folder) if (folder / name).is_file()}
    (events,) = (name for name in files if name.startswith("events.out.tfevents."))
    assert files - {events} == MADE
    assert listing(tmp_path) >= {"runs"}
    records = metrics_of(folder)
    assert [record["epoch"] for record in records] == list(range(1, 101))
    rates = [record["lr"] for record in records]
    assert rates == [pytest.approx(0.01 * 0.5 ** (epoch // 30)) for epoch in range(100)]
    assert result["val"]["loss"] == pytest.approx(min(r["val/loss"] for r in records), rel=1e-5)
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["libraries"]["torch"] == torch.__version__
    assert provenance["python"] == sys.version.split()[0]
    assert provenance["data_sha256"] is None
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert set(settings_help()) >= {"model.lr", "seed"}
    assert (settings["model"]["lr"], settings["seed"]) == (0.01, 0)
    assert "hydra" not in settings

    probability = normlab.load(folder).predict_proba([[threshold - 3], [threshold + 3]])[:, 1]
    assert probability[0] < 0.1
    assert probability[1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "loss"), list(enumerate([0.001209, 0.001082, 0.001606, 0.001736, 0.001161, 0.001727]))
)
def test_circles_are_learnt_as_plain_pytorch_learns_them(
    train: Train, seed: int, loss: float
) -> None:
    """FACTS.md, seed by seed: the loss of the 1,000th epoch's forward pass."""
    ended = train("experiment=circles", f"seed={seed}", *FULL)
    assert ended.status == 0, ended.err
    assert metrics_of(ended.folder)[999]["train/loss"] == pytest.approx(loss, rel=0.03)
    result = result_of(ended.folder)
    assert result["val"] is None
    assert result["test"] is None
    assert result["threshold"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("normalization", "seed", "loss"),
    [
        ("none", 0, 0.678627),  # stuck: the label entropy
        ("none", 2, 0.251002),  # on its way out
        ("standardize", 2, 0.035656),
        ("batchnorm", 2, 0.012778),
    ],
)
def test_heart_rates_are_learnt_as_plain_pytorch_learns_them(
    train: Train, real_table: Callable[[str], Path], normalization: str, seed: int, loss: float
) -> None:
    ended = train(
        "experiment=heart_rate", "data=csv", f"data.path={real_table('hr_11839.csv')}",
        "data.target=label", f"normalization={normalization}", f"seed={seed}", *FULL,
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert metrics_of(ended.folder)[999]["train/loss"] == pytest.approx(loss, rel=0.03)
    result = result_of(ended.folder)
    assert result["label_entropy"] == pytest.approx(0.6786, abs=1e-4)
    if (normalization, seed) == ("none", 0):
        assert result["threshold"] == []
        assert "decision threshold none: it gives one answer" in ended.out
    elif normalization != "none":
        assert result["threshold"] == [pytest.approx(91, abs=0.3)]


@pytest.mark.slow
def test_pima_is_learnt_as_well_as_it_can_be(
    train: Train, real_table: Callable[[str], Path], tmp_path: Path
) -> None:
    """A linear model reaches 0.83; a file without a header, with -1 for its last column."""
    areas = []
    for seed in range(5):
        ended = train(
            "data=csv", f"data.path={real_table('pima.csv')}", "data.header=false",
            "data.target=-1", f"seed={seed}", f"hydra.run.dir=seed{seed}", "trainer.max_epochs=40",
            *FULL,
        )  # fmt: skip
        assert ended.status == 0, ended.err
        areas.append(result_of(tmp_path / f"seed{seed}")["test"]["auroc"])
    assert len(set(areas)) == 5  # another seed, another split
    assert np.mean(areas) > 0.78


def test_a_run_is_repeated_from_its_folder_alone(train: Train, tmp_path: Path) -> None:
    """The overrides that Hydra noted give the same figures, to the bit."""
    first = train("model.dropout=0.2", "seed=5", "hydra.run.dir=first", *FAST)
    assert first.status == 0
    overrides = yaml.safe_load((tmp_path / "first/.hydra/overrides.yaml").read_text())
    again = train(*overrides, "hydra.run.dir=again")
    assert again.status == 0
    for name in ("metrics.csv", "config.yaml"):
        assert (tmp_path / "first" / name).read_text() == (tmp_path / "again" / name).read_text()
    first_result, second_result = (result_of(tmp_path / name) for name in ("first", "again"))
    for key in ("train", "val", "test", "threshold"):
        assert first_result[key] == second_result[key]


def test_checkpoints_off(train: Train) -> None:
    ended = train("trainer.enable_checkpointing=false", *FAST)
    assert ended.status == 0
    assert not list(ended.cwd.rglob("*.ckpt"))
    assert not list(ended.cwd.rglob("checkpoints"))
    assert result_of(ended.folder)["checkpoint"] is None
    with pytest.raises(normlab.errors.UserError, match="enable_checkpointing=false"):  # type: ignore[attr-defined]
        normlab.load(ended.folder)


def test_early_stopping_and_its_epochs_in_the_result(train: Train) -> None:
    ended = train("early_stopping.patience=1", "early_stopping.min_delta=9", *FULL)
    assert ended.status == 0
    assert result_of(ended.folder)["epochs"] == len(metrics_of(ended.folder)) == 2
    last = torch.load(ended.folder / "checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 1  # the second, counted from 0


def test_a_diverged_run_ends_with_its_cause_and_in_strict_json(train: Train) -> None:
    ended = train("model.optimizer=sgd", "model.lr=1e30", "model.hidden=[4]", *FAST)
    assert ended.status == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("normlab: the loss is "), ended.err
    assert "(epoch 1). The batch's largest input is" in line
    assert line.endswith("Likely cause: the learning rate is too high: lower model.lr=1e+30")
    result = result_of(ended.folder)
    assert result["diverged"] == line.removeprefix("normlab: ")
    assert result["train"]["loss"] is None
    assert result["checkpoint"] is None
    assert "NaN" not in (ended.folder / "result.json").read_text()


def test_what_a_search_minimizes() -> None:
    train_part, val_part = {"loss": 0.5}, {"loss": 0.25}
    assert objective({"train": train_part, "val": val_part}) == 0.25
    assert objective({"train": train_part, "val": None}) == 0.5
    assert objective({"train": train_part, "val": {"loss": None}}) == math.inf  # was nan


def test_a_files_digest_and_name_are_noted(train: Train, tmp_path: Path) -> None:
    import hashlib

    path = write_table(tmp_path / "table.csv")
    ended = train("data=csv", "data.path=table.csv", "data.target=label", *FAST)
    assert ended.status == 0
    assert ended.out.startswith("table.csv: 60 rows x 2 (42 train, 9 val, 9 test)")
    provenance = json.loads((ended.folder / "provenance.json").read_text())
    assert provenance["data_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "decision threshold" not in ended.out  # of two inputs


# What the program refuses

BAD_SETTINGS: list[tuple[list[str], str]] = [
    (["model.lrr=1"], "model.lrr is not a setting; did you mean model.lr?"),
    (["+model.lrr=1"], "model.lrr is not a setting; did you mean model.lr?"),
    (["trainer.gradient_clip_val=2"],
     "trainer.gradient_clip_val is an argument of Lightning's Trainer that the config does not "
     "have: write +trainer.gradient_clip_val=VALUE"),
    (["normalization.n_quantiles=5"],
     "normalization.n_quantiles is a setting of normalization=quantile alone"),
    (["normalization=quantile", "normalization.n_quantile=5"],
     "normalization.n_quantile is not a setting; did you mean normalization.n_quantiles?"),
    (["model.lr=fast"], "model.lr=fast: should be a valid number"),
    (["data.val_fraction=1.5"], "data.val_fraction=1.5: should be less than 1"),
    (["data=cvs"], "data=cvs: choose one of breast_cancer, circles, csv, heart_rate"),
    (["model/scheduler=steps"], "model/scheduler=steps: choose one of cosine, none, step"),
    (["data=csv"], "data.path is missing: add data.path=VALUE"),
    (["trainer.max_epoch=3"],
     "trainer.max_epoch is not a setting; did you mean trainer.max_epochs?"),
    (["+trainer.callbacks=[x]"], "trainer.callbacks cannot be set here"),
    (["nonsense"], "'nonsense' is no setting: write KEY=VALUE (see --help)"),
    (["hydra.run.dir=${nope}"], "hydra.run.dir: Interpolation key 'nope' not found"),
    (["seed=0,1"], "Ambiguous value for argument 'seed=0,1'"),
]  # fmt: skip

DRIVER = """
import contextlib, io, json, os, runpy, sys
ended = []
for arguments in json.loads(sys.argv[2]):
    sys.argv = [sys.argv[0], sys.argv[1], sys.argv[2]]
    door, err = sys.argv[1], io.StringIO()
    kept, sys.argv = sys.argv, [door, *arguments]
    status = 0
    with contextlib.redirect_stderr(err):
        try:
            runpy.run_path(door, run_name="__main__")
        except SystemExit as end:
            status = end.code
    sys.argv = kept
    ended.append([status, err.getvalue(), os.listdir()])
print(json.dumps([ended, "torch" in sys.modules]))
"""


def test_bad_settings_are_refused_before_torch_is_imported(tmp_path: Path, root: Path) -> None:
    """Exit status 1, one message, no traceback, nothing left behind; all cases in one process."""
    cases = json.dumps([arguments for arguments, _ in BAD_SETTINGS])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(root / "train.py"), cases],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    endings, torch_imported = json.loads(done.stdout)
    for (arguments, message), (status, err, left) in zip(BAD_SETTINGS, endings, strict=True):
        assert status == 1, (arguments, err)
        assert err.startswith(f"normlab: {message}"), (arguments, err)
        assert err.count("normlab: ") == 1
        assert "Traceback" not in err
        assert left == [], arguments
    assert not torch_imported


BAD_DATA: list[tuple[list[str], str]] = [
    (["data=csv", "data.path=missing.csv", "data.target=label"], "Cannot read 'missing.csv'"),
    (["data=csv", "data.path=text.csv", "data.target=label"],
     "text.csv, line 3, column 'a': 'x' is text, where"),
    (["data=csv", "data.path=good.csv", "data.target=lable"],
     "good.csv has no column 'lable' for data.target. Did you mean 'label'?"),
    (["data=csv", "data.path=good.csv", "data.target=label", "data.val_fraction=0.001"],
     "The validation part would be empty: data.val_fraction=0.001 of 60 rows"),
    (["data.threshold=500"], "heart_rate: all 1800 rows lie at or below the threshold"),
    (["trainer.accelerator=tpu"], "trainer: "),
    (["trainer.devices=abc"], "trainer: "),
    (["trainer.strategy=teleport"], "trainer: You selected an invalid strategy name"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *BAD_DATA,
        (["data.threshold=500", "hydra.output_subdir=null"], "heart_rate: all 1800 rows"),
        (["data.threshold=500", "hydra.run.dir=a/b"], "heart_rate: all 1800 rows"),
    ],
)
def test_bad_data_leaves_no_run_folder(
    train: Train, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_table(tmp_path / "good.csv")
    (tmp_path / "text.csv").write_text("a,label\n1,0\nx,1\n2,0\n3,1\n")
    before = listing(tmp_path)
    ended = train(*arguments)
    assert ended.status == 1
    assert ended.err.startswith(f"normlab: {message}"), ended.err
    assert len(ended.err.splitlines()) == 1, "one message, and none of Hydra's own"
    assert ended.out == ""
    assert listing(tmp_path) == before


def test_what_was_there_before_a_refusal_stays(train: Train, tmp_path: Path) -> None:
    """Notes beside the run, and the folder that the program was started in, though it is empty."""
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = train("data=csv", "data.path=missing.csv", "data.target=label", cwd=empty)
    assert ended.status == 1
    assert listing(tmp_path) == {"empty"}

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.log").write_text("my own")
    ended = train(
        "data=csv", "data.path=missing.csv", "data.target=label", f"hydra.run.dir={mine}", cwd=empty
    )
    assert ended.status == 1
    assert listing(tmp_path) == {"empty", "mine", "mine/notes.log"}


def test_an_occupied_folder_is_refused(train: Train, tmp_path: Path) -> None:
    assert train("hydra.run.dir=mine", *FAST).status == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ended = train("hydra.run.dir=mine", "seed=1", *FAST)
    assert ended.status == 1
    assert ended.err == (
        "normlab: mine already holds a run: give another folder as hydra.run.dir, or go on with "
        "it: resume=mine\n"
    )
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_a_file_where_the_folders_of_all_runs_go_is_refused(train: Train, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    for arguments in ((), ("-m", "seed=0,1")):
        ended = train(*arguments)
        assert ended.status == 1
        assert ended.err.count("\n") == 1
        assert "runs is no folder" in ended.err
    assert listing(tmp_path) == {"runs"}


def test_a_file_where_hydra_makes_a_folder_is_a_message(train: Train, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.hydra").write_text("mine")
    ended = train("hydra.run.dir=mine", *FAST)
    assert ended.status == 1
    assert "mine/.hydra: File exists" in ended.err
    assert "Traceback" not in ended.err
    assert (tmp_path / "mine/.hydra").read_text() == "mine"


def test_a_sweep_names_the_job_whose_settings_are_bad(train: Train, tmp_path: Path) -> None:
    ended = train("-m", "hydra/launcher=basic", "seed=0,1", "model.lr=0.01,-1", *FAST)
    assert ended.status == 1
    (line,) = (line for line in ended.err.splitlines() if line.startswith("normlab: "))
    assert line.startswith("normlab: job 1 (")
    assert "seed=0 model.lr=-1" in line
    assert line.endswith("model.lr=-1: should be greater than 0")
    assert "Traceback" not in ended.err
    assert not list(tmp_path.rglob("result.json"))


def test_a_sweep_names_the_job_whose_data_are_bad(train: Train, tmp_path: Path) -> None:
    write_table(tmp_path / "good.csv")
    ended = train(
        "-m", "hydra/launcher=basic", "data=csv", "data.target=label",
        "data.path=good.csv,missing.csv", "hydra.sweep.dir=sweep", *FAST,
    )  # fmt: skip
    assert ended.status == 1
    (line,) = (line for line in ended.err.splitlines() if line.startswith("normlab: "))
    assert line.startswith("normlab: job 1 (")
    assert "data.path=missing.csv" in line
    assert "Cannot read 'missing.csv'" in line
    assert "Traceback" not in ended.err
    assert (tmp_path / "sweep/0/result.json").exists()  # the good one has trained
    assert not (tmp_path / "sweep/1").exists()


# Hydra's grammar


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("größe.csv", "\"data.path='größe.csv'\""),
        ("my rates (1).csv", "\"data.path='my rates (1).csv'\""),
        ("a=b.csv", "\"data.path='a=b.csv'\""),
        (">50K;.csv", "\"data.path='>50K;.csv'\""),
        ("it's.csv", None),
        ('say "so" =.csv', None),
        ("$HOME=`x`!.csv", None),
        ("back\\slash=.csv", None),
        ('all \\\' of "them\\" $x=.csv', None),
    ],
)
def test_the_quotes_that_it_asks_for_work(
    train: Train, tmp_path: Path, name: str, printed: str | None
) -> None:
    """Through a real shell and Hydra's real parser, to a real file of that name."""
    write_table(tmp_path / name)
    before = listing(tmp_path)
    ended = train("data=csv", f"data.path={name}", "data.target=label", *FAST)
    assert ended.status == 1
    says, quoted = ended.err.removesuffix("\n").split("\n")
    assert says == (
        f"normlab: data.path={name}: Hydra's grammar needs quotes around this value; write"
    )
    if printed is not None:
        assert quoted == f"  {printed}"
    assert listing(tmp_path) == before

    shell = subprocess.run(
        ["bash", "-c", f"printf %s {quoted}"], capture_output=True, text=True, check=True
    )
    ended = train("data=csv", shell.stdout, "data.target=label", *FAST)
    assert ended.status == 0, ended.err
    settings = yaml.safe_load((ended.folder / "config.yaml").read_text("utf-8"))
    assert settings["data"]["path"] == name
    assert ended.out.startswith(f"{name}: 60 rows x 2")


def test_help_lists_the_groups_and_the_settings(train: Train, tmp_path: Path) -> None:
    ended = train("--help")
    assert ended.status == 0
    for line in (
        "data: breast_cancer, circles, csv, heart_rate",
        "normalization: batchnorm, center, log1p, minmax, none, quantile, robust, standardize",
        "model/scheduler: cosine, none, step",
        "experiment: circles, heart_rate",
    ):
        assert line in ended.out.splitlines()
    for key, text in settings_help().items():
        assert f"  {key}" in ended.out
        assert text in ended.out
    assert listing(tmp_path) == set()
    chosen = train("--help", "normalization=quantile", "model.lr=0.5")
    assert "  normalization.n_quantiles=1000 " in chosen.out
    assert "  model.lr=0.5 " in chosen.out


# Ends by a signal


def test_signals_end_a_run_with_their_status(tmp_path: Path, root: Path) -> None:
    """Both at once, in processes of their own; the terminal of the second knows ASCII alone."""
    write_table(tmp_path / "größe.csv")
    endless = ["trainer.max_epochs=1000000", "checkpoint.every_n_seconds=0.2"]
    source = ["data=csv", "data.path='größe.csv'", "data.target=label"]
    started = []
    for number, arguments, encoding in (
        (signal.SIGTERM, [], "utf-8"),
        (signal.SIGINT, source, "ascii"),
    ):
        folder = tmp_path / number.name
        process = subprocess.Popen(
            [sys.executable, root / "train.py", f"hydra.run.dir={folder}", *endless, *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"},
        )
        started.append((number, folder, process))
    try:
        for number, folder, process in started:
            deadline = time.monotonic() + 120
            while not (folder / "checkpoints/best.ckpt").exists():  # the last of the first files
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline, "no checkpoint was written"
                time.sleep(0.1)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            assert process.returncode == 128 + number, err
            assert "Traceback" not in err
            assert "rows x" in out
            normlab.load(folder)  # the checkpoints are whole
            assert not (folder / "result.json").exists()
            assert not list(folder.rglob("*.partial"))
            metrics_of(folder)
    finally:
        for _, _, process in started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            process.stderr.close()
