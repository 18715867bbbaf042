"""Every command of the README runs: a section in a folder of its own, its lines in order.

A section's commands may build on one another, and on no other section's. Training is cut to two
epochs; `test_the_table_of_the_readme` trains in full. A line that is neither run here nor listed
in SET_UP fails, so none is passed over in silence.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from normlab.cli import main as normlab

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Sets a machine up, or runs these very tests: `test_project.py` looks at what they do.
SET_UP = {
    "make train",
    "make test",
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    "pip install -c constraints.txt -e .[test]",
}

N_TRIALS = 4  # of a search, instead of the README's

Block = tuple[str, str]  # language, text
Train = Callable[..., Any]


def read_sections(text: str) -> dict[str, list[Block]]:
    """The fenced blocks of each section that has any, by the section's heading."""
    sections: dict[str, list[Block]] = {}
    heading, language, block = "", "", None
    for line in text.splitlines():
        if block is None and line.startswith("```"):
            language, block = line.removeprefix("```"), []
        elif block is not None and line == "```":
            sections.setdefault(heading, []).append((language, "\n".join(block)))
            block = None
        elif block is not None:
            block.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return sections


def read_commands(block: str) -> list[list[str]]:
    """The words of each command, as the shell would pass them on."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


SECTIONS = read_sections(README)


def test_no_block_is_overlooked() -> None:
    found = list(itertools.chain.from_iterable(SECTIONS.values()))
    assert len(found) == README.count("\n```") / 2
    assert {language for language, _ in found} <= {"bash", "python", "text"}
    commands = [
        command for language, text in found if language == "bash" for command in read_commands(text)
    ]
    assert {shlex.join(words).replace("'", "") for words in commands} >= SET_UP


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_runs(
    heading: str, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for language, text in SECTIONS[heading]:
        if language == "python":
            exec(compile(text, "README.md", "exec"), {})
        for command in read_commands(text) if language == "bash" else ():
            perform(command, tmp_path, train)


def test_the_page_can_be_run_from_top_to_bottom() -> None:
    """In one folder, where a second command that makes the same file or folder is refused."""
    made = [
        word
        for blocks in SECTIONS.values()
        for language, text in blocks
        for command in (read_commands(text) if language == "bash" else ())
        for before, word in itertools.pairwise(command)
        if before in ("example", "-o") or word.startswith(("hydra.run.dir=", "hydra.sweep.dir="))
    ]
    assert {"rates.csv", "patients.csv"} <= set(made)
    assert len(made) == len(set(made))


def perform(command: list[str], folder: Path, train: Train) -> None:
    """Does what a command does, without starting an interpreter that imports torch anew."""
    line = shlex.join(command)
    match command:
        case ["python", "train.py", "--help"]:
            assert train("--help", cwd=folder).status == 0
        case ["python", "train.py", *arguments]:
            run_training(arguments, folder, train)
        case ["normlab", *arguments]:
            assert normlab(arguments) == 0, line
        case ["python", "docs/pictures.py", output, *sweeps]:
            (folder / output).unlink()
            subprocess.run([sys.executable, *command[1:]], cwd=folder, check=True)
            assert (folder / output).stat().st_size > 10_000
            assert sweeps
        case ["tensorboard", "--logdir", logdir]:
            assert "TensorBoard" in ask_tensorboard(folder / logdir)
        case ["chromium", *_, page]:
            take_picture(command, folder, folder / page)
        case _:
            assert line.replace("'", "") in SET_UP, f"nothing here runs this line: {line}"


def run_training(arguments: Sequence[str], folder: Path, train: Train) -> None:
    """Two epochs, three seeds, four trials, into a folder that no other run can have taken.

    A run that goes on trains one epoch more, in its own folder.
    """
    before = set(folder.rglob("result.json"))
    arguments = [argument.replace("range(0,50)", "0,1,2") for argument in arguments]
    goes_on = any(argument.startswith("resume=") for argument in arguments)
    shorter = [f"trainer.max_epochs={3 if goes_on else 2}", "trainer.enable_progress_bar=false"]
    place = "hydra.sweep.dir" if "-m" in arguments else "hydra.run.dir"
    if not goes_on and not any(argument.startswith(f"{place}=") for argument in arguments):
        shorter.append(f"{place}=runs/unnamed-{len(before)}")
    with warnings.catch_warnings():
        if "hydra/sweeper=search" in arguments:
            shorter.append(f"hydra.sweeper.n_trials={N_TRIALS}")
            warnings.simplefilter("ignore")  # optuna 2 is older than the sqlalchemy that it uses
        ended = train(*arguments, *shorter, cwd=folder)
    assert ended.status == 0, ended.err
    new = set(folder.rglob("result.json")) - before
    trained = n_combinations(arguments) if "-m" in arguments else 1
    assert len(new) == (0 if goes_on else trained)


def n_combinations(arguments: Sequence[str]) -> int:
    """Jobs of a sweep: a job for each combination of the values that commas separate."""
    if "hydra/sweeper=search" in arguments:
        return N_TRIALS
    return int(np.prod([argument.count(",") + 1 for argument in arguments]))


def take_picture(command: list[str], folder: Path, page: Path) -> None:
    """A browser's picture of a page, where there is a browser."""
    assert page.exists()
    (option,) = (word for word in command if word.startswith("--screenshot="))
    picture = folder / option.partition("=")[2]
    picture.unlink()
    if shutil.which("chromium") is None:
        pytest.skip(f"chromium is not installed; not run: {shlex.join(command)}")
    profile = f"--user-data-dir={folder / 'chromium'}"
    subprocess.run([*command[:-1], profile, str(page)], cwd=folder, check=True, timeout=120)
    assert picture.stat().st_size > 50_000


