"""Each promise of the program about what is not lost, and what does no harm, in one place.

`python benchmarks/promises.py` runs these tests and prints the promises with their figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from fork_server import QUIET, ForkServer, Started
from normlab.errors import UserError
from normlab.training.resume import ENTRY, ResumePoint

Train = Callable[..., Any]
Note = Callable[[str, object], None]

SHORT = (QUIET, "trainer.max_epochs=12", "data.rows=300", "checkpoint.every_n_seconds=0")
LAST = "checkpoints/last.ckpt"
BEST = "checkpoints/best.ckpt"
TRAINING = ("goes on after", "runs as one", " on cpu\n")  # said as training begins


# What is compared


def numbers(folder: Path) -> dict[str, Any]:
    """All that a run has come to, but times."""
    result = json.loads((folder / "result.json").read_text())
    checkpoints = {}
    for name in (LAST, BEST):
        if (folder / name).exists():  # runs that train together have one last.ckpt
            checkpoints[name] = torch.load(folder / name, weights_only=True)
            checkpoints[name]["folders"] = checkpoints[name].pop(ENTRY, {}).get("folders")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        "metrics.csv": (folder / "metrics.csv").read_bytes(),
        "result": {k: v for k, v in result.items() if k not in ("seconds", "rows_per_second")},
        "curves": {
            tag: str([(event.step, event.value) for event in events.Scalars(tag)])
            for tag in events.Tags()["scalars"]
        },
        **checkpoints,
    }


def assert_identical(one: Any, other: Any, where: str = "") -> None:
    """To the bit."""
    if isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, msg=where)
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_identical(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_identical(a, b, f"{where}/{i}")
    else:
        assert one == other or (one != one and other != other), where  # nan is nan


def wait_until(run: Started, condition: Callable[[], bool]) -> None:
    """Or until the run has ended."""
    while run.running() and not condition():
        time.sleep(0.002)


def wait_for_training(run: Started) -> None:
    wait_until(run, lambda: any(said in run.text for said in TRAINING))


def wait_for_checkpoint(run: Started, folder: Path, before: float) -> None:
    """Until the run has written one."""
    wait_until(run, lambda: newest(folder) > before)


def newest(folder: Path) -> float:
    """When the last checkpoint below a folder was written."""
    times = [0.0]
    for path in folder.rglob("*.ckpt"):
        with contextlib.suppress(FileNotFoundError):  # being replaced
            times.append(path.stat().st_mtime_ns)
    return max(times)


def epochs_of(folder: Path) -> int:
    return ResumePoint.read(folder / LAST).epochs


# Resume


RUNS = {
    "none": ("model.optimizer=sgd", "data.batch_size=null", "data.split=none"),
    "center": ("model.dropout=0.3", "+trainer.gradient_clip_val=0.5"),
    "standardize": ("model/scheduler=cosine", "trainer.precision=64-true"),
    "minmax": ("model.scheduler.step_size=3", "model.dropout=0.2", "model.optimizer=adamw"),
    "robust": ("early_stopping.patience=2", "early_stopping.min_delta=0.02", "model.lr=0.3"),
    "log1p": ("data=circles", "model.batchnorm=true", "model.dropout=0.1"),
    "quantile": ("data=breast_cancer", "model.scheduler.step_size=2"),
    "batchnorm": ("data.batch_size=20", "early_stopping.patience=3"),
}


@pytest.mark.parametrize("normalization", RUNS)
def test_a_killed_run_goes_on_to_the_same_bits(
    forks: ForkServer, tmp_path: Path, normalization: str, record_property: Note
) -> None:
    """Killed (SIGKILL) at random moments of its training, and resumed after each."""
    moments = random.Random(normalization)
    settings = [one for one in SHORT if not one.startswith("data.rows")]
    settings += [f"normalization={normalization}", *RUNS[normalization]]
    if not any(one.startswith("data=breast_cancer") for one in settings):
        settings.append("data.rows=300")
    whole = forks.run(*settings, "hydra.run.dir=whole", cwd=tmp_path)
    assert whole.wait() == 0, whole.text
    seconds = json.loads((tmp_path / "whole/result.json").read_text())["seconds"]

    run = forks.run(*settings, "hydra.run.dir=cut", cwd=tmp_path)
    kills, epochs, before = 0, 0, 0.0
    for _ in range(3):
        wait_for_checkpoint(run, tmp_path / "cut", before)
        time.sleep(moments.uniform(0.0, 0.3) * seconds)
        run.kill()
        if run.wait() == 0 or (tmp_path / "cut/result.json").exists():
            break  # it was faster
        kills += 1
        before = newest(tmp_path / "cut")
        assert epochs_of(tmp_path / "cut") >= epochs, "nothing that was written is lost"
        epochs = epochs_of(tmp_path / "cut")
        run = forks.run("resume=cut", cwd=tmp_path)
        wait_for_training(run)
        assert f"goes on after epoch {epochs} of 12" in run.text
    assert run.wait() == 0 or (tmp_path / "cut/result.json").exists(), run.text
    assert_identical(numbers(tmp_path / "whole"), numbers(tmp_path / "cut"))
    before, after = (
        yaml.safe_load((tmp_path / name / "config.yaml").read_text()) for name in ("whole", "cut")
    )
    assert before == after
    record_property("kills", kills)


DIES = """
import os, signal
import normlab.training.metrics_file as metrics_file
left = [{n}]
def dying(call):
    def step(*args, **options):
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **options)
    return step
