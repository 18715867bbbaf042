"""The answer that a sweep ends in: text for the terminal, and report.md, .csv and .html."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from normlab.errors import UserError
from normlab.files import write_durably
from normlab.insight.figures import figures
from normlab.insight.markdown import marked, pipes
from normlab.insight.page import page
from normlab.insight.settings import SEEDS
from normlab.insight.standings import Standings, rank
from normlab.insight.sweep import read_sweep
from normlab.insight.tables import Cell, Table, tables
from normlab.insight.terminal import terminal
from normlab.insight.words import LEGEND, METHOD, headline, notes, what_varies


@dataclass(frozen=True, eq=False)
class Report:
    """What a sweep ends in.

    Attributes:
        text: for the terminal, ASCII apart from what users have named.
        figures: the pictures by name, in light colours, for TensorBoard.
        files: report.md, report.csv and report.html, written.
    """

    text: str
    figures: dict[str, Figure]
    files: tuple[Path, ...]


def report(
    sweep_dir: Path, target_loss: float | None = None, tune: Sequence[str] | None = None
) -> Report:
    """Reads a sweep, finished or running, ranks its settings and writes the report beside it.

    Args:
        sweep_dir: the folder of a multirun.
        target_loss: training loss whose epoch is reported; by default the sweep's own setting
            report.target_loss, else 10 % of the label entropy.
        tune: keys that each strategy may choose for itself; by default the sweep's own setting
            report.tune, else the learning rate.
    """
    sweep = read_sweep(sweep_dir)
    known = {key for run in sweep.runs for key in run.config}
    for key in tune or ():
        if key not in known:
            raise UserError(f"tune: no run has a setting {key!r}; write it as in an override")
    if target_loss is None:
        target_loss = sweep.asked.get("target_loss")
    standings = rank(sweep, tune or sweep.asked.get("tune", ["model.lr"]), target_loss)
    drawn = figures(standings)
    texts = {
        "report.md": markdown(standings),
        "report.csv": runs_csv(standings),
        "report.html": html(standings, drawn),
    }
    try:
        files = tuple(_write(sweep_dir / name, text) for name, text in texts.items())
    except OSError as error:
        raise UserError(f"cannot write the report in {sweep_dir}: {error.strerror}") from error
    return Report(terminal(standings, files[-1]), drawn, files)


def markdown(standings: Standings) -> str:
    """The same as the page, without its pictures."""
    parts = [f"# {marked(_title(standings))}", marked(what_varies(standings))]
    parts += [f"**{marked(sentence)}**" for sentence in headline(standings)]
    parts += ["\n".join(f"- {marked(note)}" for note in notes(standings))]
    for title, some in _sections(standings):
        for table in some:
            parts += [f"## {f'{title}: ' if title else ''}{table.title}", _pipes(table)]
    return "\n\n".join(part for part in [*parts, LEGEND, METHOD] if part) + "\n"


def _pipes(table: Table) -> str:
    return pipes([*map(marked, table.head)], ([*map(_stacked, row)] for row in table.rows))


def _stacked(cell: Cell) -> str:
    return "<br>".join(marked(text) for text in (cell.main, cell.spread, cell.interval) if text)


def runs_csv(standings: Standings) -> str:
    """One row a run, unfinished ones too; an empty cell is unknown, inf a loss that diverged."""
    keys = [*SEEDS, *standings.sweep.keys]
    numbers = [
        *standings.sweep.measures,
        "label_entropy",
        "guess_loss",
        "epochs",
        "seconds",
        "rows_per_second",
    ]
    arrivals = {name: epoch for row in standings.rows for name, epoch in row.arrivals.items()}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["run", "finished", *keys, *numbers, "epochs_to_target"])
    for run in standings.sweep.runs:
        finals = run.finals or {}
        cells = [finals.get(name, math.nan) for name in numbers]
        cells.append(arrivals.get(run.name, math.nan))
        writer.writerow(
            [
                run.name,
                str(run.finals is not None).lower(),
                *(run.config.get(key, "") for key in keys),
                *("" if math.isnan(cell) else f"{cell:.10g}" for cell in cells),
            ]
        )
    return stream.getvalue()


def html(standings: Standings, drawn: dict[str, Figure]) -> str:
    """One self-contained page."""
    return page(
        title=_title(standings),
        subtitle=what_varies(standings),
        sentences=headline(standings),
        notes=notes(standings),
        sections=_sections(standings),
        figures=drawn,
        footnotes=[LEGEND, METHOD],
    )


def _title(standings: Standings) -> str:
    return f"Sweep {standings.sweep.folder.resolve().name}"


def _sections(standings: Standings) -> list[tuple[str, Sequence[Table]]]:
    sections: list[tuple[str, Sequence[Table]]] = [("", tables(standings, standings.best))]
    if standings.tuned:
        sections.append(("Every setting", tables(standings, standings.rows)))
    return sections


def _write(path: Path, text: str) -> Path:
    write_durably(path, text)
    return path
