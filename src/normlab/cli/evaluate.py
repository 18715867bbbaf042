"""`normlab evaluate`: a model's figures on a labelled file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.cli.options import (
    add_file,
    add_model,
    add_threshold,
    format_of,
    load_model,
    note,
    settings_as_options,
    show,
)
from normlab.layout import PROVENANCE

if TYPE_CHECKING:
    from normlab.data.schema import Schema
    from normlab.inference.scores import Score

DESCRIPTION = """\
Measures a model on the rows of FILE, which holds the label's column too:

  loss               mean binary cross-entropy, in nats
  accuracy           share of rows on the right side of the threshold
  auroc              area under the ROC curve; 0.5 is a guess
  average precision  area under the precision-recall curve, by steps
  brier              mean squared difference of probability and label
  calibration error  expected calibration error (ECE): 15 bins of equal width in the probability of
                     class 1; in each |mean probability - share of class 1|, weighted by its rows

Each comes with a 95 % bootstrap interval: the range of the middle 95 % of the figures of resamples
of the rows (for the calibration error, which resampling inflates, that range reflected at the
figure). Rows count as independent. The intervals leave out what another training would change.
"""


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on a labelled file, with intervals",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: normlab evaluate runs/rates later.csv --json > figures.json",
    )
    add_model(parser)
    add_file(parser, "CSV, also gzipped, or Parquet")
    add_threshold(parser)
    parser.add_argument(
        "--resamples",
        type=_count,
        default=1_000,
        metavar="N",
        help="of the rows, for the intervals (default: 1000); 0 for no intervals",
    )
    parser.add_argument("--seed", type=_count, default=0, metavar="N", help="of the resamples")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_evaluate)


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _evaluate(options: argparse.Namespace) -> None:
    predictor = load_model(options)
    from normlab.inference.evaluate import labelled_logits
    from normlab.inference.scores import CALIBRATION_BINS, LEVEL, Scores

    with settings_as_options():
        labelled = labelled_logits(predictor, options.file, format_of(options))
    scores = Scores(labelled.logits, labelled.labels, options.threshold)
    found = scores.with_intervals(options.resamples, options.seed)
    facts = {
        "file": str(options.file),
        "rows": len(labelled.labels),
        "rows_left_out": labelled.n_left_out,
        "positive_rows": int(labelled.labels.sum()),
        "threshold": options.threshold,
        "resamples": options.resamples,
        "interval": LEVEL,
        "calibration_bins": CALIBRATION_BINS,
    }
    show(_json(facts, found) if options.json else _table(facts, found, predictor.schema))
    for text in [*labelled.messages, *_cautions(options, facts)]:
        note(text)


def _json(facts: dict[str, Any], found: dict[str, Score]) -> str:
    metrics = {
        name: {key: _number(value) for key, value in vars(score).items()}
        for name, score in found.items()
    }
    return json.dumps({**facts, "metrics": metrics}, indent=2, allow_nan=False)


def _number(value: float) -> float | None:
    return value if value == value else None  # nan is no JSON


def _table(facts: dict[str, Any], found: dict[str, Score], schema: Schema) -> str:
    share = facts["positive_rows"] / facts["rows"]
    lines = [
        f"{Path(facts['file']).name}: {facts['rows']:,} rows, {facts['positive_rows']:,} of them "
        f"({share:.1%}) {schema.target} = {schema.classes[1]}; threshold {facts['threshold']:g}",
        "",
    ]
    resamples = facts["resamples"]
    lines.append(f"{'':20}{'value':>8}" + ("    95 % interval" if resamples else ""))
    for name, score in found.items():
        interval = f"    [{_figure(score.low)}, {_figure(score.high)}]" if resamples else ""
        lines.append(f"{name.replace('_', ' '):20}{_figure(score.value):>8}{interval}")
    if resamples:
        lines += ["", f"{resamples:,} resamples of the rows"]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:.4f}" if value == value else "-"


def _cautions(options: argparse.Namespace, facts: dict[str, Any]) -> list[str]:
    cautions = []
    if facts["rows_left_out"]:
        cautions.append(
            f"{facts['rows_left_out']:,} rows have a missing value and are left out, since the "
            f"model was trained with data.missing=drop"
        )
    if facts["positive_rows"] in (0, facts["rows"]):
        cautions.append("all rows are of one class: auroc is not defined")
    if _is_training_file(options.model, options.file):
        cautions.append(
            "the model was trained on rows of this very file: result.json has the figures of those "
            "that were held out"
        )
    return cautions


def _is_training_file(model: Path, file: Path) -> bool:
    """Whether the run's provenance.json names the file by its digest."""
    import hashlib

    folder = model if model.is_dir() else model.resolve().parent.parent
    try:
        known = json.loads((folder / PROVENANCE).read_text("utf-8"))["data_sha256"]
        with file.open("rb") as content:
            return known == hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return False
