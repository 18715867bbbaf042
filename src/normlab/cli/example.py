"""`normlab example`: a table to try the program on, for those who have none at hand."""

from __future__ import annotations

import argparse
from pathlib import Path

from normlab.cli.options import show
from normlab.errors import UserError

# Each is made by the function of its name in `normlab.data.examples`.
EXAMPLES = {
    "rates.csv": "heart rates, and whether each is above 91 beats per minute",
    "patients.csv": "invented patients: numbers, categories, gaps, a disease (Yes or No)",
}
DESCRIPTION = "\n".join(
    [
        "Writes a table to try the program on. The name of FILE says which one:",
        "",
        *(f"  {name:13} {text}" for name, text in EXAMPLES.items()),
    ]
)


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "example",
        help="write a table to try the program on",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: normlab example rates.csv",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="its name, in any folder")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.set_defaults(run=_example)


def _example(options: argparse.Namespace) -> None:
    path = options.file
    if path.name not in EXAMPLES:
        raise UserError(f"{path}: no example has this name: choose {' or '.join(EXAMPLES)}")
    from normlab.config.typed import shell_quoted
    from normlab.data import examples
    from normlab.data.file.writing import refuse_output, write_table

    refuse_output(path, options.force)
    table = getattr(examples, path.stem)()
    write_table(iter([table]), path, "csv")
    show(f"{path}: {len(table):,} rows of {EXAMPLES[path.name]}")
    show(f"  to look at it: normlab inspect {shell_quoted(str(path))}")
