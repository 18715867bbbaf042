"""What the README, pyproject.toml, constraints.txt, the Makefile and .ci/run say of one another.

And where things stand in src/, and in the wheel.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OLDEST_PYTHON = PROJECT["requires-python"].removeprefix(">=")

# What only some builds of torch bring.
OF_A_DEVICE = ("nvidia-", "cuda-", "triton")


def read_pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    # A name and a plain version: no build (+cpu), no address, no path, no hash.
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==\d[\d.]*", pin)] == []
    pairs = [pin.split("==") for pin in pins]
    assert len(pairs) == len(dict(pairs)), "a package is pinned twice"
    return {canonicalize_name(name): version for name, version in pairs}


def requirements() -> list[Requirement]:
    """The direct ones, with those of the tests."""
    extras = PROJECT["optional-dependencies"]
    found = [Requirement(name) for name in PROJECT["dependencies"] + extras["test"]]
    own = [extra for one in found if one.name == PROJECT["name"] for extra in one.extras]
    found = [one for one in found if one.name != PROJECT["name"]]
    return found + [Requirement(name) for extra in own for name in extras[extra]]


def all_brought(roots: list[Requirement]) -> Iterator[str]:
    """Names of everything that some requirements bring, as it is installed here."""
    waiting = [(root.name, frozenset(root.extras)) for root in roots]
    seen = set()
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        name, extras = package
        yield canonicalize_name(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                waiting.append((needed.name, frozenset(needed.extras)))


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    pins = read_pins()
    for requirement in requirements():
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} excludes {version}"


def test_everything_they_bring_is_pinned() -> None:
    brought = {n for n in all_brought(requirements()) if not n.startswith(OF_A_DEVICE)}
    assert brought - read_pins().keys() == set()


def test_readme_and_make_know_the_oldest_python(tmp_path: Path) -> None:
    assert f"Python {OLDEST_PYTHON} or newer" in README
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    made = make("train", "PYTHON=false", cwd=tmp_path)
    assert made.returncode != 0
    assert f"normlab needs Python {OLDEST_PYTHON} or newer" in made.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("target", ["train", "test", "lint"])
def test_make_sets_up_as_the_readme_does_by_hand(target: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    plan = make("-n", target, "ARGS=some=thing", cwd=tmp_path).stdout
    install = "pip install -c constraints.txt -e '.[test]'"
    assert install in plan
    assert install in README
    does = {
        "train": "train.py some=thing",
        "test": "pytest -n auto --maxprocesses 4 some=thing",
        "lint": "pyright",
    }
    assert does[target] in plan
    assert f"make {target}" in make(cwd=tmp_path).stdout


def make(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # Not the flags of a `make test` that runs these tests.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    environ = {key: value for key, value in environ.items() if key != "MFLAGS"}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )


def test_ci_runs_the_tests_as_the_readme_does_alone_and_then_the_linters() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[:1] == ["#!/usr/bin/env bash"]
    made = [line for line in lines if line.startswith("make ")]
    assert made == ["make test", 'make test ARGS="-m shared"', "make lint"]
    text = "\n".join(lines)
    assert text.index("git clone") < text.index("\nmake test\n") < text.index("ln -s")
    assert re.search(r"^make test\b", README, flags=re.MULTILINE)
    subprocess.run(["bash", "-n", script], check=True)


def test_the_files_that_the_readme_shows_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    someones = re.compile(rf"{re.escape(str(ROOT))}\b|/(?:home|root|Users|work|mnt)/\w".encode())
    files = (ROOT / name for name in listed.stdout.split("\0") if name)
    found = [str(file) for file in files if file.is_file() and someones.search(file.read_bytes())]
    assert found == []


# src/


PACKAGE = ROOT / "src" / "normlab"
SOURCES = [ROOT / "train.py", *sorted((ROOT / "src").rglob("*.py"))]
# Where a command line becomes settings; everything behind takes these.
OF_HYDRA = {"train.py", "src/normlab/app/hydra_app.py"}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_hydra_ends_at_the_door() -> None:
    knows = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if imported(path) & {"hydra", "omegaconf", "hydra_plugins"}
    }
    plugin = {name for name in knows if name.startswith("src/hydra_plugins/")}
    assert knows - plugin <= OF_HYDRA
    assert plugin


def test_settings_and_training_from_python_need_no_hydra() -> None:
    """Nor does anything that a training imports on its way."""
    code = (
        "import sys, normlab; settings = normlab.settings('data.rows=60', 'trainer.max_epochs=1')\n"
        "assert not {'torch', 'numpy', 'hydra', 'omegaconf'} & sys.modules.keys()\n"
        "normlab.train(settings)\n"
        "assert not {'hydra', 'omegaconf'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_few_files_lie_at_the_top_and_none_is_long() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 10
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path.name: n for path, n in lines.items() if n > 275} == {}


# The wheel


def test_normlab_train_from_a_wheel_is_train_py(train: Callable[..., Any], tmp_path: Path) -> None:
    """Built from this tree, unpacked elsewhere, started in a folder without conf/."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("src", "conf"):
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=left_out)
    build = "from setuptools.build_meta import build_wheel; build_wheel('wheel')"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
    (wheel,) = (tree / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.endswith(".yaml")}
        archive.extractall(tmp_path / "installed")
    conf = {f"normlab/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert held == conf
    shutil.rmtree(tree)

    arguments = ("data.rows=200", "trainer.max_epochs=2", "trainer.enable_progress_bar=false")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "normlab.cli", "train", *arguments, "hydra.run.dir=run"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert train(*arguments, "hydra.run.dir=run").status == 0
    for name in ("metrics.csv", "config.yaml", ".hydra/overrides.yaml", ".hydra/config.yaml"):
        one, other = (place / "run" / name for place in (elsewhere, tmp_path))
        assert one.read_bytes() == other.read_bytes()
    made = [
        {path.name for path in (place / "run").rglob("*") if "events" not in path.name}
        for place in (elsewhere, tmp_path)
    ]
    assert made[0] == made[1]
    installed = str(tmp_path / "installed" / "normlab" / "conf")
    assert installed in (elsewhere / "run/.hydra/hydra.yaml").read_text("utf-8")
