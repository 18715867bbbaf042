"""`resume=FOLDER` spelled out, and what a run refuses to go on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig

from normlab.app.hydra_app import parse_settings
from normlab.app.resume import refuse_changes, spelled_out
from normlab.config import Settings
from normlab.errors import UserError

Composed = Callable[..., DictConfig]
Settled = Callable[..., Settings]
Train = Callable[..., Any]


def begun(folder: Path, settings: Settings) -> Path:
    """A run folder that holds its settings alone."""
    folder.mkdir(parents=True)
    text = yaml.safe_dump(settings.to_dict(), allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


CASES = [
    (),
    ("normalization=quantile", "normalization.n_quantiles=7", "model/scheduler=cosine"),
    ("data=circles", "model/scheduler=none", "model.hidden=[]", "early_stopping.patience=3"),
    ("experiment=heart_rate", "+trainer.gradient_clip_val=1.5", "model.lr=1e-30"),
    (
        "data=csv", "data.path='a=b, (1) größe.csv'", "data.target=-1",
        "data.features=[a,'7',3,'b c']", "data.missing_values=['-999','null']",
        "data.positive='it\\'s'",
    ),
    ("data=csv", "data.path='\\${oc.env:HOME}/x\\\\'", "data.target=y", "data.positive=true"),
]  # fmt: skip


@pytest.mark.parametrize("overrides", CASES, ids=" ".join)
def test_the_spelled_out_command_composes_the_same_settings(
    composed: Composed, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    """Through Hydra's real grammar; a text of any kind comes back as it was."""
    before = parse_settings(composed(*overrides))
    folder = begun(tmp_path / "a run", before)
    given = spelled_out([f"resume={folder}", "trainer.max_epochs=777"])
    assert given[-1] == "trainer.max_epochs=777"
    own = [one for one in given if not one.startswith("hydra.")]
    after = parse_settings(composed(*own))
    assert after.ckpt_path == str(folder / "checkpoints/last.ckpt")
    assert after.trainer.max_epochs == 777
    expected = before.to_dict()
    expected["trainer"]["max_epochs"] = 777
    assert after.to_dict() == expected
    assert f"hydra.run.dir='{folder}'" in given


@pytest.mark.parametrize("ending", ["", "/", "/checkpoints/last.ckpt"])
def test_a_folder_may_be_named_in_several_ways(
    settings: Settled, tmp_path: Path, ending: str
) -> None:
    folder = begun(tmp_path / "it's", settings())
    plain = spelled_out([f"resume={folder}{ending}"])
    quoted = spelled_out(["resume='" + f"{folder}{ending}".replace("'", "\\'") + "'"])
    assert plain == quoted


def test_other_command_lines_stay_as_they_are() -> None:
    for arguments in ([], ["--help"], ["-m", "seed=0,1"], ["model.lr=1"]):
        assert spelled_out(arguments) == arguments


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_a_sweeps_flag_may_stand_anywhere(flag: str) -> None:
    for arguments in (["a=1", flag, "b=2"], ["a=1", "b=2", flag], [flag, "a=1", "b=2"]):
        assert spelled_out(arguments) == [flag, "a=1", "b=2"]


