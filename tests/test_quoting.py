"""What is printed as a command line means, to a shell and then to Hydra, what it says."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from normlab.config.typed import setting, shell_quoted

AWKWARD = ["a b", "größe", ">50K", "<=50K", "A,B", "it's", 'say "x"', "[x]", "a=b", "1e5", "007",
           "true", "null", "nan", "\\", "a\\'", "$HOME", "`x`", "!", "", " x", "x:y", "~/x.csv",
           "-", "{a}", "${x}", "#", "a\\b", "1_0", "50K"]  # fmt: skip


def meant(word: str) -> object:
    (override,) = OverridesParser.create().parse_overrides([word])
    return override.value()


@pytest.mark.parametrize("value", [*AWKWARD, "plain", "a-b.csv", "/x/y_z.csv"])
def test_a_text_stays_that_text(value: str) -> None:
    (word,) = shlex.split(setting("data.target", value))
    assert meant(word) == value
    (word,) = shlex.split(setting("data.drop", [value, "b", value]))
    assert meant(word) == [value, "b", value]


def test_plain_words_stand_as_they_are() -> None:
    assert setting("data.target", "AHD") == "data.target=AHD"
    assert setting("data.drop", ["0", "a_b"]) == "data.drop=[0,a_b]"
    assert setting("data.target", ">50K") == "\"data.target='>50K'\""
    assert setting("data.val_fraction", 0.5) == "data.val_fraction=0.5"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text(text: str) -> None:
    (word,) = shlex.split(setting("data.target", text))
    value = meant(word)
    assert value == text or (isinstance(value, int) and str(value) == text)


def test_a_shell_agrees() -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    words = [shell_quoted(f"k='{text}'") for text in AWKWARD]
    done = subprocess.run(
        ["bash", "-c", "printf '%s\\n' " + " ".join(words)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"k='{text}'" for text in AWKWARD]
