"""`normlab export`: a model as one file for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.cli.options import add_model, load_model, show
from normlab.errors import UserError
from normlab.layout import CONFIG

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from normlab.data.schema import Column, Schema
    from normlab.inference.predict import Predictor

DESCRIPTION = """\
Writes a model for programs that know nothing of normlab: .pt2 (torch.export; read it with
torch.export.load) or .onnx (for ONNX Runtime and others; needs pip install 'normlab[onnx]').

Its one input, `rows`, is float32 (n, columns) for any n: numbers in the units of the training file,
since the normalization is part of the model; booleans as 0 or 1; categories as codes, which are
printed here and stand in the file (as "normlab" in ONNX's metadata, as the extra file normlab.json
in .pt2); nan for a missing value, where the model imputes. Its one output, `probability`, is
float32 (n,), of class 1.

The file is read back and compared with the model, on rows of the training file where it can be
found, before it takes its name.
"""
CHECKED_ROWS = 1_000
SHOWN_CODES = 8


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "export",
        help="write a model for other programs (torch.export, ONNX)",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: normlab export runs/rates rates.onnx",
    )
    add_model(parser)
    parser.add_argument("output", type=Path, metavar="OUT", help="ends in .pt2 or .onnx")
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="compare on the first rows of this file (default: of the file in the run's "
        "config.yaml; else rows drawn from the statistics that the model keeps)",
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from normlab.data.file.writing import refuse_output

    refuse_output(options.output, options.force)
    predictor = load_model(options)
    from normlab.inference.export import export

    rows, origin = _rows_to_check(options, predictor)
    difference = export(predictor, options.output, rows)
    show(_meaning(predictor.schema))
    show(
        f"{options.output}: its probabilities are the model's within {difference:.1g} on "
        f"{len(rows):,} rows {origin}"
    )


def _rows_to_check(
    options: argparse.Namespace, predictor: Predictor
) -> tuple[NDArray[np.float32], str]:
    """Some rows, and where they are from."""
    from normlab.inference.export import drawn_rows

    if options.check is not None:
        return _first_rows(predictor.schema, options.check), f"of {options.check.name}"
    try:
        file = _training_file(options.model)
        if file is not None and file.exists():
            return _first_rows(predictor.schema, file), f"of {file.name}"
    except UserError:  # it is not what it was
        pass
    return drawn_rows(predictor.network), "drawn from the model's statistics"


def _training_file(model: Path) -> Path | None:
    """data.path of a run's config.yaml, where there is one."""
    import yaml

    folder = model if model.is_dir() else model.resolve().parent.parent
    try:
        settings = yaml.safe_load((folder / CONFIG).read_text("utf-8"))
        return Path(settings["data"]["path"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None


def _first_rows(schema: Schema, file: Path) -> NDArray[np.float32]:
    from normlab.data.meaning.apply import read_for

    for batch in read_for(schema, file, batch_rows=CHECKED_ROWS):
        if len(batch.rows) > 1:
            return batch.rows[:CHECKED_ROWS]
    raise UserError(f"{file.name} has too few rows to compare on: two at least")


def _meaning(schema: Schema) -> str:
    """The columns of the input with their codes, and the output."""
    from normlab.inference.export import INPUT, OUTPUT

    width = max(len(column.name) for column in schema.columns)
    lines = [f"input `{INPUT}`, float32 (n, {len(schema.columns)}):"]
    for position, column in enumerate(schema.columns):
        lines.append(f"  {position:3}  {column.name:{width}}  {_codes(column)}")
    if schema.missing == "impute":
        lines.append("  nan for a missing value")
    lines.append(f"output `{OUTPUT}`, float32 (n,): of {schema.target} = {schema.classes[1]}")
    return "\n".join(lines)


def _codes(column: Column) -> str:
    if column.type == "numeric":
        return "number"
    codes = [f"{value} = {code}" for code, value in enumerate(column.categories)]
    more = len(codes) - SHOWN_CODES
    shown = ", ".join(codes[:SHOWN_CODES]) + (f", {more:,} more in the file" if more > 0 else "")
    other = f", any other = {len(codes)}" if column.type == "categorical" else ""
    return f"{column.type}: {shown}{other}"
