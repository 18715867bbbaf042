"""docs/normalization.md and docs/study.md say what their scripts measure, and their commands run.

Each page is a template filled with the figures in the JSON file beside it. Here a cheap part of
these is measured anew; `python docs/normalization.py --check` and `python docs/study.py --check`
do so with all.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from normlab.data.load import load_table

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = ("normalization", "study")

Train = Callable[..., Any]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A module of docs/, which is no package."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module


def read(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The words of each command in a page's bash blocks."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def final_losses(folder: Path, split: str) -> dict[tuple[str, int], float]:
    """Normalization and seed to the final loss."""
    losses = {}
    for path in folder.rglob("result.json"):
        config = yaml.safe_load((path.parent / "config.yaml").read_text(encoding="utf-8"))
        loss = json.loads(path.read_text(encoding="utf-8"))[split]["loss"]
        losses[config["normalization"]["name"], config["seed"]] = loss
    return losses


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_its_template_with_its_figures(name: str, script: Callable) -> None:
    assert script(name).render(script("page").load(name)) == read(name)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_exists_and_is_small(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", read(name))
    assert links
    for link in links:
        assert (DOCS / link).stat().st_size < 150_000, link


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_a_few_pages(name: str) -> None:
    assert len(read(name).splitlines()) <= 200


def test_the_figures_that_need_no_sweep_are_measured_alike(script: Callable) -> None:
    page, beginnings = script("page"), script("beginnings")
    measured = page.rounded(beginnings.measure())
    printed = page.load("normalization")
    same = {key: printed[key] for key in measured}
    assert list(page.differences(same, measured, tolerance=0.001)) == []


def test_a_condition_number_is_that_of_its_closed_form(script: Callable) -> None:
    """(m^2 + s^2 + 1)^2 / s^2, nearly: the eigenvalues' sum squared by their product."""
    x = np.random.default_rng(0).normal(92.0, 5.0, 1000)
    expected = (x.mean() ** 2 + x.var() + 1) ** 2 / x.var()
    assert script("beginnings").condition(x) == pytest.approx(expected, rel=1e-3)


def test_a_difference_between_page_and_measurement_is_found(script: Callable) -> None:
    differences = script("page").differences
    printed = {"loss": [0.5, 0.4], "best": "none", "processor_minutes": 1.0}
    assert list(differences(printed, {**printed, "processor_minutes": 9.0})) == []
    assert len(list(differences(printed, {**printed, "loss": [0.5, 0.6]}))) == 1
    assert len(list(differences(printed, {**printed, "best": "center"}))) == 1
    assert len(list(differences(printed, {"loss": [0.5, 0.4]}))) == 1


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run(
    name: str, script: Callable, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own script's line is read; a sweep is cut to two seeds and two epochs."""
    monkeypatch.chdir(tmp_path)
    found = commands(read(name))
    assert ["python", f"docs/{name}.py"] in found
    for words in found:
        if words[1] == f"docs/{name}.py":
            assert set(words[2:]) <= {"--check"}
            continue
        assert words[:3] == ["python", "train.py", "-m"]
        assert words in [script(name).command(one) for one in script(name).SWEEPS]
        shorter = [re.sub(r"^seed=.*", "seed=0,1", word) for word in words[2:]]
        shorter = [word for word in shorter if not word.startswith("trainer.max_epochs=")]
        quiet = ["trainer.enable_progress_bar=false", "trainer.max_epochs=2"]
        ended = train(*shorter, *quiet, cwd=tmp_path)
        assert ended.status == 0, ended.err


def test_some_runs_of_normalization_end_as_its_figures_say(
    script: Callable, train: Train, tmp_path: Path
) -> None:
    printed = script("page").load("normalization")["seed_by_seed"]
    some = ["normalization=center,standardize", "seed=0,1"]
    keys = tuple(word.partition("=")[0] for word in some)
    words = script("normalization").command("strategies")[2:]
    words = [word for word in words if word.partition("=")[0] not in keys]
    assert train(*words, *some, "trainer.enable_progress_bar=false").status == 0
    losses = final_losses(tmp_path, "train")
    assert len(losses) == 4
    for (strategy, seed), loss in losses.items():
        assert loss == pytest.approx(printed[strategy][seed], rel=0.02)


def test_some_runs_of_the_study_end_as_its_figures_say(
    script: Callable, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script("study_tables"), "ROOT", tmp_path)
    printed = script("page").load("study")["tables"]["wine"]["strategies"]["standardize"]
    words = script("study").command("wine")[2:]
    keys = ("normalization", "model.lr", "seed")
    words = [word for word in words if word.partition("=")[0] not in keys]
    some = ["normalization=standardize", f"model.lr={printed['rate']}", "seed=0,1,2"]
    assert train(*words, *some, "trainer.enable_progress_bar=false").status == 0
    losses = final_losses(tmp_path, "test")
    ordered = [losses["standardize", seed] for seed in range(3)]
    assert ordered == pytest.approx(printed["seed_by_seed"], rel=0.02, abs=1e-4)


def test_every_table_of_the_study_can_be_trained_on(
    script: Callable, settings: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = script("study_tables")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(tables.TABLES) >= 6
    for name in tables.TABLES:
        table = load_table(settings(*tables.settings(name, Path("tables"))))
        assert len(table.rows) >= 150, name
        assert 0.25 < table.labels.mean() < 0.75, name
        assert table.schema.is_numeric, name
