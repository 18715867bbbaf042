"""Settings under `data`: one class for each source of rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from normlab.config.section import Fraction, Key, Positive, Section, Seed, Value


class DataSettings(Section):
    """What every source of rows shares: the split and the batches."""

    split: Literal["random", "chronological", "none"] = Field(
        description="random (stratified), chronological (first rows train, last rows test), none"
    )
    val_fraction: Fraction = Field(description="share of the rows held out for validation")
    test_fraction: Fraction = Field(description="share of the rows held out for the test")
    batch_size: int | None = Field(
        ge=1, description="rows in a step, of all devices together; null: all of them"
    )

    @model_validator(mode="after")
    def _rows_left_to_train(self) -> DataSettings:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                "data.val_fraction + data.test_fraction must leave rows to train on: below 1"
            )
        return self


class CirclesSettings(DataSettings):
    name: Literal["circles"] = Field(description="two concentric circles, as scikit-learn's")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(description="makes the synthetic rows")
    rows: int = Field(ge=4, description="rows to make")
    noise: float = Field(ge=0, description="standard deviation of the noise on each coordinate")
    factor: float = Field(ge=0, lt=1, description="radius of the inner circle; the outer has 1")


class HeartRateSettings(DataSettings):
    name: Literal["heart_rate"] = Field(description="one subject's heart rate, an AR(1) series")
    seed: Seed = Field(description="makes the synthetic rows")
    rows: int = Field(ge=4, description="rows to make, in time's order")
    mean: float = Field(description="mean, beats per minute")
    std: Positive = Field(description="standard deviation, beats per minute")
    autocorrelation: float = Field(gt=-1, lt=1, description="correlation of neighbouring rows")
    threshold: float = Field(description="the label is 1 above it, beats per minute")


class BreastCancerSettings(DataSettings):
    name: Literal["breast_cancer"] = Field(description="scikit-learn's real table of 569 x 30")


class CsvSettings(DataSettings):
    name: Literal["csv"] = Field(description="a CSV file, also gzipped, or a Parquet file")
    path: str = Field(min_length=1, description="the file to read")
    target: Key = Field(description="the label's column: a name, or a position (-1: the last)")
    positive: Value | list[Value] | None = Field(
        description="the label's value or values of class 1; null: the larger of two"
    )
    features: list[Key] | None = Field(description="the input columns; null: all but the target")
    drop: list[Key] = Field(description="columns to leave out")
    categorical: list[Key] = Field(description="columns that are categories, whatever they hold")
    numeric: list[Key] = Field(description="columns that are numbers, however few they are")
    integer_categories: int = Field(
        ge=0,
        description="a column of at most so many whole numbers is categorical; 0: never",
    )
    max_categories: int = Field(
        ge=1, description="places for a column's most frequent categories; the rarer share one"
    )
    missing: Literal["error", "drop", "impute"] = Field(
        description="missing values: error refuses, drop leaves their rows out, impute fills them"
    )
    missing_values: list[str] = Field(
        description="how a missing value is spelled, beside the blank cell; case is ignored"
    )
    indicator: bool = Field(
        description="with missing=impute: a further input for each column with gaps, 1 where filled"
    )
    header: bool | Literal["auto"] = Field(
        description="whether the first line names the columns; auto: detected"
    )
    separator: Literal["auto", "comma", "semicolon", "tab", "pipe"] = Field(
        description="between cells; auto: detected"
    )
    quote: Literal["auto", "double", "single", "none"] = Field(
        description="around cells that hold a separator; auto: detected"
    )
    decimal: Literal["auto", "point", "comma"] = Field(
        description="the sign before a fraction; auto: detected"
    )
    thousands: Literal["auto", "none", "comma", "point", "space", "apostrophe"] = Field(
        description="the sign between thousands; auto: detected"
    )
    skip_lines: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        description="lines before the table; auto: comments and a count of the rows"
    )
    encoding: Literal["auto", "utf-8", "utf-16", "latin-1", "cp1252"] = Field(
        description="of the text; auto: UTF-8, or UTF-16 where its byte order mark stands first"
    )
    cache: bool | Literal["auto"] = Field(
        description="convert the file once, train from disk; auto: with cache_dir, or if large"
    )
    cache_dir: Annotated[str, Field(min_length=1)] | None = Field(
        description="where converted files are kept; null: normlab/ in the user's cache folder"
    )

    cache_max_gb: Positive | None = Field(
        description="room for converted files, those used least lately go first; null: no limit"
    )

    @field_validator("missing_values", mode="before")
    @classmethod
    def _as_spelled(cls, given: Any) -> Any:
        """Hydra reads nan, null and -999 as values, where their spelling is meant."""
        if not isinstance(given, list):
            return given
        return ["null" if item is None else str(item) for item in given]

    @model_validator(mode="after")
    def _indicator_needs_imputation(self) -> CsvSettings:
        if self.indicator and self.missing != "impute":
            raise ValueError("data.indicator=true needs data.missing=impute")
        return self
