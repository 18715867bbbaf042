"""YAML written entry by entry reads as what was given."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from normlab import files
from normlab.files import to_yaml

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
