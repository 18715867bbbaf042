"""What TensorBoard itself shows of runs and of a sweep: asked over HTTP, then seen in a browser.

One sweep of 2 normalizations x 3 seeds, one run that was ended amid its training, and one run by
itself, with figures.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import pytest
import yaml
from matplotlib.image import imread

from normlab.insight.pictures.dashboard import GROUP
from normlab.insight.sweep import read_sweep
from normlab.model.tasks import Binary
from normlab.training.epochs import Epoch, Epochs
from normlab.training.folder import FINAL_TAGS, RATE_TAG, RunFolder

from ..conftest import QUIET, run_door

N_RUNS, UNFINISHED, ALONE = 6, "ended", "alone"
FIGURES = {"decision", "inputs", "precision_recall", "probabilities", "reliability", "roc"}
TEXTS = {"data", "diagnosis", "inputs", "network", "result", "settings"}
FINALS = [f"{part}_{name}" for part in ("train", "val", "test") for name in ("loss", "accuracy")]
PATIENCE = 60  # seconds

ask = build_opener(ProxyHandler({})).open  # the loopback address needs no proxy


def get(url: str, content: Any = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    with ask(Request(url, data, {"content-type": "application/json"}), timeout=PATIENCE) as reply:
        body = reply.read()
        return json.loads(body) if "json" in reply.headers["content-type"] else body


def wait_for(question: Callable[[], Any]) -> Any:
    """The first true answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(0.3)
    raise AssertionError(f"not so after {PATIENCE} s")


