"""Files are whole or not there, whatever fails meanwhile; YAML reads as what was given."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from normlab import files
from normlab.errors import UserError
from normlab.files import append_whole, force_to_disk, to_yaml, write_durably

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes one of the calls of `os` fail as on a full disk."""

    def fail(call: str) -> None:
        def refuse(*args: Any) -> None:
            raise FULL

        monkeypatch.setattr(files.os, call, refuse)

    return fail


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failing: Callable[[str], None], call: str
) -> None:
    path = tmp_path / "result.json"
    write_durably(path, "old")
    failing(call)
    with pytest.raises(UserError, match=f"Cannot write {path}: No space left on device"):
        write_durably(path, "new and longer")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the calls: a machine that stops in between has the old file."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        calls.append(f"fsync of {os.fstat(handle).st_size}")
        fsync(handle)

    def replaced(source: Path, target: Path) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "replace", replaced)
    write_durably(tmp_path / "a", b"12345")
    assert calls == ["fsync of 5", "rename"]


def test_an_interruption_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        raise SystemExit(130)

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(SystemExit):
        write_durably(tmp_path / "a", "text")
    assert not list(tmp_path.iterdir())


@given(parts=st.lists(st.binary(max_size=50), max_size=5))
def test_additions_follow_one_another(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("grown") / "file"
    for part in parts:
        append_whole(path, part)
    assert not parts or path.read_bytes() == b"".join(parts)


def test_an_addition_that_the_disk_takes_in_part_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with 10 bytes left, under the program's own calls."""
    path = tmp_path / "metrics.csv"
    append_whole(path, b"epoch,loss\n")
    opened = Path.open
    left = [10]

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, data: bytes) -> int:
            if left[0] == 0:
                raise FULL
            taken = self.file.write(data[: left[0]])
            left[0] -= taken
            return taken

    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Full(opened(self, *a, **k)))
    append_whole(path, b"1,0.5\n")
    with pytest.raises(UserError, match="No space left on device"):
        append_whole(path, b"2,0.25\n")
    monkeypatch.undo()
    assert path.read_bytes() == b"epoch,loss\n1,0.5\n"


def test_a_folder_that_has_vanished_is_named(tmp_path: Path) -> None:
    for write in (write_durably, append_whole):
        with pytest.raises(UserError, match=r"Cannot write .*gone.*: No such file or directory"):
            write(tmp_path / "gone/file", b"x")


def test_what_was_added_is_forced_to_the_disk(
    tmp_path: Path, failing: Callable[[str], None]
) -> None:
    path = tmp_path / "metrics.csv"
    force_to_disk(path)  # no file, nothing to lose
    append_whole(path, b"1")
    force_to_disk(path)
    failing("fsync")
    with pytest.raises(UserError, match=f"Cannot write {path}: No space left on device"):
        force_to_disk(path)


# YAML

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(st.dictionaries(texts, plain))
def test_it_reads_as_what_was_written(content: dict[str, Any]) -> None:
    assert yaml.load(to_yaml(content), yaml.CSafeLoader) == content
    assert yaml.load(to_yaml(content, under="all"), yaml.CSafeLoader) == {"all": content}


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", "true", None, "null", [1], ["1"]])
def test_values_that_look_alike_stay_apart(value: Any) -> None:
    for other in (True, 1, 1.0, "1", "true", None, "null", [1], ["1"]):
        to_yaml({"a": other})
    read = yaml.load(to_yaml({"a": value}), yaml.CSafeLoader)["a"]
    assert (type(read), read) == (type(value), value)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_KNOWN", 3)
    for i in range(10):
        assert to_yaml({"a": i, "b": "same"}) == f"a: {i}\nb: same\n"
        assert len(files._known) <= 3


def test_entries_stand_in_their_order_as_the_library_writes_them() -> None:
    content = {"b": {"d": [1, {"x": "long " * 40}]}, "a": "two\nlines", "c": {}}
    whole = yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    assert to_yaml(content) == whole