for name in ("fsync", "replace", "truncate", "unlink"):
    setattr(os, name, dying(getattr(os, name)))
whole = metrics_file.append_whole
def half(path, data):
    left[0] -= 1
    if left[0] <= 0:
        with open(path, "ab") as file:
            file.write(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    whole(path, data)
metrics_file.append_whole = half
"""


@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
def test_what_is_killed_while_it_writes_goes_on_to_the_same_bits(
    forks: ForkServer, tmp_path: Path, sweep: bool, record_property: Note
) -> None:
    """Killed at a file operation: before a sync or a rename, or with half a line written.

    In a sweep also among the results of its runs.
    """
    settings = (*SHORT, "model.dropout=0.2", "early_stopping.patience=9")
    kind, most = ("run", 24) if not sweep else ("sweep", 60)
    if sweep:
        settings = ("-m", *settings, "seed=0,1", "model.lr=0.01,0.3")
    whole = forks.run(*settings, f"hydra.{kind}.dir=whole", cwd=tmp_path)
    assert whole.wait() == 0, whole.text
    moments = random.Random(1)
    kills = 0
    arguments: tuple[str, ...] = (*settings, f"hydra.{kind}.dir=cut")
    while kills < 12:
        run = forks.run(*arguments, cwd=tmp_path, first=DIES.format(n=moments.randint(6, most)))
        status = run.wait()
        assert status in (0, -signal.SIGKILL), run.text
        if status == 0:
            break
        kills += 1
        for path in (tmp_path / "cut").rglob("*.ckpt"):  # a reader never sees half a file
            torch.load(path, weights_only=True)
        arguments = ("resume=cut",)
    else:
        run = forks.run("resume=cut", cwd=tmp_path)
        assert run.wait() == 0, run.text
    assert kills >= 4
    for name in map(str, range(4)) if sweep else (".",):
        one, other = (numbers(tmp_path / place / name) for place in ("whole", "cut"))
        assert_identical(one, other, name)
    record_property("kills", kills)


SWEEP = (
    *SHORT, "seed=0,1", "normalization=none,standardize,batchnorm", "model.lr=0.3,0.01",
    "early_stopping.patience=3", "data.batch_size=50",
)  # fmt: skip


def test_a_killed_sweep_goes_on_to_the_same_bits(
    forks: ForkServer, tmp_path: Path, record_property: Note
) -> None:
    """Two stacks, whose runs stop at various epochs; resumed by the command or by resume=SWEEP."""
    moments = random.Random(5)
    whole = forks.run("-m", *SWEEP, "hydra.sweep.dir=whole", cwd=tmp_path)
    cut = ("-m", *SWEEP, "hydra.sweep.dir=cut")
    run = forks.run(*cut, cwd=tmp_path)
    kills, before = 0, 0.0
    for _ in range(5):
        wait_for_checkpoint(run, tmp_path / "cut", before)
        time.sleep(moments.choice((0.0, 0.05, 0.2)))
        run.kill()
        if run.wait() == 0:
            break
        kills += 1
        before = newest(tmp_path / "cut")
        run = forks.run(*(("resume=cut",) if kills % 2 else cut), cwd=tmp_path)
    assert run.wait() == 0, run.text
    assert whole.wait() == 0, whole.text
    for i in range(12):
        one, other = (numbers(tmp_path / name / str(i)) for name in ("whole", "cut"))
        assert_identical(one, other, str(i))
    assert kills == 0 or re.search("go on where they were|had trained all|had finished", run.text)
    record_property("kills", kills)


def test_a_killed_run_of_a_sweep_has_its_result_once(forks: ForkServer, tmp_path: Path) -> None:
    """Killed between the events of its result and result.json."""
    command = ("-m", *SWEEP, "hydra.sweep.dir=sweep")
    assert forks.run(*command, cwd=tmp_path).wait() == 0
    before = numbers(tmp_path / "sweep/0")
    (tmp_path / "sweep/0/result.json").unlink()
    assert forks.run(*command, cwd=tmp_path).wait() == 0
    assert_identical(before, numbers(tmp_path / "sweep/0"))


def test_more_epochs_for_a_run_that_has_finished(forks: ForkServer, tmp_path: Path) -> None:
    """Raised on the way, trainer.max_epochs is as if it had been set at once.

    But for the diagnosis, which looks at the last epoch of each.
    """
    settings = (*SHORT, "diagnosis.every_n_epochs=1")
    whole = forks.run(*settings, "hydra.run.dir=whole", cwd=tmp_path)
    cut = forks.run(*settings, "hydra.run.dir=cut", "trainer.max_epochs=5", cwd=tmp_path)
    assert (whole.wait(), cut.wait()) == (0, 0), cut.text
    again = forks.run("resume=cut/", cwd=tmp_path)
    assert again.wait() == 1
    assert "normlab: cut has finished: all of its 5 epochs are trained" in again.text
    longer = forks.run(
        *settings, "hydra.run.dir=cut", f"ckpt_path=cut/{LAST}", cwd=tmp_path
    )  # the long way
    assert longer.wait() == 0, longer.text
    assert "goes on after epoch 5 of 12" in longer.text
    assert_identical(numbers(tmp_path / "whole"), numbers(tmp_path / "cut"))
    shorter = forks.run("resume=cut", "trainer.max_epochs=3", cwd=tmp_path)
    assert shorter.wait() == 1
    assert "trainer.max_epochs=3 cannot take them back" in shorter.text


def test_more_epochs_for_a_sweep_that_has_finished(forks: ForkServer, tmp_path: Path) -> None:
    """Its runs trained together and go on together, also where one of them is named."""
    settings = ("-m", *SHORT, "diagnosis.every_n_epochs=1", "seed=0,1", "model.lr=0.01,0.1")
    whole = forks.run(*settings, "hydra.sweep.dir=whole", cwd=tmp_path)
    cut = forks.run(*settings, "hydra.sweep.dir=cut", "trainer.max_epochs=5", cwd=tmp_path)
    assert (whole.wait(), cut.wait()) == (0, 0), cut.text
    again = forks.run("resume=cut/2", cwd=tmp_path)
    assert again.wait() == 0, again.text
    assert "4 of 4 runs had finished and are kept" in again.text
    longer = forks.run("resume=cut/2", "trainer.max_epochs=12", cwd=tmp_path)
    assert longer.wait() == 0, longer.text
    assert "cut/2 is a run of the sweep cut, and goes on with it" in longer.text
    assert "4 runs go on where they were ended" in longer.text
    for i in range(4):
        one, other = (numbers(tmp_path / name / str(i)) for name in ("whole", "cut"))
        assert_identical(one, other, str(i))


# Signals


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_a_checkpoint_and_the_way_on(
    forks: ForkServer, tmp_path: Path, number: int, status: int
) -> None:
    """A run and a sweep, within 10 seconds; what they print continues them."""
    long = (QUIET, "trainer.max_epochs=100000", "data.rows=300")
    run = forks.run(*long, "hydra.run.dir='my run=1'", cwd=tmp_path)
    sweep = forks.run("-m", *long, "seed=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path)
    for one in (run, sweep):
        wait_for_training(one)
    wait_until(run, lambda: (tmp_path / "my run=1" / BEST).exists())
    for one in (run, sweep):
        one.kill(number)
    assert (run.wait(timeout=10), sweep.wait(timeout=10)) == (status, status), run.text
    assert 'to go on: python train.py "resume=my run=1"' in run.text
    assert "to go on: python train.py resume=sweep" in sweep.text
    assert "0 of 2 runs have finished" in sweep.text
    assert "Traceback" not in run.text + sweep.text
    epochs = epochs_of(tmp_path / "my run=1")
    assert f"epoch {epochs} of 100000 is in {LAST}" in run.text
    lines = (tmp_path / "my run=1/metrics.csv").read_text().splitlines()
    assert len(lines) - 1 == epochs > 0
    again = forks.run("resume=my run=1", f"trainer.max_epochs={epochs + 1}", cwd=tmp_path)
    assert again.wait() == 0, again.text
    assert f"goes on after epoch {epochs} of {epochs + 1}" in again.text


SLEEPS = """
import time
from normlab.training.module import TrainingModule
def stuck(self, *args):
    print("stuck", flush=True)
    while True:
        time.sleep(0.01)
TrainingModule.training_step = stuck
"""


def test_a_second_ctrl_c_ends_at_once(forks: ForkServer, tmp_path: Path) -> None:
    """An epoch that does not end: the first signal waits for it, the second one does not."""
    run = forks.run(*SHORT, "hydra.run.dir=run", cwd=tmp_path, first=SLEEPS)
    wait_until(run, lambda: "stuck" in run.text)
    run.kill(signal.SIGINT)
    wait_until(run, lambda: "Ctrl-C ends at once" in run.text)
    assert run.running()
    run.kill(signal.SIGINT)
    assert run.wait(timeout=10) == 130
    assert epochs_of(tmp_path / "run") == 0


# A full disk, and folders that are not what they were


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({n}, {n}))
"""


@pytest.mark.parametrize("limit", [9_000, 13_000])
def test_a_full_disk_is_one_message_and_the_last_checkpoint_is_whole(
    forks: ForkServer, tmp_path: Path, limit: int
) -> None:
    """No file may grow beyond some bytes: the first checkpoint fails, or a curve after some."""
    arguments = (QUIET, "trainer.max_epochs=3000", "checkpoint.every_n_seconds=0.05",
                 "data.rows=100", "model.hidden=[2]", "hydra.run.dir=run")  # fmt: skip
    run = forks.run(*arguments, cwd=tmp_path, first=FULL.format(n=limit))
    assert run.wait() == 1
    (line,) = (line for line in run.text.splitlines() if line.startswith("normlab: "))
    assert line.startswith("normlab: Cannot write ")
    assert "File too large" in line
    assert "Traceback" not in run.text
    assert not list(tmp_path.rglob("*.partial"))
    if (tmp_path / "run" / LAST).exists():
        assert "to go on: python train.py resume=run" in run.text
        epochs = epochs_of(tmp_path / "run")
        again = forks.run("resume=run", f"trainer.max_epochs={epochs + 2}", cwd=tmp_path)
        assert again.wait() == 0, again.text


def test_a_disk_without_room(forks: ForkServer, tmp_path: Path) -> None:
    """A real one, of 60 kB."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        arguments = (QUIET, "trainer.max_epochs=3000", "checkpoint.every_n_seconds=0.05")
        run = forks.run(*arguments, "data.rows=100", "hydra.run.dir=small/run", cwd=tmp_path)
        assert run.wait() == 1
        assert "No space left on device" in run.text
        assert "Traceback" not in run.text
        assert epochs_of(small / "run") >= 0
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_vanishes_or_cannot_be_written_is_a_message(
    forks: ForkServer, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    first = "import os; os.rmdir(os.getcwd())"
    run = forks.run(*SHORT, cwd=gone, first=first)
    assert run.wait() == 1
    assert run.text == (
        "normlab: the working folder is gone: start the program from one that exists\n"
    )
    (tmp_path / "file").write_text("")
    run = forks.run(*SHORT, "hydra.run.dir=file/run", cwd=tmp_path)
    assert (run.wait(), run.text) == (
        1,
        "normlab: hydra.run.dir=file/run: file is no folder; give another name\n",
    )


FROZEN = """
import datetime, hydra.core.utils
class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 31, 12)
hydra.core.utils.datetime = Frozen
"""


def test_runs_of_one_second_get_folders_of_their_own(forks: ForkServer, tmp_path: Path) -> None:
    """Four runs and two sweeps, at once; refused ones leave none."""
    tiny = (QUIET, "trainer.max_epochs=1", "data.rows=60")
    runs = [forks.run(*tiny, f"seed={i}", cwd=tmp_path, first=FROZEN) for i in range(4)]
    sweeps = [
        forks.run("-m", *tiny, f"seed={i},{i + 1}", cwd=tmp_path, first=FROZEN) for i in range(2)
    ]
    assert [one.wait() for one in (*runs, *sweeps)] == [0] * 6, runs[0].text + sweeps[0].text
    name = "2026-01-31_12-00-00"
    names = {name, *(f"{name}_{i}" for i in (2, 3, 4))}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {*names, "sweeps"}
    assert {path.name for path in (tmp_path / "runs/sweeps").iterdir()} == {name, f"{name}_2"}
    seeds = {yaml.safe_load((tmp_path / "runs" / n / "config.yaml").read_text())["seed"]
             for n in names}  # fmt: skip
    assert seeds == {0, 1, 2, 3}
    assert len(list(tmp_path.glob("runs/sweeps/*/*/result.json"))) == 4
    refused = forks.run(*tiny, "data.threshold=500", cwd=tmp_path, first=FROZEN)
    assert refused.wait() == 1
    assert len(list((tmp_path / "runs").iterdir())) == 5


@pytest.mark.parametrize("name", ["my runs (1)", "a=b, (c)", "größe läuft", "it's 100%", "a::b"])
def test_names_that_need_quotes(forks: ForkServer, tmp_path: Path, name: str) -> None:
    """As a run folder, in both kinds of quotes, and for going on."""
    quoted = "'" + name.replace("'", "\\'") + "'"
    run = forks.run(
        QUIET, "trainer.max_epochs=2", "data.rows=60", f"hydra.run.dir={quoted}", cwd=tmp_path
    )
    assert run.wait() == 0, run.text
    assert (tmp_path / name / "result.json").exists()
    again = forks.run(f"resume={name}", "trainer.max_epochs=3", cwd=tmp_path)
    assert again.wait() == 0, again.text
    assert epochs_of(tmp_path / name) == 3


# Hostile files


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def as_pickle(payload: Payload, good: dict[str, Any], path: Path) -> None:
    path.write_bytes(pickle.dumps(payload))


def within(payload: Payload, good: dict[str, Any], path: Path) -> None:
    torch.save({**good, "callbacks": {"EarlyStopping": payload}}, path)


def as_old_archive(payload: Payload, good: dict[str, Any], path: Path) -> None:
    torch.save({**good, "extra": payload}, path, _use_new_zipfile_serialization=False)


def of_another_version(payload: Payload, good: dict[str, Any], path: Path) -> None:
    torch.save({**good, "normlab": {**good["normlab"], "format": 999}}, path)


def of_other_columns(payload: Payload, good: dict[str, Any], path: Path) -> None:
    schema = {**good["normlab"]["schema"], "target": "another"}
    torch.save({**good, "normlab": {**good["normlab"], "schema": schema}}, path)


def of_weights_alone(payload: Payload, good: dict[str, Any], path: Path) -> None:
    torch.save({key: good[key] for key in ("normlab", "state_dict", "epoch")}, path)


def of_another_program(payload: Payload, good: dict[str, Any], path: Path) -> None:
    torch.save({"state_dict": {"layer.weight": torch.ones(2, 2)}, "epoch": 3}, path)


def cut_off(payload: Payload, good: dict[str, Any], path: Path) -> None:
    torch.save(good, path)
    path.write_bytes(path.read_bytes()[:-3000])


def with_other_shapes(payload: Payload, good: dict[str, Any], path: Path) -> None:
    state = {name: torch.zeros(3) for name in good["state_dict"]}
    torch.save({**good, "state_dict": state}, path)


BAD = (
    as_pickle, within, as_old_archive, of_another_version, of_other_columns, of_weights_alone,
    of_another_program, cut_off, with_other_shapes,
)  # fmt: skip


def contents(folder: Path) -> dict[Path, bytes]:
    """Of all files but the log."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log")
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_checkpoint_is_one_message_and_nothing_runs(
    train: Train,
    finished_run: Path,
    tmp_path: Path,
    make: Callable[..., None],
    record_property: Note,
) -> None:
    """As the checkpoint that a run is to go on from; its folder stays as it was."""
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", str(finished_run), str(run)], check=True)
    planted = tmp_path / "planted"
    good = torch.load(finished_run / LAST, weights_only=True)
    make(Payload(planted), good, run / LAST)
    before = contents(run)
    ended = train(f"resume={run}", "trainer.max_epochs=9")
    assert ended.status == 1
    assert ended.err.startswith("normlab: ")
    assert ended.err.count("\n") == 1, ended.err
    assert str(run / LAST) in ended.err
    assert not planted.exists()
    assert contents(run) == before
    record_property("bad_files", 1)


