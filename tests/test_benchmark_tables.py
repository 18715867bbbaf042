"""The tables of the benchmarks are what their store holds, in README.md and in docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.rounds import Comparison, Ratio, ratio, spread


def test_the_documents_show_the_stored_results(root: Path) -> None:
    results = tables.load(root / "docs/performance.json")
    page = (root / "docs/performance.md").read_text("utf-8")
    for name, of in results.items():
        assert f"<!-- {name} -->\n{tables.full_table(of)}<!-- end of {name} -->" in page
    assert page.count("<!-- end of ") == len(results)
    all_of_them = [one for of in results.values() for one in of]
    assert tables.summary(all_of_them) in (root / "README.md").read_text("utf-8")


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratio([1.0, 2.0, 9.0], [1.0, 4.0, 3.0]) == Ratio(1.0, 0.5, 3.0)
    assert spread([3.0, 1.0, 2.0]) == Ratio(2.0, 1.0, 3.0)
    assert str(Ratio(0.03125, 0.025, 123.4)) == "0.0312 (0.025-123)"


def test_a_table_says_what_was_missed(tmp_path: Path) -> None:
    slow = Comparison("a step", "by hand", Ratio(3.0, 2.9, 3.1), 2.7)
    fast = Comparison("a step", "by others", Ratio(0.5, 0.4, 0.6), 1.0)
    table = tables.full_table([slow, fast])
    assert "| a step | by hand | 3 (2.9-3.1) | 2.7 | missed |" in table
    assert "| a step | by others | 0.5 (0.4-0.6) | 1 |  |" in table


def test_a_part_of_a_document_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n<!-- y -->\nkept\n<!-- end of y -->\n"
    )
    tables.replace(page, {"x": "new\n", "absent": "lost\n"})
    text = page.read_text()
    assert text == "a\n<!-- x -->\nnew\n<!-- end of x -->\nb\n<!-- y -->\nkept\n<!-- end of y -->\n"


@pytest.mark.parametrize(("aim", "met"), [(None, True), (1.0, True), (0.99, False)])
def test_a_target_is_met_by_the_median(aim: float | None, met: bool) -> None:
    assert Comparison("a", "b", Ratio(1.0, 0.5, 2.0), aim).met is met
