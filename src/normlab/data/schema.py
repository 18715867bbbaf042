"""What a table's columns are and its labels mean, as plain types that a checkpoint can hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Value = str | int | float
ColumnType = Literal["numeric", "boolean", "categorical"]
MissingPolicy = Literal["error", "drop", "impute"]
# What stands around the numbers of a column: `48 %`, `$48`; or `2026-11-25`, read as days.
Form = Literal["plain", "percent", "currency", "date"]

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
        form: how a numeric column's cells were written.
        low, high: a numeric column's range, against which later files are held; None where it is
            not known. Two columns of unlike ranges may mean the same.
    """

    name: str
    type: ColumnType = "numeric"
    categories: tuple[Value, ...] = ()
    missing: bool = False
    form: Form = "plain"
    low: float | None = field(default=None, compare=False)
    high: float | None = field(default=None, compare=False)


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
        header: whether the file named its columns; else they go by position, and are called so.
        decimal, thousands: the signs within its numbers (`numbers.Signs`).
        thousandths: whether fractions have three digits behind one to three others (12.345): such
            are no thousands in later files either.
    """

    features: tuple[str, ...]
    target: str
    classes: tuple[Value, Value]
    columns: tuple[Column, ...] = ()
    label_values: tuple[tuple[Value, ...], tuple[Value, ...]] = ((), ())
    file_columns: tuple[str, ...] = ()
    missing: MissingPolicy = "error"
    missing_values: tuple[str, ...] = MISSING_VALUES
    header: bool | None = None
    decimal: Literal["point", "comma"] = "point"
    thousands: Literal["none", "comma", "point", "space", "apostrophe"] = "none"
    thousandths: bool = False

    def __post_init__(self) -> None:
        negative, positive = self.classes
        derived = {
            "columns": tuple(map(Column, self.features)),
            "label_values": ((negative,), (positive,)),
            "file_columns": (*self.features, self.target),
        }
        for name, value in derived.items():
            if getattr(self, name) in ((), ((), ())):
                object.__setattr__(self, name, value)
        if self.header is None:
            positions = tuple(map(str, range(len(self.file_columns))))
            object.__setattr__(self, "header", self.file_columns != positions)

    @property
    def is_numeric(self) -> bool:
        """Whether every row is plain numbers, none of them missing."""
        return self.missing != "impute" and all(c.type == "numeric" for c in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Lists, strings and numbers alone: safe in JSON and in a weights-only checkpoint.

        What a table of plain numbers has by default is left out.
        """
        default = asdict(Schema(self.features, self.target, self.classes))
        needed = {"features", "target", "classes"}
        return {
            key: _listed(value)
            for key, value in asdict(self).items()
            if key in needed or value != default[key]
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Schema:
        """The inverse of `to_dict`."""
        known = {key: _tupled(plain[key]) for f in fields(cls) if (key := f.name) in plain}
        if "columns" in plain:
            columns = ({k: _tupled(v) for k, v in column.items()} for column in plain["columns"])
            known["columns"] = tuple(Column(**column) for column in columns)
        return cls(**known)


def _listed(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, (list, tuple)) else value