def refusal(path: Path) -> str | None:
    try:
        ResumePoint.read(path)
    except UserError as error:
        return str(error)
    return None


def test_any_bytes_at_all_are_a_message(
    finished_run: Path, tmp_path: Path, record_property: Note
) -> None:
    """Bytes changed, cut out or put in at random places of a good checkpoint."""
    content = (finished_run / LAST).read_bytes()
    path = tmp_path / "last.ckpt"
    chance = random.Random(0)
    fuzzed = 0
    for _ in range(300):
        data = bytearray(content)
        for _ in range(chance.choice((1, 3, 30))):
            place = chance.randrange(len(data))
            kind = chance.randrange(3)
            if kind == 0:
                data[place] ^= 1 << chance.randrange(8)
            elif kind == 1:
                del data[place : place + chance.randrange(1, 50)]
            else:
                data[place:place] = chance.randbytes(chance.randrange(1, 20))
        fuzzed += len(data)
        path.write_bytes(data)
        said = refusal(path)  # none where a bit of a number has changed: a good file, of others
        assert said is None or (str(path) in said and "\n" not in said)
    record_property("bad_files", 300)
    record_property("bytes", fuzzed)


def test_no_setting_names_a_class(train: Train, finished_run: Path, tmp_path: Path) -> None:
    """Neither on the command line nor in the config of a run or sweep that is gone on with."""
    planted = tmp_path / "planted"
    call = {"_target_": "os.mkdir", "path": str(planted)}
    for key in ("model", "data", "trainer", "normalization", "model.scheduler"):
        ended = train(f"+{key}._target_=os.mkdir", f"+{key}.path={planted}")
        assert ended.status == 1
        assert "is not a setting" in ended.err or "is no argument of" in ended.err, ended.err
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", str(finished_run), str(run)], check=True)
    config = yaml.safe_load((run / "config.yaml").read_text())
    for changed in (
        {**config, "hydra": {"callbacks": {"evil": call}}},
        {**config, "model": {**config["model"], **call}},
        {**config, "data": {**config["data"], "target": f"${{oc.env:HOME}}{planted}"}},
    ):
        (run / "config.yaml").write_text(yaml.safe_dump(changed))
        ended = train(f"resume={run}", "trainer.max_epochs=9")
        assert ended.status == 1
        assert ended.err.startswith("normlab: ")
        assert os.environ["HOME"] + str(planted) not in ended.err, "nothing is interpolated"
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    for overrides in (
        {"task": [f"+hydra.callbacks.evil={{_target_:os.mkdir,path:{planted}}}"], "hydra": []},
        {"task": ["data.threshold=500"], "hydra": [
            "+hydra.callbacks.evil._target_=os.mkdir", f"+hydra.callbacks.evil.path={planted}",
            "hydra.launcher._target_=os.mkdir", f"hydra.searchpath=[file://{tmp_path}]",
        ]},
    ):  # fmt: skip
        record = {"hydra": {"overrides": overrides}}
        (sweep / "multirun.yaml").write_text(yaml.safe_dump(record))
        ended = train(f"resume={sweep}")
        assert ended.status == 1
    assert not planted.exists()


