"""The command `normlab`: its exit statuses, and what it must not import to answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from normlab.cli import main


def test_a_users_error_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("normlab: no folder ")
    assert "Traceback" not in output.err


@pytest.mark.parametrize(
    "arguments", [[], ["reprot"], ["report"], ["report", ".", "--target-loss", "-1"]]
)
def test_a_mistyped_command_is_exit_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for argument, words in (("--version", "normlab "), ("--help", "report")):
        with pytest.raises(SystemExit) as exit_:
            main([argument])
        assert exit_.value.code == 0
        assert words in capsys.readouterr().out


def test_help_imports_nothing_heavy_and_a_report_no_torch() -> None:
    code = (
        "import sys, normlab.cli\n"
        "heavy = {'numpy', 'scipy', 'matplotlib', 'polars', 'torch', 'lightning', 'hydra'}\n"
        "normlab.cli._parser().format_help()\n"
        "assert not heavy & sys.modules.keys()\n"
        "import normlab.insight.report, normlab.data.examples, normlab.data.file.writing\n"
        "assert not {'torch', 'lightning', 'hydra', 'matplotlib.pyplot'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("process_restored")
def test_train_hands_its_arguments_to_the_door(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Options are the door's own too; one message, and nothing left behind."""
    monkeypatch.chdir(tmp_path)
    sys.argv = ["normlab"]
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    for arguments, message in (
        (["model.lrr=1"], "model.lrr is not a setting; did you mean model.lr?"),
        (["-m", "seed=0,1", "model.lr=-1"], "job 0 (seed=0 model.lr=-1): model.lr=-1: should be"),
        (["resume=nowhere"], "resume=nowhere: no such folder of a run or a sweep"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["train", *arguments])
        assert end.value.code == 1
        assert capsys.readouterr().err.startswith(f"normlab: {message}")
    assert list(tmp_path.iterdir()) == []
