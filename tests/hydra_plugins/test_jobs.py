"""The jobs of a sweep against Hydra's own: BasicLauncher, with a task that trains nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from hydra_plugins.normlab.jobs import Composer
from normlab.app.hydra_app import parse_settings
from normlab.config import Settings
from normlab.errors import UserError
from normlab.training.job import Job

SILENT = ("hydra/job_logging=none", "hydra/hydra_logging=none")
Files = dict[str, Any]


class Sweep:
    """A sweep's own config, and the two ways from it to a job."""

    def __init__(self, *overrides: str) -> None:
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        self.loader = hydra.config_loader
        self.master = hydra.compose_config(
            "train", [*SILENT, *overrides], RunMode.MULTIRUN, with_log_configuration=False
        )
        self.composer = Composer(self.loader, self.master)

    def by_hydra(self, num: int, overrides: Sequence[str]) -> tuple[Settings, Path, Files]:
        """What Hydra's launcher hands to the task, and writes."""
        seen: list[tuple[Settings, Path]] = []

        def task(config: DictConfig) -> None:
            settings = parse_settings(config)
            seen.append((settings, Path(HydraConfig.get().runtime.output_dir)))

        launcher = BasicLauncher()
        context = HydraContext(config_loader=self.loader, callbacks=Callbacks())
        launcher.setup(hydra_context=context, task_function=task, config=self.master)
        (returned,) = launcher.launch([list(overrides)], num)
        assert returned.return_value is None  # raises what the task raised
        ((settings, folder),) = seen
        return settings, folder, files_of(folder)

    def by_composer(self, num: int, overrides: Sequence[str]) -> tuple[Settings, Path, Files]:
        job = self.compose(num, overrides)
        job.prepare()
        return job.settings, job.folder.absolute(), files_of(job.folder)

    def compose(self, num: int, overrides: Sequence[str]) -> Job:
        """One job as the launcher composes it."""
        (job,) = self.composer.compose([overrides], num)
        return job


def files_of(folder: Path) -> Files:
    """The content of the YAML files below that a fused job has too; all are gone then."""
    files = {}
    for path in sorted(folder.rglob("*.yaml")):
        if path.name == "hydra.yaml":
            continue
        files[str(path.relative_to(folder))] = yaml.safe_load(path.read_text("utf-8"))
    shutil.rmtree(folder)
    return files


@pytest.fixture
def sweep(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Sweep]]:
    """Composes a sweep with some overrides, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(root / "train.py")])
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        yield lambda *overrides: Sweep("hydra.sweep.dir=sweep", *overrides)
    GlobalHydra.instance().clear()


def assert_same(sweep: Sweep, jobs: Sequence[Sequence[str]]) -> None:
    """One composer for all jobs: what it keeps of one must not show in another."""
    for num, overrides in enumerate(jobs):
        found = sweep.by_composer(num, overrides)
        expected = sweep.by_hydra(num, overrides)
        assert found[0] == expected[0], overrides
        assert found[1] == expected[1], overrides
        assert found[2] == expected[2], overrides
        assert set(found[2]) == {f".hydra/{name}.yaml" for name in ("config", "overrides")}


CSV = ("data=csv", "data.target=label")
KINDS: dict[str, list[list[str]]] = {
    "values": [
        ["seed=1", "model.lr=0.1"], ["model.lr=1", "seed=3"], ["seed=2", "model.lr=1e-5"],
        [], ["seed=4", "seed=5"], ["seed=6", "seed=7"],
    ],
    "null, lists, booleans": [
        ["model.hidden=[4,5]"], ["model.hidden=[]"], ["model.batchnorm=true"],
        ["model.pos_weight=2.5"], ["model.pos_weight=balanced"], ["model.pos_weight=null"],
        ["model.batchnorm=False"], ["report.tune=[model.lr,'model.batchnorm']"],
    ],
    "strings": [
        [*CSV, "data.path='my file (1).csv'"],
        [*CSV, 'data.path="a=b,c.csv"'],
        [*CSV, "data.path='it\\'s größe.csv'"],
        [*CSV, "data.path='12'"],
        [*CSV, "data.path='null'"],
        ["data=csv", "data.path=a.csv", "data.target=-1"],
        ["data=csv", "data.path=a.csv", "data.target='-1'"],
    ],
    "groups": [
        ["normalization=none"], ["normalization=quantile"],
        ["normalization=quantile", "normalization.n_quantiles=50"],
        ["normalization=quantile", "normalization.n_quantiles=60"],
        ["normalization.n_quantiles=70", "normalization=quantile"],
        ["data=circles", "data.noise=0.3"],
        ["model/scheduler=cosine", "model.scheduler.eta_min=0.001"],
    ],
    "experiments": [
        ["experiment=circles"],
        ["experiment=heart_rate", "normalization=minmax", "seed=1"],
        ["experiment=heart_rate", "normalization=minmax", "seed=2"],
    ],
    "new keys": [
        ["+trainer.gradient_clip_val=1.0"], ["+trainer.gradient_clip_val=2"], ["++seed=4"],
        ["+trainer.limit_train_batches=3", "+trainer.deterministic=true"],
    ],
    "interpolations": [
        ["data.seed=${seed}", "seed=9"], ["data.seed=${seed}", "seed=10"],
        ["seed=${data.seed}"], ["report.tune=['${data.name}']"],
    ],
    "parts of containers": [
        ["model.scheduler={step_size: 6}", "model.scheduler.gamma=0.7"],
        ["model.scheduler.gamma=0.7", "model.scheduler={step_size: 5, gamma: 0.25}"],
        ["model.hidden.0=7"], ["model.hidden.0=8"],
        ["~data.seed", "+data.seed=3"], ["~data.seed", "+data.seed=4"],
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_is_what_hydra_composes(sweep: Callable[..., Sweep], kind: str) -> None:
    assert_same(sweep(), KINDS[kind])


@pytest.mark.parametrize(
    "overrides",
    [
        ("hydra.sweep.subdir=${hydra.job.override_dirname}",),
        ("hydra.sweep.subdir=${hydra.job.override_dirname}",
         "hydra.job.config.override_dirname.exclude_keys=[seed]",
         "hydra.job.config.override_dirname.kv_sep=:"),
        ("hydra.sweep.subdir=${normalization.name}/${seed}",),
        ("hydra.sweep.subdir=${hydra.job.num}_${model.lr}",),
        ("hydra.sweep.subdir=run_${hydra:job.num}",),
        ("hydra.sweep.dir=sweeps/${now:%Y-%m-%d}",),
        ("hydra.sweep.dir=sweeps/${normalization.name}",),
        ("hydra.sweep.dir=sweep", "hydra.job.name=other", "hydra.verbose=true", "seed=17"),
        ("hydra.output_subdir=.notes",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_folders_and_names_are_hydras(
    sweep: Callable[..., Sweep], overrides: tuple[str, ...]
) -> None:
    one = sweep(*overrides)
    for num, job in enumerate(
        [
            ["seed=1", "normalization=none", "model.lr=0.1"],
            ["seed=2", "normalization=none", "model.lr=0.3"],
        ]
    ):
        assert one.by_composer(num, job) == one.by_hydra(num, job)


def test_hydras_files_can_be_left_out(sweep: Callable[..., Sweep], tmp_path: Path) -> None:
    job = sweep("hydra.output_subdir=null").compose(0, ["seed=1"])
    job.prepare()
    assert job.folder.resolve() == tmp_path / "sweep" / "0"
    assert list(job.folder.iterdir()) == []


def test_settings_that_interpolate_hydras_part(sweep: Callable[..., Sweep]) -> None:
    """A job's number as its seed."""
    one = sweep()
    for num in (0, 1, 2):
        job = one.compose(num, ["seed=${hydra:job.num}"])
        assert job.settings.seed == num
        assert one.by_hydra(num, ["seed=${hydra:job.num}"])[0] == job.settings


