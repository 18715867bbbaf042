"""The report of sweeps whose answer is known: planted winners, equal settings, too few runs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from normlab.errors import UserError
from normlab.insight.figures import figures
from normlab.insight.report import report
from normlab.insight.standings import Standings, rank
from normlab.insight.sweep import read_sweep
from normlab.insight.words import headline, notes

from .conftest import ENTROPY, AddRun


def ranked(sweep_dir: Path, *tune: str, target: float | None = None) -> Standings:
    return rank(read_sweep(sweep_dir), tune or ("model.lr",), target)


def test_a_planted_winner_wins_and_its_figures_are_numpys(sweep_dir: Path, add_run: AddRun) -> None:
    rng = np.random.default_rng(0)
    losses = {"standardize": rng.uniform(0.02, 0.04, 8), "none": rng.uniform(0.3, 0.7, 8)}
    for normalization, values in losses.items():
        for seed, loss in enumerate(values):
            add_run(float(loss), seed=seed, normalization=normalization)
    standings = ranked(sweep_dir)
    assert [row.label for row in standings.rows] == [f"normalization={n}" for n in losses]
    for row, values in zip(standings.rows, losses.values(), strict=True):
        summary = row.measures["test/loss"]
        assert summary.median == pytest.approx(np.median(values))
        assert (summary.q1, summary.q3) == pytest.approx(tuple(np.quantile(values, [0.25, 0.75])))
    (sentence,) = headline(standings)
    assert sentence.startswith("normalization=standardize won: ")
    assert "8 of 8 paired seeds" in sentence
    assert standings.rows[1].nothing.count == np.sum(losses["none"] >= 0.98 * ENTROPY)


def test_equal_settings_cannot_be_told_apart(sweep_dir: Path, add_run: AddRun) -> None:
    for seed, (a, b) in enumerate([(1, 2), (2, 1), (1, 2), (2, 1), (3, 3), (1, 2), (2, 1)]):
        add_run(a / 100, seed=seed, normalization="minmax")
        add_run(b / 100, seed=seed, normalization="robust")
    standings = ranked(sweep_dir)
    assert standings.verdicts[0].outcome == "even"
    assert "cannot tell" in headline(standings)[0]
    fight = standings.rows[0].duel
    assert fight is not None
    assert fight.wins.count == 3.5


def headline_of(sweep_dir: Path) -> str:
    """The one sentence on top of report.md, without its Markdown."""
    report(sweep_dir)
    (sentence,) = re.findall(r"^\*\*(.*)\*\*$", (sweep_dir / "report.md").read_text(), re.M)
    return sentence.replace("\\", "")


@pytest.mark.parametrize("third", [None, 0.0, 1.0])
def test_the_winner_is_that_of_the_pairs_and_not_of_the_medians(
    sweep_dir: Path, add_run: AddRun, third: float | None
) -> None:
    """Lower in 10 of 11 seeds, and yet of the higher median."""
    for seed in range(11):
        loss = 0.1 + 0.05 * seed
        add_run(loss, seed, "none")
        add_run(0.9 if seed == 0 else loss - 0.01, seed, "robust")
        if third is not None:  # beats both in every seed but one, or comes last
            add_run(0.95 if seed == 0 else loss - 0.02 + third, seed, "minmax")
    winner, loser = ("minmax", "robust") if third == 0 else ("robust", "none")
    sentence = headline_of(sweep_dir)
    assert sentence.startswith(f"normalization={winner} won: ")
    assert f"of the best other, normalization={loser}; lower in 1" in sentence
    assert "of 11 paired seeds" in sentence
    table = (sweep_dir / "report.md").read_text().split("## Comparison")[1]
    ranks = re.findall(r"^\| (none|robust|minmax) ", table, re.M)
    assert ranks[:2] == [winner, loser]
    standings = ranked(sweep_dir)
    medians = [row.measures["test/loss"].median for row in standings.rows]
    assert medians[-2 if third else -1] == min(medians)


@pytest.mark.parametrize(
    ("seeds", "other_seeds", "outcome"),
    [
        (5, range(5), "few"),
        (9, range(20, 29), "unpaired"),
        (9, range(6, 15), "few"),
        (6, (), "alone"),
    ],
)
def test_no_winner_from_few_or_unpaired_runs(
    sweep_dir: Path, add_run: AddRun, seeds: int, other_seeds: Sequence[int], outcome: str
) -> None:
    for seed in range(seeds):
        add_run(0.01, seed=seed, normalization="standardize")
    for seed in other_seeds:
        add_run(0.6, seed=seed, normalization="none")
    standings = ranked(sweep_dir)
    assert standings.verdicts[0].outcome == outcome
    assert " won" not in headline(standings)[0]


def test_one_lucky_run_is_nobodys_yardstick(sweep_dir: Path, add_run: AddRun) -> None:
    add_run(0.001, seed=0, normalization="robust")
    for seed in range(6):
        add_run(0.1, seed=seed, normalization="standardize")
        add_run(0.2, seed=seed, normalization="none")
    standings = ranked(sweep_dir)
    assert [row.label.split("=")[1] for row in standings.rows] == ["standardize", "none", "robust"]
    assert standings.rows[0].opponent == "normalization=none"
    assert "standardize won" in headline(standings)[0]
    assert any("Ranked last" in note and "robust" in note for note in notes(standings))


def test_runs_without_a_fixed_seed_are_not_paired(sweep_dir: Path, add_run: AddRun) -> None:
    for _ in range(7):
        add_run(0.01, seed=None, normalization="standardize")
        add_run(0.6, seed=None, normalization="none")
    assert ranked(sweep_dir).verdicts[0].outcome == "unpaired"


def test_each_strategy_at_the_rate_that_validation_chose(sweep_dir: Path, add_run: AddRun) -> None:
    # On validation 0.01 is best for both, on the test split 0.1 would be: it must not choose.
    for seed in range(6):
        for normalization, shift in (("none", 0.2), ("standardize", 0.1)):
            for lr, val, test in ((0.001, 0.5, 0.5), (0.01, 0.1, 0.3), (0.1, 0.2, 0.01)):
                add_run(
                    1.0, seed, normalization, lr, val=val + shift, test=test + shift + seed / 1000
                )
    standings = ranked(sweep_dir)
    assert [row.values["model.lr"] for row in standings.best] == ["0.01", "0.01"]
    assert len(standings.rows) == 6
    assert standings.best[0].opponent == "normalization=none, lr=0.01"
    said = " ".join(notes(standings))
    assert "best learning rate, chosen by the median validation loss" in said
    assert "edge" not in said
    assert "Compared at one" not in said
    assert {"sensitivity", "heat_map"} <= figures(standings).keys()
    assert ranked(sweep_dir, "model.hidden").best[0].values["model.lr"] == "0.1"  # by test alone


def test_the_best_rate_at_the_edge_is_said(sweep_dir: Path, add_run: AddRun) -> None:
    for normalization in ("none", "robust"):
        for lr, loss in ((0.001, 0.3), (0.01, 0.2), (0.1, 0.1)):
            add_run(loss, 0, normalization, lr)
    assert any("edge" in note for note in notes(ranked(sweep_dir)))


def test_a_choice_on_training_rows_is_said(sweep_dir: Path, add_run: AddRun) -> None:
    for normalization in ("none", "robust"):
        for lr in (0.1, 0.2):
            add_run(0.1, 0, normalization, lr, splits=("train",))
    standings = ranked(sweep_dir)
    assert (standings.criterion, standings.selection) == ("train/loss", "train/loss")
    said = " ".join(notes(standings))
    assert "choice was made on training rows" in said
    assert "says nothing about new rows" in said


def test_one_learning_rate_is_said(sweep_dir: Path, add_run: AddRun) -> None:
    for normalization in ("none", "robust"):
        add_run(0.1, 0, normalization, lr=0.01)
    assert "Compared at one learning rate, 0.01: another rate may rank them differently." in notes(
        ranked(sweep_dir)
    )


def test_rates_alone_are_compared_themselves(sweep_dir: Path, add_run: AddRun) -> None:
    for seed in range(6):
        add_run(0.1, seed, lr=0.1)
        add_run(0.2, seed, lr=0.01)
    standings = ranked(sweep_dir)
    assert headline(standings)[0].startswith("lr=0.1 won")
    assert not standings.tuned
    assert "sensitivity" in figures(standings)


def test_losses_on_different_data_are_not_compared(sweep_dir: Path, add_run: AddRun) -> None:
    for data, shift in (("circles", 0.0), ("heart_rate", 0.3)):
        for normalization, loss in (("none", 0.2), ("robust", 0.1)):
            for seed in range(6):
                extra = {"data": {"name": data, "seed": 1}}
                add_run(loss + shift, seed, normalization, extra=extra)
    first, second = headline(ranked(sweep_dir))
    assert first.startswith("On data=circles: normalization=robust won")
    assert second.startswith("On data=heart_rate: normalization=robust won")


def test_epochs_to_the_target(
    sweep_dir: Path, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")  # narrower tables wrap elsewhere
    for seed, curve in enumerate([(0.5, 0.06), (0.06, 0.01), (0.5, 0.5)]):
        add_run(0.1, seed, curve=curve)
    for seed in range(3):
        add_run(0.2, seed, normalization="robust", curve=(0.5, 0.06) if seed == 0 else (0.5, 0.5))
    fast, slow = ranked(sweep_dir).rows
    assert (fast.epochs.median, fast.reached.count) == (2.0, 2)
    assert (slow.epochs.median, slow.reached.count) == (np.inf, 1)
    text = report(sweep_dir).text
    assert re.search(r"never .*\n.*\[1 of 3 did\]", text)
    assert ranked(sweep_dir, target=0.02).rows[0].reached.count == 1


def test_a_running_sweep(sweep_dir: Path, add_run: AddRun) -> None:
    add_run(0.1, 0)
    add_run(None, 1)
    add_run(None, 0, normalization="robust")
    text = report(sweep_dir).text
    assert "No setting has 3 finished runs" in text
    assert "2 of 3 runs are unfinished (running or failed) and not counted: 1, 2." in text
    assert "Only one setting has finished runs" in text


def test_a_sweep_that_has_just_begun(sweep_dir: Path, add_run: AddRun) -> None:
    (add_run(None) / "metrics.csv").unlink()
    assert "No run has finished yet" in report(sweep_dir).text
    add_run(None, normalization="robust", curve=(0.5,))
    assert report(sweep_dir).figures.keys() == {"loss_over_epochs"}


def test_diverged_runs_lose_and_are_shown(sweep_dir: Path, add_run: AddRun) -> None:
    for seed in range(6):
        add_run(0.1, seed, curve=(0.7, 0.2))
        add_run(float("nan"), seed, normalization="robust", curve=(0.7, float("nan")))
    result = report(sweep_dir)
    assert "normalization=none won" in result.text
    assert "inf" in result.text


def test_a_diverged_cell_is_told_from_one_that_was_not_run(
    sweep_dir: Path, add_run: AddRun
) -> None:
    for normalization, lr, loss in (
        ("none", 0.01, 0.3), ("none", 0.1, float("nan")), ("robust", 0.01, 0.2),
    ):  # fmt: skip
        for seed in range(3):
            add_run(loss, seed, normalization, lr)
    picture = report(sweep_dir).figures["heat_map"]
    panel = picture.axes[0]
    across, down = (
        [text.get_text() for text in axis.get_ticklabels()] for axis in (panel.xaxis, panel.yaxis)
    )
    words = {
        (down[int(text.xy[1])], across[int(text.xy[0])]): text.get_text()
        for text in panel.texts
        if isinstance(text, Annotation)
    }
    assert words == {
        ("none", "0.01"): "0.3", ("none", "0.1"): "diverged", ("robust", "0.01"): "0.2",
    }  # fmt: skip
    ((x, y),) = (patch.get_xy() for patch in panel.patches if isinstance(patch, Rectangle))
    assert (down[int(y)], across[int(x)]) == ("none", "0.1")
    caption = (sweep_dir / "report.html").read_text().split("Bright is low.")[1]
    assert "diverged" in caption.split("</figcaption>")[0]


def test_the_table_of_runs(sweep_dir: Path, add_run: AddRun) -> None:
    add_run(0.25, 3, lr=0.1, curve=(0.7, 0.01))
    add_run(None, 4, lr=0.2)
    report(sweep_dir)
    with (sweep_dir / "report.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["run"], first["finished"], first["seed"]) == ("0", "true", "3")
    assert (first["model.lr"], first["test/loss"], first["test/auroc"]) == ("0.1", "0.25", "")
    assert (first["epochs_to_target"], second["epochs_to_target"]) == ("2", "")
    assert (second["finished"], second["test/loss"]) == ("false", "")


class _Outline(HTMLParser):
    """Checks that every element is closed in turn; keeps ids and what refers to elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        assert "script" not in self.open
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name.split(":")[-1] in ("href", "src"):
                self.references.append(value or "")
            self.references += re.findall(r"url\((.*?)\)", value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(sweep_dir: Path, add_run: AddRun) -> None:
    odd = "<i>&\"'$x_1$ | größe"
    for seed in range(3):
        for lr in (0.01, 0.1):
            for path in (odd, "b"):
                extra = {"data": {"name": "csv", "path": path}}
                add_run(0.1, seed, "robust", lr, extra=extra)
                add_run(0.2, seed, "none", lr, extra=extra)
    result = report(sweep_dir)
    assert set(result.figures) == {
        "loss_over_epochs",
        "final_loss",
        "epochs_to_target",
        "heat_map",
        "sensitivity",
    }
    page = (sweep_dir / "report.html").read_text(encoding="utf-8")
    outline = _Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    page = re.sub(r'"data:image/png;base64,[\w+/=\s]*"', '""', page)  # the colour bar, inside
    outside = {ref for ref in outline.references if not ref.startswith("data:image/png;base64,")}
    assert outside <= {f"#{name}" for name in outline.ids}
    assert not re.search(r"https?:|//[a-z]|@import", page)
    assert page.count("<svg") == 5
    assert "<i>" not in page
    assert "&lt;i&gt;&amp;" in page
    assert "prefers-color-scheme: dark" in page
    markdown = (sweep_dir / "report.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<i>", markdown)
    # What is drawn in ink follows the scheme: no ink or paper is left as a fixed colour.
    assert "fill: var(--ink)" in page
    drawn = page[page.index("<svg") :]
    assert not re.search("#1c2024|#fdfdfe|#000000|#ffffff", drawn)
    for variable in set(re.findall(r"var\((--\w+)\)", page)):
        assert page.count(f"{variable}:") == 2  # once in each scheme


def test_many_settings_show_the_best_twelve(sweep_dir: Path, add_run: AddRun) -> None:
    for number in range(15):
        add_run(0.1 + number / 100, 0, extra={"model": {"hidden": [number + 1], "lr": 0.1}})
    result = report(sweep_dir)
    assert "The best 12 of 15" in result.text
    title = result.figures["final_loss"].get_suptitle()
    assert "the best 12 of 15 settings" in title
    assert "[15]" in (sweep_dir / "report.md").read_text()


def add_search(add_run: AddRun, n: int = 40, normalizations: Sequence[str] = ("a", "b")) -> None:
    """Trials at random rates and decays, each run once; the planted optimum is lr = 0.1."""
    rng = np.random.default_rng(0)
    for i in range(n):
        lr, decay = 10 ** rng.uniform(-4, 0), 10 ** rng.uniform(-6, -1)
        extra = {"model": {"hidden": [4], "lr": lr, "weight_decay": decay}}
        loss = 0.1 + (i % len(normalizations)) / 10 + abs(np.log10(lr) + 1) / 10
        add_run(loss, 0, normalizations[i % len(normalizations)], lr, extra=extra)


def test_a_search_shows_each_strategy_at_its_best_trial(sweep_dir: Path, add_run: AddRun) -> None:
    add_search(add_run)
    standings = ranked(sweep_dir)
    assert standings.drawn == ("model.lr", "model.weight_decay")
    assert [row.values["normalization.name"] for row in standings.best] == ["a", "b"]
    assert [row.tries for row in standings.best] == [20, 20]
    for row in standings.best:
        tries = [r for r in standings.rows if r.values["normalization.name"] == row.label[14]]
        nearest = min(tries, key=lambda r: abs(np.log10(float(r.values["model.lr"] or 1)) + 1))
        assert row.values == nearest.values
    result = report(sweep_dir)
    assert not re.search(r"\d\.\d{6,}", result.text)
    assert "[best of 20]" in result.text
    assert "best trial of a search over learning rate and model.weight_decay" in " ".join(
        result.text.split()
    )
    picture = result.figures["sensitivity"]
    panels = picture.axes[:2]
    for panel in panels:
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
        points = [line for line in panel.lines if line.get_linestyle() == "None"]
        assert sum(np.shape(line.get_xydata()) == (20, 2) for line in points) == 2


def test_a_search_of_one_strategy_names_its_best_trial(sweep_dir: Path, add_run: AddRun) -> None:
    add_search(add_run, 12, ["a"])
    (sentence,) = headline(ranked(sweep_dir))
    assert sentence.startswith("The best of 12 trials is lr=")
    assert "no other strategy" in sentence


def test_many_settings_that_learnt_nothing_are_counted(sweep_dir: Path, add_run: AddRun) -> None:
    for number in range(20):
        add_run(ENTROPY, 0, extra={"model": {"hidden": [number], "lr": 0.1}})
    (note,) = (note for note in notes(ranked(sweep_dir)) if "learnt nothing" in note)
    assert "with 20 of 20 settings" in note
    assert note.count("hidden=") == 3
    assert "and 17 more" in note


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 250])
def test_tables_fit_the_terminal(
    sweep_dir: Path, add_run: AddRun, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for seed in range(3):
        for normalization in ("standardize", "quantile"):
            add_run(0.123 + seed / 1000, seed, normalization, curve=(0.7,))
    result = report(sweep_dir)
    lines = result.text.splitlines()[:-1]  # the last is the page's path
    assert max(map(len, lines)) <= min(columns, 100)
    for text in ("0.1240", "[0.1235, 0.1245]", "(0.1230 to 0.1250)", "[0 of 3 did]", "0.9000"):
        assert sum(text in line for line in lines) >= 2  # a row each


def test_no_picture_collapses_under_many_long_names(sweep_dir: Path, add_run: AddRun) -> None:
    # Warnings are errors here; matplotlib warns where text leaves no room for a panel.
    for number in range(14):
        long = f"{number}-{'a very long name ' * 8}{'unbroken' * 12}"
        for seed in range(2):
            extra = {"model": {"hidden": [4], "lr": 0.1 + number, "activation": long}}
            add_run(0.1 + number / 50, seed, f"normalization {'x' * 90} {number % 3}", extra=extra)
    for picture in report(sweep_dir).figures.values():
        picture.savefig(io.BytesIO())
        picture.canvas.draw()
        for panel in picture.axes:
            box = panel.get_window_extent()
            width, height = box.width / picture.dpi, box.height / picture.dpi
            assert height > 1
            assert width > (0.1 if panel.get_label() == "<colorbar>" else 1)


def test_the_files_are_the_same_when_written_again(sweep_dir: Path, add_run: AddRun) -> None:
    for seed in range(4):
        add_run(0.1 + seed / 100, seed)
        add_run(0.12, seed, normalization="robust")
    before = [path.read_bytes() for path in report(sweep_dir).files]
    assert [path.read_bytes() for path in report(sweep_dir).files] == before
    assert not list(sweep_dir.glob(".report*"))


def test_settings_of_the_sweep_itself_are_heeded(sweep_dir: Path, add_run: AddRun) -> None:
    extra = {"report": {"tune": ["model.lr"], "target_loss": 0.3}}
    add_run(0.1, 0, extra=extra)
    for target in (0.3, 0.2):
        report(sweep_dir, target_loss=None if target == 0.3 else target)
        assert f"epochs to training loss {target:.4f}" in (sweep_dir / "report.md").read_text()


def test_an_unknown_key_to_tune_is_refused(sweep_dir: Path, add_run: AddRun) -> None:
    add_run(0.1, 0)
    with pytest.raises(UserError, match=r"no run has a setting 'model\.lrr'"):
        report(sweep_dir, tune=["model.lrr"])
