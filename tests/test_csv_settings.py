"""Settings of data=csv: what a command line may write, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from normlab.config import Settings
from normlab.config.data import CsvSettings
from normlab.data.file.columns import Selection
from normlab.data.file.dialect import Format
from normlab.data.load import file_choices
from normlab.errors import UserError
from normlab.training.grouping import sharing_key

Settled = Callable[..., Settings]
CSV = ("data=csv", "data.path=rows.csv", "data.target=label")


def chosen(settings: Settled, *overrides: str) -> CsvSettings:
    data = settings(*CSV, *overrides).data
    assert isinstance(data, CsvSettings)
    return data


def test_the_defaults_are_the_readers_own(settings: Settled) -> None:
    format, selection = file_choices(chosen(settings))
    assert format == Format()
    given, default = vars(selection), vars(Selection())
    as_lists = {key: list(v) if isinstance(v, tuple) else v for key, v in default.items()}
    assert given == as_lists


def test_values_as_a_command_line_writes_them(settings: Settled) -> None:
    data = chosen(
        settings, "data.missing_values=[NA,nan,null,-999,true,'?']", "data.positive=[1,'>50K',x]",
        "data.drop=[0,id,'a b']", "data.features=null", "data.header=false", "data.target=-1",
    )  # fmt: skip
    assert data.missing_values == ["NA", "nan", "null", "-999", "True", "?"]
    assert data.positive == [1, ">50K", "x"]
    assert data.drop == [0, "id", "a b"]
    assert data.header is False
    assert data.target == -1
    assert chosen(settings, "data.positive=true").positive is True


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.missing=fill", "data.missing=fill: should be 'error', 'drop' or 'impute'"),
        ("data.indicator=true", "data.indicator=true needs data.missing=impute"),
        ("data.max_categories=0", "data.max_categories=0: should be greater than or equal to 1"),
        ("data.integer_categories=-1", "data.integer_categories=-1: should be greater than or"),
        ("data.separator=';'", "data.separator=;: should be 'auto', 'comma'"),
        ("data.encoding=ebcdic", "data.encoding=ebcdic: should be 'auto', 'utf-8'"),
        ("data.drop=id", "data.drop=id: should be a valid list"),
        ("data.missing_value=x", "data.missing_value is not a setting"),
    ],
)
def test_mistakes(settings: Settled, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(*CSV, f"+{override}" if "not a setting" in message else override)
    assert str(caught.value).startswith(message)


def test_what_changes_the_shapes_keeps_runs_apart(settings: Settled) -> None:
    first = sharing_key(settings(*CSV, "data.missing=impute"))
    assert first == sharing_key(settings(*CSV, "data.missing=impute", "seed=3"))
    for override in (
        "data.max_categories=5", "data.indicator=true", "data.drop=[a]", "data.features=[b]",
        "data.categorical=[a]", "data.numeric=[a]", "data.integer_categories=5",
        "data.missing=drop", "data.missing_values=[x]", "data.path=other.csv",
    ):  # fmt: skip
        assert first != sharing_key(settings(*CSV, "data.missing=impute", override)), override