def test_the_choice_of_another_group_is_seen(composed: Composed, settings: Settled,
                                             tmp_path: Path) -> None:  # fmt: skip
    """Not overridden by the run's own values, and then refused."""
    before = settings("data=circles")
    folder = begun(tmp_path / "run", before)
    given = spelled_out([f"resume={folder}", "normalization=quantile"])
    after = parse_settings(composed(*(one for one in given if not one.startswith("hydra."))))
    assert after.normalization.name == "quantile"
    with pytest.raises(UserError, match=r"normalization\.name=standardize before, quantile now"):
        refuse_changes(folder, before, after)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume=nowhere"], "resume=nowhere: no such folder of a run or a sweep"),
        (["resume="], "resume=: no such folder"),
        (["resume=empty"], "empty holds no run: it has no config.yaml"),
        (["resume=run", "resume=run"], "resume= is given twice"),
        (["-m", "resume=run"], "run holds one run: leave out -m"),
        (["resume=list"], "list/config.yaml holds no settings"),
        (["resume=broken"], "broken/config.yaml cannot be read"),
        (["resume=other"], "other/config.yaml: model.width is not a setting"),
        (["resume=large"], "large/config.yaml is too large"),
        (["resume=search"], "search holds runs without multirun.yaml, the record of a sweep"),
        (["resume=sweep"], "sweep/multirun.yaml is not Hydra's record of a sweep"),
    ],
)
def test_what_cannot_be_gone_on_with_is_a_message(
    settings: Settled,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    begun(tmp_path / "run", settings())
    contents = {"list": "[1, 2]", "broken": "a: [", "large": "#" * 2**21}
    plain = settings().to_dict()
    contents["other"] = yaml.safe_dump({**plain, "model": {**plain["model"], "width": 3}})
    for name, text in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    (tmp_path / "empty").mkdir()
    begun(tmp_path / "search/0", settings())
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/multirun.yaml").write_text("hydra: 3")
    with pytest.raises(UserError) as caught:
        spelled_out(arguments)
    assert str(caught.value).startswith(message)


def test_a_sweeps_own_command_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "a sweep"
    folder.mkdir()
    overrides = {
        "task": ["seed=0,1", "model.lr=tag(log, interval(0.001, 0.3))"],
        "hydra": ["hydra/sweeper=search", "hydra.sweeper.n_trials=4", "hydra.launcher.max_runs=2",
                  "hydra.mode=MULTIRUN", "hydra.sweep.dir=elsewhere"],
    }  # fmt: skip
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
    assert spelled_out([f"resume={folder}", "trainer.enable_progress_bar=false"]) == [
        "-m", *overrides["task"], *overrides["hydra"][:3], f"hydra.sweep.dir='{folder}'",
        "trainer.enable_progress_bar=false",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.lr=0.5"], "was begun with other settings, and a run goes on with its own:\n"
                           "  model.lr=0.3 before, 0.5 now"),
        (["normalization=none"], "  normalization.name=standardize before, none now"),
        (["trainer.max_epochs=5"], "has finished: all of its 5 epochs are trained"),
        (["trainer.max_epochs=2"], "has trained 5 epochs: trainer.max_epochs=2 cannot take"),
        (["hydra.run.dir=other"], "a run goes on in its own folder; write resume="),
        (["ckpt_path={run}/checkpoints/best.ckpt", "trainer.max_epochs=9"],
         "holds no state of a training to go on from"),
        (["ckpt_path={run}/checkpoints/none.ckpt"], "no such checkpoint"),
    ],
)  # fmt: skip
def test_a_run_refuses_to_go_on_as_another(
    train: Train, finished_run: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Its folder stays as it was, but for the log."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    ended = train(f"resume={run}", *(one.format(run=run) for one in arguments))
    assert ended.status == 1
    assert message in ended.err, ended.err
    assert ended.err.startswith("normlab: ")
    assert "Traceback" not in ended.err
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert {path.name for path in after.keys() - before.keys()} <= {"train.log"}


def test_changed_data_are_refused(train: Train, finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    table = finished_run.parent / "rows.csv"
    content = table.read_text()
    try:
        table.write_text(content.replace("yes", "no", 1))
        ended = train(f"resume={run}", "trainer.max_epochs=9")
    finally:
        table.write_text(content)
    assert ended.status == 1
    assert "rows.csv is not the file that" in ended.err


def test_a_cosine_schedule_has_its_length(settings: Settled, tmp_path: Path) -> None:
    before, after = (
        settings("model/scheduler=cosine", f"trainer.max_epochs={n}") for n in (100, 200)
    )
    with pytest.raises(UserError, match="a cosine schedule over 100 epochs has other learning"):
        refuse_changes(tmp_path, before, after)
    refuse_changes(tmp_path, before, before)


def test_how_a_file_was_written_is_no_matter_of_the_models(
    train: Train, finished_run: Path, tmp_path: Path
) -> None:
    """As older ones: the run goes on, and says it from then on."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    last = run / "checkpoints/last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    schema = checkpoint["normlab"]["schema"]
    schema["decimal"] = "comma"  # whatever it says: the rows are what they were
    schema.pop("header", None)
    torch.save(checkpoint, last)
    for n_epochs in (7, 9):
        more = (f"trainer.max_epochs={n_epochs}", "trainer.enable_progress_bar=false")
        ended = train(f"resume={run}", *more)
        assert ended.status == 0, ended.err
        assert f"{n_epochs} epochs" in ended.out
        kept = torch.load(last, weights_only=True)["normlab"]["schema"]
        assert kept.get("decimal", "point") == "point"