# Bad jobs

BAD = [
    (["model.lr=-1"], "model.lr=-1: should be greater than 0"),
    (["model.lr=inf"], "model.lr=inf: should be a finite number"),
    (["+model.lrr=1"], "model.lrr is not a setting; did you mean model.lr?"),
    (["model.lrr=1"], "model.lrr is not a setting; did you mean model.lr?"),
    (["normalization=centre"], "normalization=centre: choose one of"),
    (["seed=${nope}"], "Interpolation key 'nope' not found"),
    (["~trainer.accelerator"], "trainer.accelerator is missing"),
    (["data=csv"], "data.path is missing: add data.path=VALUE"),
    (
        ["normalization.n_quantiles=5"],
        "normalization.n_quantiles is a setting of normalization=quantile alone",
    ),
    (["model.hidden=[a]"], "model.hidden[0]=a: should be a valid integer"),
    (["data.path=a b(.csv"], "Hydra's grammar needs quotes"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD)
def test_a_bad_job_is_named_with_its_overrides(
    sweep: Callable[..., Sweep], overrides: list[str], message: str
) -> None:
    one = sweep()
    with pytest.raises(UserError) as refused:
        one.composer.compose([["model.lr=0.1"], ["seed=1", *overrides], ["model.lr=0.2"]], 6)
    text = str(refused.value)
    assert text.startswith(f"job 7 (seed=1 {overrides[0]}): ")
    assert message in text
    # The next good one is none the worse.
    assert one.compose(8, ["model.lr=0.2"]).settings.model.lr == 0.2


def test_jobs_that_would_share_a_folder_are_refused(sweep: Callable[..., Sweep]) -> None:
    one = sweep("hydra.sweep.subdir=${model.lr}")
    with pytest.raises(
        UserError, match=r"job 2 \(seed=2 .* is that of job 0 \(seed=1 .*hydra.sweep.subdir"
    ):
        one.composer.compose([["seed=1", f"model.lr={lr}"] for lr in (0.1, 0.2)]
                             + [["seed=2", "model.lr=0.1"]])  # fmt: skip


# Speed


def test_plain_jobs_are_composed_without_hydra(
    sweep: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra takes a twentieth of a second for a job."""
    one = sweep()
    calls: list[list[str]] = []
    load = one.loader.load_sweep_config

    def count(master: DictConfig, overrides: list[str]) -> DictConfig:
        calls.append(overrides)
        return load(master, overrides)

    monkeypatch.setattr(one.loader, "load_sweep_config", count)
    jobs = one.composer.compose(
        [
            [f"normalization={name}", f"seed={seed}", "model.hidden=[3]", "++seed=${data.rows}"][:k]
            for name, k in (("none", 3), ("center", 3), ("robust", 4))
            for seed in range(20 if k == 3 else 1)
        ]
    )
    assert len(calls) == 1, "the one that interpolates"
    assert [job.settings.seed for job in jobs] == [*range(20), *range(20), 1800]
    assert {job.settings.normalization.name for job in jobs[20:40]} == {"center"}
    assert len({job.folder for job in jobs}) == 41


def test_jobs_do_not_share_their_parts(sweep: Callable[..., Sweep]) -> None:
    one = sweep()
    first, other = one.composer.compose([["seed=1"], ["seed=2"]])
    other.settings.model.hidden.append(9)
    assert first.settings.model.hidden == [16]
    assert one.compose(2, ["seed=3"]).settings.model.hidden == [16]