LISTENS = """
import sys
def heard(event, arguments):
    if event == "socket.bind":
        print("OPENED", arguments)
sys.addaudithook(heard)
"""


def test_no_port_is_opened(forks: ForkServer, tmp_path: Path) -> None:
    run = forks.run(*SHORT, cwd=tmp_path, first=LISTENS)
    sweep = forks.run("-m", *SHORT, "seed=0,1", cwd=tmp_path, first=LISTENS)
    assert (run.wait(), sweep.wait()) == (0, 0)
    assert "OPENED" not in run.text + sweep.text


def test_the_page_starts_tensorboard_on_the_loopback_address(root: Path) -> None:
    """As TensorBoard does by itself, unless it is told to bind to all."""
    text = (root / "README.md").read_text("utf-8")
    assert "tensorboard --logdir" in text
    assert "--bind_all" not in text
    assert "--host" not in text.replace("--host 127.0.0.1", "").replace("--host localhost", "")


# Losses that are none


def test_a_run_that_diverges_ends_alone(forks: ForkServer, tmp_path: Path) -> None:
    """In a stack the others end where they would without it; its last good weights are kept."""
    common = (QUIET, "trainer.max_epochs=6", "data.rows=300", "model.optimizer=sgd",
              "model.lr=0.01,1e25", "seed=0,1")  # fmt: skip
    wild = ("-m", *common, "hydra.sweep.dir=wild")
    run = forks.run(*wild, cwd=tmp_path)
    assert run.wait() == 0, run.text
    results = [json.loads((tmp_path / f"wild/{i}/result.json").read_text()) for i in range(4)]
    assert [result["diverged"] is not None for result in results] == [False, False, True, True]
    for result in results[2:]:
        assert "largest input" in result["diverged"]
        assert "Likely cause: the learning rate is too high" in result["diverged"]
        assert result["epochs"] < 6
    assert [result["epochs"] for result in results[:2]] == [6, 6]
    again = forks.run(*wild, cwd=tmp_path)
    assert again.wait() == 0
    assert "4 of 4 runs had finished and are kept" in again.text


