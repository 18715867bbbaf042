"""The promises about what is not lost and what does no harm, each tried, with figures.

python benchmarks/promises.py           # all but those of memory, about a minute
python benchmarks/promises.py --slow    # with a thousand epochs and a thousand runs
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests" / "test_promises.py"
# A promise, how it is tested, the tests whose names begin so, and their figures in words.
PROMISES = [
    ("a killed run or sweep goes on to the same bits",
     "`kill -9` at random moments and file operations, resumed after each",
     ("test_a_killed", "test_a_run_killed", "test_more_epochs"), "{kills} kills survived"),
    ("Ctrl-C and SIGTERM leave a checkpoint and the way on; a second Ctrl-C ends at once",
     "signals to runs, sweeps, a stuck epoch",
     ("test_a_signal", "test_a_second"), "{tests} cases"),
    ("a full disk, a vanished folder: one message, the last checkpoint whole",
     "limits on files' sizes, a tmpfs of 60 kB",
     ("test_a_full_disk", "test_a_disk", "test_a_folder"), "{tests} cases"),
    ("a bad checkpoint is one message, nothing in it runs",
     "planted payloads, cut files, random bytes",
     ("test_a_bad", "test_any_bytes"), "{bad_files} bad files, {bytes} bytes fuzzed"),
    ("no setting names a class to import; no port is opened",
     "planted `_target_`s; an audit of sockets",
     ("test_no_", "test_the_page"), "{tests} cases"),
    ("a loss that turns nan or infinite ends its run alone", "a sweep with a rate far too high",
     ("test_a_run_that_diverges",), "{tests} case"),
    ("runs of one second get folders of their own; any name works", "a frozen clock, odd names",
     ("test_runs_of", "test_names"), "{tests} cases"),
    ("memory stays flat over 1,000 epochs and 1,000 runs", "resident MB, a fifth of the way -> end",
     ("test_memory",), "epochs {epochs_mb}, runs {runs_mb}"),
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--slow", action="store_true", help="with the thousand epochs and runs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1"]
        command += [f"--junitxml={report}", str(TESTS)]
        status = subprocess.run(
            [*command, *([] if options.slow else ["-m", "not slow"])]
        ).returncode
        if not report.exists():
            return status
        cases = list(ElementTree.parse(report).iter("testcase"))
    print("\n| promise | how it is tested | figures |\n| --- | --- | --- |")
    for promise, how, names, figures in PROMISES:
        mine = [case for case in cases if case.get("name", "").startswith(names)]
        if mine:
            print(f"| {promise} | {how} | {figures.format_map(_figures(mine))} |")
    return status


def _figures(cases: Sequence[ElementTree.Element]) -> dict[str, str]:
    """What the tests have noted, added up; and how many of them have passed."""
    counts: dict[str, int] = defaultdict(int)
    texts: dict[str, str] = {}
    for case in cases:
        failed = case.find("failure") is not None or case.find("error") is not None
        counts["failed"] += failed
        counts["tests"] += not failed and case.find("skipped") is None
        for note in case.iter("property"):
            name, value = note.get("name", ""), note.get("value", "")
            if value.isdecimal():
                counts[name] += int(value)
            else:
                texts[name] = value
    told = defaultdict(lambda: "-", {name: f"{n:,}" for name, n in counts.items()}, **texts)
    if counts["failed"]:
        told["tests"] += f" (and {counts['failed']} FAILED)"
    return told


if __name__ == "__main__":
    sys.exit(main())
