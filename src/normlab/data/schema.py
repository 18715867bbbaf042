"""What a table's columns are and its labels mean, as plain types that a checkpoint can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Schema:
    """The meaning of a table's columns.

    Attributes:
        features: names of the input columns, in the order of the columns of `Table.rows`.
        target: name of the label's column.
        classes: the label's value for class 0 and for class 1, as they stand in the source.
    """

    features: tuple[str, ...]
    target: str
    classes: tuple[str | int | float, str | int | float]

    def to_dict(self) -> dict[str, Any]:
        """Lists, strings and numbers alone: safe in JSON and in a weights-only checkpoint."""
        plain = asdict(self)
        return {**plain, "features": list(self.features), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Schema:
        """The inverse of `to_dict`."""
        negative, positive = plain["classes"]
        return cls(tuple(plain["features"]), plain["target"], (negative, positive))