# Memory


RESIDENT = """
import atexit
from normlab.{module} import {cls}
sizes = []
before = {cls}.{method}
def measured(self, *args, **options):
    with open("/proc/self/statm") as file:
        sizes.append(int(file.read().split()[1]) * 4096 / 2**20)
    return before(self, *args, **options)
{cls}.{method} = measured
import normlab.app.hydra_app
door = normlab.app.hydra_app.front_door
from contextlib import contextmanager
@contextmanager
def told():
    with door():
        yield
    print("MEMORY", len(sizes), sizes[len(sizes) // 5], sizes[-1])
normlab.app.hydra_app.front_door = told
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "where", "arguments"),
    [
        ("epochs", ("training.epochs", "Records", "add"),
         (QUIET, "trainer.max_epochs=1000", "data.rows=200", "checkpoint.every_n_seconds=0.1")),
        ("runs", ("training.folder", "RunFolder", "write_result"),
         ("-m", QUIET, "trainer.max_epochs=2", "data.rows=200", "seed=range(0,1000)",
          "hydra.launcher.max_runs=50", "hydra.sweep.dir=sweep")),
    ],
)  # fmt: skip
def test_memory_stays_flat(
    forks: ForkServer,
    tmp_path: Path,
    name: str,
    where: tuple[str, str, str],
    arguments: tuple[str, ...],
    record_property: Note,
) -> None:
    """The process's resident memory at a fifth of the way and at its end."""
    module, cls, method = where
    first = RESIDENT.format(module=module, cls=cls, method=method)
    run = forks.run(*arguments, cwd=tmp_path, first=first)
    assert run.wait(timeout=500) == 0, run.text[-3000:]
    (line,) = (line for line in run.text.splitlines() if line.startswith("MEMORY"))
    count, early, late = (float(word) for word in line.split()[1:])
    assert count == 1000
    assert late < early * 1.1 + 10, line
    record_property(f"{name}_mb", f"{early:.0f} -> {late:.0f}")