def ask_tensorboard(logdir: Path) -> str:
    """The page that `tensorboard --logdir` serves on the loopback address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if port := re.search(r"http://localhost:(\d+)/", line):
                    with urllib.request.urlopen(f"http://localhost:{port[1]}/", timeout=30) as page:
                        return page.read().decode()
            raise AssertionError("tensorboard ended without serving on localhost")
        finally:
            server.terminate()


def test_the_folder_of_a_run_holds_what_the_page_says(finished_run: Path) -> None:
    (sentence,) = re.findall(r"^Runs go to.*?events\.", README, flags=re.MULTILINE | re.DOTALL)
    names = re.findall(r"`([\w.]+)/?`", sentence)
    left = {path.name for path in finished_run.iterdir() if "tfevents" not in path.name}
    assert left == set(names)


@pytest.mark.slow
def test_the_table_of_the_readme(tmp_path: Path, train: Train) -> None:
    """The README's medians and quartiles, from its commands in full."""
    first = next(iter(SECTIONS.values()))[0][1]
    for command in read_commands(first):
        if command[:2] == ["python", "train.py"]:
            quiet = "trainer.enable_progress_bar=false"
            assert train(*command[2:], quiet, cwd=tmp_path).status == 0

    rows = re.findall(
        r"^\| ([\w ]+) \| (\w+) \| (\d) of 6 \| ([\d.]+) \[([\d.]+), ([\d.]+)\] \| ([\d.]+) \|$",
        README,
        flags=re.MULTILINE,
    )
    assert len(rows) == 5
    results = read_results(tmp_path)
    for data, normalization, n_stuck, *figures in rows:
        losses, accuracies, entropies = results[data.replace(" ", "_"), normalization]
        quartiles = np.percentile(losses, [50, 25, 75])
        # Raw runs amplify a processor's rounding.
        assert [float(figure) for figure in figures[:3]] == pytest.approx(quartiles, rel=0.05)
        assert float(figures[3]) == pytest.approx(np.median(accuracies), abs=0.002)
        assert int(n_stuck) == np.sum(np.abs(losses / entropies - 1) < 0.02)


def read_results(folder: Path) -> dict[tuple[str, str], np.ndarray]:
    """(loss, accuracy, label entropy) x runs, by data and normalization."""
    results: dict[tuple[str, str], list[list[float]]] = {}
    for path in folder.rglob("result.json"):
        config = yaml.safe_load((path.parent / "config.yaml").read_text(encoding="utf-8"))
        result = json.loads(path.read_text(encoding="utf-8"))
        key = config["data"]["name"], config["normalization"]["name"]
        train = result["train"]
        figures = [train["loss"], train["accuracy"], result["label_entropy"]]
        results.setdefault(key, []).append(figures)
    return {key: np.array(runs).T for key, runs in results.items()}
