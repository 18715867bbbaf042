"""What a file would be read as, before anything is trained on it: columns, label, cautions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from normlab.config.typed import setting
from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.file.outline import Outline, outline
from normlab.data.file.source import Source, opened
from normlab.data.meaning.candidates import Candidate, candidates, likely_target, plain_values
from normlab.data.meaning.cautions import SCALE, cautions, is_useless, sample_step
from normlab.data.meaning.notices import dressed_names, notices
from normlab.data.meaning.reading import Reading, cells_of
from normlab.data.meaning.summary import Summary, summarize
from normlab.data.meaning.target import Values, class_names
from normlab.data.meaning.types import MANY_VALUES
from normlab.data.schema import Column, Schema, Value
from normlab.errors import UserError

IN_MEMORY = 2**26  # bytes of a file whose cells are held; a larger one is read by each query
MOST_ROWS = 50_000  # of a larger one, evenly spaced, for medians and shares


@dataclass(frozen=True)
class Inspection:
    """What would be read.

    Attributes:
        n_sampled: rows that medians and shares are from.
        read_as: how the file is written, in words.
        target: the label's column; None where none is named and none is likely.
        guessed: whether the target is a guess.
        classes: the label's values for class 0 and 1, each with its share of the labels; empty if
            there are not two (`label_fault` says why).
        label_values: all values of the label.
        candidates: columns that may be the label, where there is no target.
        missing_labels: rows without a label.
        cautions: what needs a second look.
        command: how to train on the file; None where the label is not settled.
    """

    path: Path
    n_rows: int
    n_sampled: int
    read_as: str
    inputs: tuple[Summary, ...]
    target: str | None
    guessed: bool
    classes: tuple[tuple[Value, float], ...]
    label_values: tuple[Value, ...]
    label_fault: str | None
    candidates: tuple[Candidate, ...]
    missing_labels: int
    cautions: tuple[str, ...]
    command: str | None


def inspect_file(
    path: str | Path,
    target: str | int | None = None,
    format: Format | None = None,
    selection: Selection | None = None,
) -> Inspection:
    """Look at a file as `read_table` would read it, but refuse nothing that settings can mend.

    Memory is bounded, whatever the file's size.

    Args:
        target: the label's column; None to guess it.
        format, selection: as of `read_table`.

    Raises:
        UserError: the file cannot be read whatever the settings are.
    """
    path, format, selection = Path(path), format or Format(), selection or Selection()
    with opened(path, format.encoding) as source:
        about = outline(source, target, format, selection)
        guess = None if target is not None else likely_target(about, selection)
        if guess is not None:
            found = _Found(source, outline(source, guess, format, selection), selection)
            if found.groups is not None:
                return found.inspection(path, format, guessed=True)
        return _Found(source, about, selection).inspection(path, format, guessed=False)


class _Found:
    """What a file holds, with the columns that cannot be trained on as they are.

    Attributes:
        columns: the inputs by position; None where the column is refused, for the reason in
            `refusals`.
        groups: the label's values of class 0 and class 1; None where it has not two, for the
            reason in `label_fault`.
    """

    def __init__(self, source: Source, about: Outline, selection: Selection) -> None:
        self.about, self.selection, self.name = about, selection, source.name
        cells = cells_of(source, about, selection)
        self.is_small = source.path.stat().st_size <= IN_MEMORY
        if self.is_small:
            cells.collect()
        cells.refuse_nul()
        self.reading = Reading(cells, about, selection)
        self.reading.refuse_infinite()
        self.columns: dict[int, Column | None] = {}
        self.refusals: dict[int, str] = {}
        for position in about.columns.inputs:
            try:
                self.columns[position] = self.reading.input(position)
            except UserError as error:
                self.columns[position] = None
                self.refusals[position] = str(error)
        self.groups: tuple[Values, Values] | None = None
        self.label_fault: str | None = None
        if about.columns.target is not None:
            try:
                self.groups = self.reading.label_groups()
            except UserError as error:
                self.label_fault = str(error)

    def inspection(self, path: Path, format: Format, guessed: bool) -> Inspection:
        about, facts = self.about, self.reading.survey.facts
        at, names = about.columns.target, about.columns.names
        sound = {p: column for p, column in self.columns.items() if column is not None}
        sample = self._sample(sound)
        summaries = [
            summarize(names[p], column, facts[p], None if column is None else sample[str(p)])
            for p, column in self.columns.items()
        ]
        missing_labels = 0 if at is None else facts[at].missing
        said, useless = self._cautions(sound, sample)
        return Inspection(
            path,
            self.reading.n_rows,
            sample.height,
            about.first.read_as,
            tuple(summaries),
            None if at is None else names[at],
            guessed,
            self._shares(sample),
            () if at is None else plain_values(facts[at], about.columns.dialect.signs),
            self.label_fault,
            candidates(about, facts) if at is None else (),
            missing_labels,
            tuple(said),
            self._command(path, format, useless) if self.groups else None,
        )

    def _sample(self, columns: Mapping[int, Column]) -> pl.DataFrame:
        """Encoded columns by position, and the label; of a large file evenly spaced rows."""
        step = 1 if self.is_small else max(1, -(-self.reading.n_rows // MOST_ROWS))

        def then(lazy: pl.LazyFrame) -> pl.LazyFrame:
            asked = self.reading.encoded(columns, self.groups)
            return lazy.gather_every(step).select(asked)

        if not columns and self.groups is None:
            return pl.DataFrame()
        return self.reading.cells.query(then)

    def _shares(self, sample: pl.DataFrame) -> tuple[tuple[Value, float], ...]:
        if self.groups is None:
            return ()
        negative, positive = class_names(self.groups)
        share = sample["label"].drop_nulls().mean()
        assert isinstance(share, float)
        return (negative, 1 - share), (positive, share)

    def _cautions(
        self, columns: Mapping[int, Column], sample: pl.DataFrame
    ) -> tuple[list[str], list[str]]:
        """What to say, and the names of the columns that had better be left out."""
        reading, about = self.reading, self.about
        said = [*about.first.notices, *reading.unnamed(), *self.refusals.values()]
        facts = [reading.survey.facts[p] for p in columns]
        sound = tuple(columns.values())
        dressed = dressed_names(about, columns, self.selection)
        labels = None
        if self.groups is not None:
            sample = sample.filter(pl.col("label").is_not_null())
            labels = sample["label"].to_numpy()
        classes = ("", "") if self.groups is None else class_names(self.groups)
        schema = Schema(tuple(column.name for column in sound), "", classes, sound)
        rows = sample.select(map(str, columns))
        rows = rows.gather_every(sample_step(*rows.shape)) if rows.height else rows
        said += notices(about, columns, self.selection, self.name)
        said += cautions(facts, rows, labels, schema, self.name, dressed)
        scales = [
            column.name
            for column, about_column in zip(sound, facts, strict=True)
            if column.type == "numeric"
            and about_column.values is not None
            and 2 < len(about_column.values) <= SCALE
            and column.name not in self.selection.numeric
        ]
        if scales:
            said.append(
                f"{self.name}: whole numbers are numbers, however few. Where they are codes "
                f"without an order, say so: {setting('data.categorical', scales)}."
            )
        pairs = zip(sound, facts, strict=True)
        useless = [c.name for c, f in pairs if is_useless(f, c) and c.name not in dressed]
        return said, useless

    def _command(self, path: Path, format: Format, useless: list[str]) -> str:
        """With every setting that is needed, and those that were given."""
        names, at, selection = self.about.columns.names, self.about.columns.target, self.selection
        assert at is not None
        parts = ["python train.py data=csv", setting("data.path", str(path))]
        parts.append(setting("data.target", names[at]))
        few = [p for p in self.refusals if self._has_few_values(p)]
        many = [names[p] for p in self.refusals if p not in few]
        categorical = [*selection.categorical, *(names[p] for p in few)]
        drop = [*selection.drop, *many]
        if len(self.columns) > len({*many, *useless}):  # something is left to train on
            drop += useless
        if selection.features is not None:
            left_out = {*many, *useless}
            kept = [f for f in selection.features if str(f) not in left_out]
            selection, drop = replace(selection, features=kept), list(selection.drop)
        selection = replace(selection, categorical=categorical, drop=[*dict.fromkeys(drop)])
        missing = {name for name in self.reading.counts if name not in drop}
        if missing and selection.missing == "error":
            policy = "drop" if names[at] in missing else "impute"
            selection = replace(selection, missing=policy)
        for given, default in ((selection, Selection()), (format, Format())):
            for key, value in vars(given).items():
                if _as_list(value) != _as_list(getattr(default, key)):
                    parts.append(setting(f"data.{key}", value))
        return " ".join(parts)

    def _has_few_values(self, position: int) -> bool:
        """Whether a column of numbers and text may be categories, rather than names."""
        facts = self.reading.survey.facts[position]
        return 0 < len(facts.values or ()) <= MANY_VALUES and facts.texts > facts.known / 10


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value
