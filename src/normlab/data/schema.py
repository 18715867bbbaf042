"""What a table's columns are and its labels mean, as plain types that a checkpoint can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Value = str | int | float
ColumnType = Literal["numeric", "boolean", "categorical"]
MissingPolicy = Literal["error", "drop", "impute"]

# How files write "no value", whatever the case of its letters; a blank cell always means it.
MISSING_VALUES = ("NA", "N/A", "nan", "null", "?")


@dataclass(frozen=True)
class Column:
    """One input column.

    Attributes:
        type: "numeric" stands in `Table.rows` as it is; "boolean" as 0 or 1 and "categorical" as a
            code from 0, each the position of its value in `categories`. The code
            `len(categories)` is any other value, which only later files hold.
        categories: the values in sorted order; text, or numbers. A boolean's text is lower case.
        missing: whether a value was missing somewhere in the table (under the policy "impute").
    """

    name: str
    type: ColumnType = "numeric"
    categories: tuple[Value, ...] = ()
    missing: bool = False


@dataclass(frozen=True)
class Written:
    """How the training file was written, as later files are expected to be.

    Attributes:
        header: whether its first line named the columns.
        decimal: the sign before a number's fraction.
        thousandths: whether fractions have three digits after one to three others (12.345): such
            numbers could be thousands elsewhere, but not in a file like this one.
    """

    header: bool
    decimal: Literal["point", "comma"]
    thousandths: bool


@dataclass(frozen=True)
class Schema:
    """The meaning of a table's columns.

    Attributes:
        features: names of the input columns, in the order of the columns of `Table.rows`.
        target: name of the label's column.
        classes: the label's value for class 0 and for class 1, as they stand in the source; a name
            for them where a class holds several.
        columns: of the features, one by one; where none are given all are plain numbers.
        label_values: the label's values of class 0 and of class 1.
        file_columns: names of all columns of the file in their order, with those left out.
        missing: what becomes of missing values: "error" refuses them, "drop" removes their rows,
            "impute" leaves them to the network, as nan.
        missing_values: the spellings of a missing value; a blank cell is one always.
        written: how the text file was written; None where there was none.
    """

    features: tuple[str, ...]
    target: str
    classes: tuple[Value, Value]
    columns: tuple[Column, ...] = ()
    label_values: tuple[tuple[Value, ...], tuple[Value, ...]] = ((), ())
    file_columns: tuple[str, ...] = ()
    missing: MissingPolicy = "error"
    missing_values: tuple[str, ...] = MISSING_VALUES
    written: Written | None = None

    def __post_init__(self) -> None:
        defaults = self._defaults(self.features, self.target, self.classes)
        for name, default in defaults.items():
            if getattr(self, name) in ((), ((), ())):
                object.__setattr__(self, name, default)

    @staticmethod
    def _defaults(
        features: tuple[str, ...], target: str, classes: tuple[Value, Value]
    ) -> dict[str, Any]:
        negative, positive = classes
        return {
            "columns": tuple(map(Column, features)),
            "label_values": ((negative,), (positive,)),
            "file_columns": (*features, target),
            "missing": "error",
            "missing_values": MISSING_VALUES,
            "written": None,
        }

    @property
    def is_numeric(self) -> bool:
        """Whether every row is plain numbers, none of them missing."""
        return self.missing != "impute" and all(c.type == "numeric" for c in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Lists, strings and numbers alone: safe in JSON and in a weights-only checkpoint.

        What a table of plain numbers has by default is left out.
        """
        defaults = self._defaults(self.features, self.target, self.classes)
        plain = asdict(self)
        return {
            key: _listed(value)
            for key, value in plain.items()
            if key not in defaults or getattr(self, key) != defaults[key]
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Schema:
        """The inverse of `to_dict`."""
        negative, positive = plain["classes"]
        rest = {key: plain[key] for key in ("missing",) if key in plain}
        for key in ("file_columns", "missing_values"):
            if key in plain:
                rest[key] = tuple(plain[key])
        if "columns" in plain:
            rest["columns"] = tuple(
                Column(**{**column, "categories": tuple(column["categories"])})
                for column in plain["columns"]
            )
        if "written" in plain:
            rest["written"] = Written(**plain["written"])
        if "label_values" in plain:
            negatives, positives = plain["label_values"]
            rest["label_values"] = (tuple(negatives), tuple(positives))
        return cls(tuple(plain["features"]), plain["target"], (negative, positive), **rest)


def _listed(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
