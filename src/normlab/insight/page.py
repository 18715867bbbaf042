"""One HTML page with the tables and pictures of a sweep: no script, nothing fetched, two schemes.

The pictures are inline SVG. Those colours that carry no meaning (ink, grid, paper) become CSS
variables in it, so that a reader's dark scheme changes them and leaves the data's colours alone.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from normlab.insight.canvas import GRID, INK, MUTED, PAPER
from normlab.insight.tables import Cell, Table

_CAPTIONS = {
    "loss_over_epochs": "A line is the median over the runs of a setting, its band their "
    "quartiles. Unfinished runs are drawn as far as they have got.",
    "final_loss": "Thin lines (up to 30 seeds) join equal seeds of neighbouring rows: lines that "
    "all lean one way are a difference that does not hang on the seed.",
    "epochs_to_target": "How many of the finished runs have reached the target by an epoch. A "
    "line that ends below 100 % is the share of runs that never did.",
    "heat_map": "Bright is low. Grey cells have diverged: their median is no number. "
    "Empty cells have no finished run.",
    "sensitivity": "A flat line is a strategy that forgives a poor choice; a strategy that wins "
    "at one value alone needs its search.",
}
_STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfe; --ink: #1c2024; --muted: #5d6670;
  --grid: #d9dde2; --back: #f1f3f5; }
@media (prefers-color-scheme: dark) { :root { --paper: #1b1f24; --ink: #e8ebee; --muted: #a3adb8;
  --grid: #3a424b; --back: #121519; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.muted, figcaption { color: var(--muted); font-size: .875rem; }
.verdict { background: var(--paper); border-left: 4px solid #009E73; padding: .75rem 1rem;
  margin: 1rem 0; font-size: 1.05rem; }
.scroll { overflow-x: auto; background: var(--paper); border: 1px solid var(--grid);
  border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem; text-align: left; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th { white-space: normal; vertical-align: bottom; font-weight: 600; }
tr:last-child td { border-bottom: 0; }
td small { display: block; color: var(--muted); font-size: .8rem; line-height: 1.35; }
figure { margin: 1rem 0; background: var(--paper); border: 1px solid var(--grid);
  border-radius: 6px; padding: 1rem; }
svg { display: block; max-width: 100%; height: auto; margin: 0 auto .5rem; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
li { margin: .25rem 0; }
"""


def page(
    title: str,
    subtitle: str,
    sentences: Sequence[str],
    notes: Sequence[str],
    sections: Sequence[tuple[str, Sequence[Table]]],
    figures: Mapping[str, Figure],
    footnotes: Sequence[str],
) -> str:
    """The whole document; all text is escaped here."""
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="muted">{escape(subtitle)}</p>']
    parts += [f'<p class="verdict">{escape(sentence)}</p>' for sentence in sentences]
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        parts.append(f"<h2>To bear in mind</h2><ul>{items}</ul>")
    first, *others = sections
    parts += [_section(*first)]
    parts += [_picture(name, figure) for name, figure in figures.items()]
    parts += [_section(*section) for section in others]
    parts += [f'<p class="muted">{escape(note)}</p>' for note in footnotes]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
        "<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def _section(title: str, tables: Sequence[Table]) -> str:
    return "\n".join(
        f"<h2>{escape(f'{title}: {table.title}' if title else table.title)}</h2>{_table(table)}"
        for table in tables
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    rows = "\n".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    under = "".join(f"<small>{escape(text)}</small>" for text in (cell.spread, cell.interval))
    return f"<td>{escape(cell.main)}{under.replace('<small></small>', '')}</td>"


def _picture(name: str, figure: Figure) -> str:
    caption = escape(_CAPTIONS[name])
    return f"<figure>{svg(name, figure)}<figcaption>{caption}</figcaption></figure>"


def svg(name: str, figure: Figure) -> str:
    """The picture as an <svg> element that follows the page's colours.

    Its ids begin with the picture's name, for those of matplotlib repeat from one to the next.
    """
    stream = io.StringIO()
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A script without glyphs in matplotlib's font: the reader's browser has its own fonts.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid"), (PAPER, "paper")):
        text = text.replace(colour, f"var(--{variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{name.replace("_", " ")}"', 1)