@contextmanager
def server(command: list[str], address: str) -> Iterator[str]:
    """Runs a server, until the caller is done; gives the port that it has chosen."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if port := re.search(address, line):
                yield port[1]
                return
        raise AssertionError("".join(said))
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorboard") / "rates"
    choices = ["normalization=none,standardize", "seed=0,1,2", "trainer.max_epochs=3"]
    assert run_door("-m", *choices, f"hydra.sweep.dir={folder}", *QUIET) == 0
    place = f"hydra.run.dir={folder.parent / ALONE}"
    drawn = ["trainer.max_epochs=3", "figures.every_n_epochs=2"]
    assert run_door(*drawn, place, *QUIET) == 0
    ended = RunFolder(folder / UNFINISHED)
    ended.path.mkdir()
    settings = yaml.safe_load((folder / "0" / "config.yaml").read_text("utf-8"))
    ended.write_settings({**settings, "seed": 9}, Binary.metrics)
    losses = {"lr": 0.01, "train/loss": 0.5, "val/loss": 0.25}
    ended.write(Epochs.of([Epoch(1, time.time(), losses)]))
    return folder


@pytest.fixture(scope="module")
def tensorboard(sweep: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(sweep.parent)]
    command += ["--host", "127.0.0.1", "--port", "0"]
    with server(command, r"http://127\.0\.0\.1:(\d+)/") as port:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: len(get(f"{url}/data/runs")) == N_RUNS + 3)
        wait_for(lambda: len(session_groups(url)) == N_RUNS + 2)
        yield url


def session_groups(url: str) -> list[dict[str, Any]]:
    """The rows of the HParams page."""
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    wanted = {"allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 1000}
    reply = get(f"{url}/data/plugin/hparams/session_groups", {"experimentName": "", **wanted})
    return reply.get("sessionGroups", [])


def test_every_run_has_its_settings_and_final_metrics(sweep: Path, tensorboard: str) -> None:
    groups = {group["name"]: group for group in session_groups(tensorboard)}
    assert groups.pop(ALONE)["sessions"][0]["status"] == "STATUS_SUCCESS"
    assert groups.keys() == {f"rates/{name}" for name in (*map(str, range(N_RUNS)), UNFINISHED)}
    runs = {run.name: run for run in read_sweep(sweep).runs}
    for name, group in groups.items():
        run = runs[name.removeprefix("rates/")]
        shown = group["hparams"]
        assert run.config.keys() == shown.keys()
        assert shown["normalization.name"] == run.config["normalization.name"]
        assert shown["model.lr"] == float(run.config["model.lr"])
        assert shown["seed"] == float(run.config["seed"])
        (session,) = group["sessions"]
        metrics = {metric["name"]["tag"]: metric["value"] for metric in session["metricValues"]}
        assert "hp_metric" not in metrics
        if run.name == UNFINISHED:
            assert metrics == {RATE_TAG: pytest.approx(0.01), "train/loss": 0.5, "val/loss": 0.25}
            continue
        assert session["status"] == "STATUS_SUCCESS"
        assert run.finals is not None
        for final in FINALS:
            value = run.finals[final.replace("_", "/")]
            assert metrics[f"{FINAL_TAGS}{final}"] == pytest.approx(value, rel=1e-6)


def test_the_page_offers_what_differs_first_and_no_more_metrics_than_there_are(
    tensorboard: str,
) -> None:
    reply = get(f"{tensorboard}/data/plugin/hparams/experiment", {"experimentName": ""})
    differing = [info["name"] for info in reply["hparamInfos"] if info["differs"]]
    assert set(differing) == {"normalization.name", "seed", "figures.every_n_epochs"}
    assert [info["name"] for info in reply["hparamInfos"]][: len(differing)] == differing
    tags = {info["name"]["tag"] for info in reply["metricInfos"]}
    # Of these the page of scalars opens the first two: curves are among them.
    groups = sorted({f"{tag.partition('/')[0]}/" for tag in tags})
    assert groups == [FINAL_TAGS, "train/", "units/", "val/", "weights/"]
    first = [info["name"]["tag"] for info in reply["metricInfos"]][:5]  # shown from the start
    assert {f"{FINAL_TAGS}test_{name}" for name in ("loss", "accuracy", "auroc")} <= set(first)
    assert tags >= {f"{FINAL_TAGS}{final}" for final in FINALS}


def test_curves_are_those_of_the_files(sweep: Path, tensorboard: str) -> None:
    run = read_sweep(sweep).runs[0]
    for tag, curve in run.curves.items():
        query = urlencode({"tag": tag, "run": f"rates/{run.name}"})
        points = get(f"{tensorboard}/data/plugin/scalars/scalars?{query}")
        assert [step for _, step, _ in points] == [1, 2, 3]
        np.testing.assert_allclose([value for *_, value in points], curve, rtol=1e-6)


def test_pictures_stand_under_the_sweep(tensorboard: str) -> None:
    by_run = get(f"{tensorboard}/data/plugin/images/tags")
    assert by_run.keys() == {"rates", ALONE}  # none of the sweep's runs
    assert {
        "whole_sweep/loss_over_epochs",
        "whole_sweep/final_loss",
        "whole_sweep/epochs_to_target",
    } == by_run["rates"].keys()
    for tag in by_run["rates"]:
        assert drawn_steps(tensorboard, "rates", tag) == [0]


def drawn_steps(url: str, run: str, tag: str) -> list[int]:
    """The steps of a picture; each is looked at."""
    query = urlencode({"tag": tag, "run": run, "sample": 0})
    samples = get(f"{url}/data/plugin/images/images?{query}")
    for sample in samples:
        image = get(f"{url}/data/plugin/images/individualImage?{sample['query']}")
        pixels = imread(io.BytesIO(image))
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.05  # something is drawn
    return [sample["step"] for sample in samples]


def test_a_run_by_itself_has_figures_by_epoch_and_texts(tensorboard: str) -> None:
    tags = get(f"{tensorboard}/data/plugin/images/tags")[ALONE]
    assert tags.keys() == {f"{GROUP}/{name}" for name in FIGURES}
    assert sorted(["train", "val", GROUP])[-1] == GROUP  # the groups before it are opened
    for tag in tags:
        last_alone = tag == f"{GROUP}/inputs"
        assert drawn_steps(tensorboard, ALONE, tag) == ([3] if last_alone else [2, 3])
    texts = get(f"{tensorboard}/data/plugin/text/tags")
    assert texts == {
        ALONE: unordered([f"run/{name}" for name in TEXTS]),
        "rates": ["whole_sweep/report"],
    }
    shown = {}
    for name in TEXTS:
        query = urlencode({"tag": f"run/{name}", "run": ALONE})
        (event,) = get(f"{tensorboard}/data/plugin/text/text?{query}")
        shown[name] = event["text"]
    assert "<td>heart_rate</td>" in shown["inputs"]
    assert "MLP 1-16-1" in shown["network"]
    assert "<code" in shown["settings"]
    assert "every_n_epochs: 2" in shown["settings"]
    assert "<td>val</td>" in shown["data"]
    assert "decision threshold" in shown["result"]


def unordered(names: list[str]) -> Any:
    """Equal to a list of these in any order."""

    class Unordered(list):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, list) and sorted(other) == sorted(self)

        __hash__ = None  # type: ignore[assignment]

    return Unordered(names)


def test_both_losses_share_a_chart(tensorboard: str) -> None:
    layout = get(f"{tensorboard}/data/plugin/custom_scalars/layout")
    (category,) = layout["category"]  # one, though every run brings it
    charts = {chart["title"]: chart["multiline"]["tag"] for chart in category["chart"]}
    assert list(charts) == ["loss", "accuracy", "auroc"]
    for run in (ALONE, "rates/3"):
        for title, patterns in charts.items():
            found = set()
            for pattern in patterns:
                query = urlencode({"run": run, "tag": pattern})
                reply = get(f"{tensorboard}/data/plugin/custom_scalars/scalars?{query}")
                found |= reply["tag_to_events"].keys()
            assert found == {f"train/{title}", f"val/{title}"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A session of chromedriver, as the address of its HTTP interface."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("chromium and chromedriver are not installed")
    chromium, chromedriver = map(str, programs)
    profile = tmp_path_factory.mktemp("chromium")
    flags = ["headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"]
    flags += ["disable-background-networking", "disable-component-update", "disable-sync"]
    flags += ["no-proxy-server", "window-size=1600,1200", f"user-data-dir={profile}"]
    options = {"binary": chromium, "args": [f"--{flag}" for flag in flags]}
    wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
    with server([chromedriver, "--port=0"], r"started successfully on port (\d+)") as port:
        sessions = f"http://127.0.0.1:{port}/session"
        session = f"{sessions}/{get(sessions, wanted)['value']['sessionId']}"
        yield session
        ask(Request(session, method="DELETE")).close()


# TensorBoard's elements keep their content in shadow trees, which innerText leaves out.
_ALL = """
const found = [];
(function walk(node) {
  if (node.nodeType === Node.TEXT_NODE) found.push(node.textContent.trim());
  if (node.tagName === 'IMG' && node.naturalWidth > 100) found.push('IMAGE ' + node.naturalWidth);
  if (['STYLE', 'SCRIPT', 'TEMPLATE', 'DOM-MODULE'].includes(node.tagName)) return;
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
})(document.body);
return found.filter(text => text);
"""


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("scalars", ["result/test_loss", "train/loss", "train/lr", "rates/0", ALONE]),
        ("timeseries", ["result", "train", GROUP, "whole_sweep", "rates/0", "rates/ended"]),
        ("images", [*(f"{GROUP}/{name}" for name in FIGURES), "IMAGE"]),
        ("images", ["whole_sweep/loss_over_epochs", "IMAGE"]),
        ("custom_scalars", ["train and val", "loss", "accuracy", "auroc", ALONE]),
        ("text", [*(f"run/{name}" for name in TEXTS), "MLP 1-16-1", "decision threshold"]),
        (
            "hparams",
            ["normalization.name", "standardize", "result/test_loss", "rates/5", "rates/ended"],
        ),
    ],
)
def test_a_browser_shows_the_page(
    page: str, words: list[str], browser: str, tensorboard: str, tmp_path: Path
) -> None:
    get(f"{browser}/url", {"url": "about:blank"})
    get(f"{browser}/url", {"url": f"{tensorboard}/#{page}"})

    def seen() -> list[str]:
        texts = get(f"{browser}/execute/sync", {"script": _ALL, "args": []})["value"]
        return texts if all(any(word in text for text in texts) for word in words) else []

    texts = wait_for(seen)
    assert not any("hp_metric" in text or "No dashboards are active" in text for text in texts)
    time.sleep(2)  # charts are drawn bit by bit
    picture = base64.b64decode(get(f"{browser}/screenshot")["value"])
    (tmp_path / f"{page}.png").write_bytes(picture)  # kept by pytest, to be looked at
    assert imread(io.BytesIO(picture))[..., :3].std() > 0.05
