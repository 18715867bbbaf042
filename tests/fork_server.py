"""A process that has imported everything, and forks a run of train.py whenever it is asked to.

Importing torch and Lightning takes seconds, and a test that kills a run takes dozens of runs. Asked
by lines of JSON on its standard input, it answers on its standard output: the process that was
started, and later how it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
QUIET = "trainer.enable_progress_bar=false"


def main() -> None:
    """The server's side."""
    import hydra  # noqa: F401
    import torch

    import normlab.app.run
    import normlab.insight.report  # noqa: F401

    torch.set_num_threads(1)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a first run says, that warms up what is made once in a process
    with tempfile.TemporaryDirectory() as folder:
        _run([f"hydra.run.dir={folder}/run", "trainer.max_epochs=1", "data.rows=50", QUIET], "")
    os.dup2(answers, 1)
    _answer(ready=True)
    children: set[int] = set()
    while True:
        asked, _, _ = select.select([sys.stdin], [], [], 0.005)
        if asked:
            line = sys.stdin.readline()
            if not line:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            pid = _fork(**json.loads(line))
            children.add(pid)
            _answer(pid=pid)
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                children.discard(pid)
                _answer(ended=pid, status=os.waitstatus_to_exitcode(status))


def _answer(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def _fork(arguments: list[str], cwd: str, output: str, first: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(cwd)
        code = _run(arguments, first)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str], first: str) -> int:
    import runpy
    import traceback

    sys.argv = [str(ROOT / "train.py"), *arguments]
    try:
        exec(first, {})
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@dataclass
class Started:
    """A run that was asked for."""

    pid: int
    output: Path
    server: ForkServer

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(self.pid, number)

    def wait(self, timeout: float = 60.0) -> int:
        """The exit status, -9 after a SIGKILL."""
        return self.server.status_of(self.pid, timeout)

    def running(self) -> bool:
        self.server.hear()
        return self.pid not in self.server.statuses

    @property
    def text(self) -> str:
        """What it has said on both its streams."""
        return self.output.read_text("utf-8", "backslashreplace")


@dataclass
class ForkServer:
    """The tests' side."""

    folder: Path
    statuses: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONWARNINGS": "ignore",
                "OMP_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",  # what a process has opened there, its forks cannot use
            },
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._said.get(timeout=120)["ready"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))

    def run(self, *arguments: str, cwd: Path, first: str = "") -> Started:
        """Starts `python train.py ARGUMENTS`.

        Args:
            first: Python code that the process executes before.
        """
        self._count += 1
        output = self.folder / f"output_{self._count}"
        output.touch()
        order = {
            "arguments": list(arguments),
            "cwd": str(cwd),
            "output": str(output),
            "first": first,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        while True:
            message = self._said.get(timeout=60)
            if "pid" in message:
                return Started(message["pid"], output, self)
            self.statuses[message["ended"]] = message["status"]

    def hear(self) -> None:
        """Takes note of what has ended by now."""
        while not self._said.empty():
            message = self._said.get()
            self.statuses[message["ended"]] = message["status"]

    def status_of(self, pid: int, timeout: float) -> int:
        while pid not in self.statuses:
            message = self._said.get(timeout=timeout)
            self.statuses[message["ended"]] = message["status"]
        return self.statuses[pid]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._reader.join(timeout=30)
        self._process.stdout.close()


if __name__ == "__main__":
    main()
