"""`normlab predict`: a file's rows with their predictions beside them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.cli.options import (
    add_file,
    add_model,
    add_threshold,
    format_of,
    load_model,
    note,
    settings_as_options,
)
from normlab.errors import UserError

if TYPE_CHECKING:
    from normlab.data.schema import Schema
    from normlab.inference.predictions import Predictions

DESCRIPTION = """\
Writes the rows of FILE, in their order, with two more columns: `probability`, of the label's class
1, and `prediction`, the label as it stood in the training file. FILE is read in batches, so it may
be larger than the memory. Its columns are found by name, in any order; those that the model does
not know are ignored, and the label's column may be absent. In a file without a header columns go
by position.

A model that was trained with data.missing=drop leaves both new columns empty in rows with a
missing value; one that imputes fills such cells; any other refuses them.
"""


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "predict",
        help="write a file's rows with their probability and label",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: normlab predict runs/rates new.csv -o predictions.csv --id patient",
    )
    add_model(parser)
    add_file(parser, "CSV, also gzipped, or Parquet")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="the file to write: .csv (with the separator and decimal sign of FILE), .csv.gz or "
        ".parquet; - writes CSV to standard output. OUT appears when all of it is written, never "
        "in part",
    )
    parser.add_argument(
        "--id",
        nargs="+",
        metavar="COLUMN",
        help="write these columns of FILE alone beside the predictions (default: all of them, as "
        "they stand; the numeric inputs of a text file become float64 in .parquet)",
    )
    add_threshold(parser)
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    from normlab.data.file.writing import kind_of, refuse_output, write_csv, write_table

    to_stdout = options.output == "-"
    path = Path(options.output)
    kind = "csv" if to_stdout else kind_of(path)
    if not to_stdout:
        refuse_output(path, options.force)
        if options.file.exists() and path.exists() and path.samefile(options.file):
            raise UserError(f"{path} is the file to predict from: give another name")
    predictor = load_model(options)
    from normlab.inference.predictions import Predictions

    with settings_as_options():
        predictions = Predictions(
            predictor,
            options.file,
            options.id,
            options.threshold,
            format_of(options),
            numbers=kind == "parquet",
        )
        dialect, quoted = predictions.dialect, predictions.quoted
        if to_stdout:
            try:
                write_csv(iter(predictions), sys.stdout.buffer, dialect, quoted)
            except OSError as error:
                if "os error 32" in str(error):  # polars' words for EPIPE, which has no errno there
                    raise BrokenPipeError from error
                raise
        else:
            write_table(iter(predictions), path, kind, dialect, quoted)
    note(_summary(predictions, predictor.schema, options))
    for message in predictions.comparison.messages():
        note(message)


def _summary(predictions: Predictions, schema: Schema, options: argparse.Namespace) -> str:
    from normlab.data.file.numbers import listed

    negative, positive = schema.classes
    n_predicted = predictions.n_rows - predictions.n_left_out
    lines = [
        f"{options.output}: {predictions.n_rows:,} rows; probability of {schema.target} = "
        f"{positive}; above {options.threshold:g} the prediction is {positive} "
        f"({predictions.n_positive:,} rows), else {negative} "
        f"({n_predicted - predictions.n_positive:,})"
    ]
    if predictions.n_left_out:
        lines.append(
            f"{predictions.n_left_out:,} rows have a missing value and no prediction: both columns "
            f"are empty there, since the model was trained with data.missing=drop"
        )
    if predictions.unknown:
        lines.append(f"not used, for the model does not know them: {listed(predictions.unknown)}")
    return "\n".join(lines)
