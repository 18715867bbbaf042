"""`normlab inspect`: what it shows, and that its command trains."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normlab.cli import main
from normlab.data.meaning.inspect import inspect_file


@pytest.fixture
def inspect(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: str, status: int = 0) -> str:
        assert main(["inspect", *arguments]) == status
        output = capfd.readouterr()
        return output.err if status else output.out

    return run


def mixed_file(path: Path, n_rows: int = 300) -> Path:
    random = np.random.default_rng(0)
    lines = ["id;my weight;city;label?"]
    for i in range(n_rows):
        weight = "NA" if i % 50 == 0 else f"{random.normal(70, 9):.2f}".replace(".", ",")
        city = random.choice(["Bonn", "Köln", "Trier"])
        lines.append(f"{i};{weight};{city};{'>50K' if random.random() < 0.3 else '<=50K'}")
    path.write_text("\n".join(lines))
    return path


def test_what_it_shows(inspect: Callable[..., str], tmp_path: Path) -> None:
    out = inspect(str(mixed_file(tmp_path / "t.csv")), "--target", "label?")
    assert out.startswith(
        "t.csv: 300 rows x 4 columns, semicolon-separated, decimal comma, a header, UTF-8, LF\n"
    )
    assert "my weight  numeric            6  " in out
    assert "city       categorical        -  " in out
    assert "target label?: <=50K -> 0 (" in out
    assert "! column 'id': is different in every row" in out
    assert "(a guess" not in out


def test_its_command_trains(
    inspect: Callable[..., str], train: Callable[..., Any], tmp_path: Path
) -> None:
    """Also for names that a shell and Hydra would take apart."""
    mixed_file(tmp_path / "my file (1).csv")
    command = inspect(str(tmp_path / "my file (1).csv")).splitlines()[-1]
    python, script, *arguments = shlex.split(command)
    assert (python, script) == ("python", "train.py")
    assert "data.missing=impute" in arguments
    assert "data.drop=[id]" in arguments
    ended = train(*arguments, "trainer.max_epochs=2", "trainer.enable_progress_bar=false")
    assert ended.status == 0, ended.err
    assert "target label?: <=50K -> 0, >50K -> 1" in ended.out
    assert "semicolon-separated, decimal comma" in ended.out
    ended = train(*arguments, "-m", "seed=0,1", "trainer.max_epochs=1", "hydra.sweep.dir=sweep")
    assert ended.status == 0, ended.err  # a sweep's flag, typed behind the command
    assert len(list((ended.cwd / "sweep").glob("*/result.json"))) == 2


def test_options_reach_the_reader_and_the_command(
    inspect: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a|b|c|y\n" + "1|x|-9|p\n2|y|3|q\n3|x|4|r\n" * 30)
    out = inspect(
        *(str(path), "--target", "y", "--positive", "p", "q", "--drop", "b", "--missing-values"),
        *("-9", "--categorical", "a", "--header", "true", "--separator", "pipe"),
    )
    assert "target y: r -> 0 (30 rows, 33.3%), p or q -> 1 (60 rows, 66.7%)" in out
    assert out.splitlines()[-1].split()[4:] == [
        "data.target=y",
        *("data.drop=[b]", "data.categorical=[a]", "data.positive=[p,q]", "data.missing=impute"),
        *("data.missing_values=[-9]", "data.header=true", "data.separator=pipe"),
    ]


def test_without_a_target(inspect: Callable[..., str], tmp_path: Path) -> None:
    """The candidates with the commands that look at each; no command that cannot run."""
    path = tmp_path / "t.csv"
    path.write_text("sick,a,grade\n" + "0,1.5,2\n1,2.5,3\n0,3.5,5\n" * 9)
    out = inspect(str(path))
    assert "python train.py" not in out
    last = out.index("grade: the last column; 3 values: 2, 3, 5")
    two = out.index("sick: one of two values; 2 values: 0, 1")
    assert last < two
    commands = [line.split()[2:] for line in out.splitlines() if "--target" in line]
    assert [words[2] for words in commands] == ["grade", "sick"]
    for words in commands:
        assert f"data.target={words[2]}" in inspect(*words).splitlines()[-1]
    path.write_text("class,b\n" + "x,2\ny,3\nz,2\n")
    out = inspect(str(path), "--target", "class")
    assert "3 different values ('x', 'y', 'z')" in out
    assert "python train.py" not in out
    assert "--target class --positive y z" in out


def test_a_label_that_has_many_rows_of_one_class_first(
    inspect: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1.5,g\n" * 300 + "2.5,h\n" * 300)
    assert "target b (a guess: --target names another): g -> 0 (300 rows" in inspect(str(path))


def test_a_column_of_numbers_and_text_hides_no_other(
    inspect: Callable[..., str], train: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    tickets = [f"A/{i}" if i % 3 else str(90_000 + i) for i in range(120)]
    rows = [f"{i * 7 % 50},{t},{i % 2}" for i, t in enumerate(tickets)]
    path.write_text("\n".join(["age,ticket,sick", *rows]))
    out = inspect(str(path))
    assert "ticket  mixed          -  40 numbers, 80 texts" in out
    assert "line 3, column 'ticket': 'A/1' is text" in out
    command = shlex.split(out.splitlines()[-1])[2:]
    assert "data.drop=[ticket]" in command
    ended = train(*command, "trainer.max_epochs=1", "trainer.enable_progress_bar=false")
    assert ended.status == 0, ended.err


def test_real_tables(inspect: Callable[..., str], real_table: Callable[[str], Path]) -> None:
    out = inspect(str(real_table("heart.csv")))
    assert "303 rows x 15 columns, comma-separated, a header, UTF-8, CRLF" in out
    assert "target AHD (a guess" in out
    assert "Thal       categorical        2  normal 55.1%, reversable 38.9%, fixed 6.0%" in out
    assert out.rstrip().endswith("data.target=AHD data.drop=[0] data.missing=impute")
    out = inspect(str(real_table("pima.csv")))
    assert "768 rows x 9 columns, comma-separated, no header" in out
    assert "5 values are 0 and all others are 44 or more" in out
    assert "normalization=none" not in out  # nobody has chosen it
    assert out.rstrip().endswith("data.target=8")
    assert "13: the last column; 5 values: 0, 1, 2, 3, 4" in inspect(
        str(real_table("cleveland_raw.csv"))
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,y\n1,0\n2\n3,1\n", "line 3: too few cells"),
        (b"a,y\n1,0\n1e300,1\n", "line 3, column 'a': '1e300' is too large"),
    ],
)
def test_what_it_refuses(
    inspect: Callable[..., str], tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert message in inspect(str(path), status=1)
    assert "Cannot read" in inspect(str(tmp_path / "nowhere.csv"), status=1)


def test_a_large_file_takes_a_moment(tmp_path: Path) -> None:
    """100,000 rows of 10 numbers and 3 categories in a second of processor time."""
    random = np.random.default_rng(0)
    path = tmp_path / "t.csv"
    numbers = random.normal(50, 9, (100_000, 10)).round(3).tolist()
    words = random.choice(["a", "b", "c", "d"], (100_000, 3)).tolist()
    labels = random.choice(["no", "yes"], 100_000).tolist()
    with path.open("w") as file:
        file.write(",".join([*(f"x{i}" for i in range(13)), "y"]) + "\n")
        for row, some, label in zip(numbers, words, labels, strict=True):
            file.write(",".join([*map(str, row), *some, label]) + "\n")
    started = time.process_time()
    inspect_file(path, "y")
    assert time.process_time() - started < 2  # of two cores: below a second each


def test_no_torch(tmp_path: Path) -> None:
    path = mixed_file(tmp_path / "t.csv")
    program = (
        "import sys; from normlab.cli import main\n"
        f"assert main(['inspect', {str(path)!r}]) == 0\n"
        "heavy = {'torch', 'lightning', 'hydra', 'omegaconf', 'pydantic', 'sklearn', 'scipy'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
