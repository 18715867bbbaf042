"""Benchmarks that put clocks on functions of the program find them where they stand."""

from __future__ import annotations

import re

from benchmarks import diagnosis, figures
from normlab.app import run
from normlab.insight.pictures import callback


def test_what_the_diagnosis_benchmark_clocks() -> None:
    for places in diagnosis.clocked_places().values():
        assert places
        for place, name in places:
            assert callable(getattr(place, name))


def test_what_the_figures_benchmark_clocks() -> None:
    found = re.findall(r"timed\((\w+)\.(\w+)\)", figures.TIMED)
    assert len(found) == 3
    for module, name in found:
        assert callable(getattr({"run": run, "callback": callback}[module], name))
