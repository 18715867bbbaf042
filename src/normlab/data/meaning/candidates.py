"""Which column a file's label is likely to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from normlab.data.file.columns import Selection
from normlab.data.file.numbers import Signs, values_of
from normlab.data.file.outline import Outline
from normlab.data.meaning.facts import Facts
from normlab.data.schema import Value

TARGET_NAMES = (
    *("label", "target", "class", "y", "outcome", "diagnosis", "survived", "churn", "exited"),
    *("response", "default"),
)
MOST_CLASSES = 20  # different values, above which a column is more likely a quantity
MOST_CANDIDATES = 4


@dataclass(frozen=True)
class Candidate:
    """A column that may be the label.

    Attributes:
        reason: why.
        values: its values in order, if they are few.
    """

    name: str
    reason: str
    values: tuple[Value, ...]


def likely_target(outline: Outline, selection: Selection) -> str | None:
    """The column that is called a label, or else the last one, if it may hold two values.

    The last column counts as no label where it holds many values: then it is the only column of
    two values, if there is one alone.
    """
    names, spellings = outline.columns.names, selection.missing_values
    n_values = {p: len(set(outline.cells_of(p, spellings))) for p in outline.columns.inputs}
    if not n_values:
        return None
    called = [p for p in n_values if names[p].lower() in TARGET_NAMES]
    first = (called or list(n_values))[-1]
    if n_values[first] <= 2:
        return names[first]
    two = [p for p, n in n_values.items() if n == 2]
    if not called and n_values[first] > MOST_CLASSES and len(two) == 1:
        return names[two[0]]
    return None


def candidates(outline: Outline, facts: Mapping[int, Facts]) -> tuple[Candidate, ...]:
    """Columns that may be the label: those called so, the last one, those of two values."""
    names, inputs = outline.columns.names, outline.columns.inputs
    signs = outline.columns.dialect.signs
    found: dict[str, Candidate] = {}
    for position in reversed(inputs):
        if names[position].lower() in TARGET_NAMES:
            found[names[position]] = _candidate(
                names[position], "so called", facts[position], signs
            )
    last = names[inputs[-1]]
    found.setdefault(last, _candidate(last, "the last column", facts[inputs[-1]], signs))
    for position in inputs:
        name, values = names[position], plain_values(facts[position], signs)
        if len(values) == 2:
            found.setdefault(name, Candidate(name, "one of two values", values))
    return tuple(found.values())[:MOST_CANDIDATES]


def _candidate(name: str, reason: str, facts: Facts, signs: Signs) -> Candidate:
    values = plain_values(facts, signs)
    return Candidate(name, reason, values if len(values) <= MOST_CLASSES else ())


def plain_values(facts: Facts, signs: Signs) -> tuple[Value, ...]:
    """The values of a column as a label's values would be named; none where they are many."""
    if facts.values is None:
        return ()
    if all(isinstance(value, str) for value in facts.values):
        return tuple(sorted(set(values_of(facts.values, signs))))  # pyright: ignore[reportArgumentType]
    return tuple(sorted(int(v) if float(v).is_integer() else v for v in facts.values))
