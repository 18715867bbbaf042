"""Every setting's name, type, range and one-line help. The defaults live in `conf/`.

This module is imported before torch, so that a mistyped setting is refused at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from normlab.trainer_arguments import check_trainer_arguments

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Key = str | int  # of a column; Hydra reads a name such as 7 as a number
Value = bool | int | float | str


class Section(BaseModel):
    """A group of settings: unknown keys, coerced types, nan and inf are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


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
        ge=0, description="a column of at most so many whole numbers is categorical; 0: never"
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
    encoding: Literal["auto", "utf-8", "utf-16", "latin-1", "cp1252"] = Field(
        description="of the text; auto: UTF-8, or UTF-16 where its byte order mark stands first"
    )
    cache: bool | Literal["auto"] = Field(
        description="convert the file once, train from disk; auto: with cache_dir, or if large"
    )
    cache_dir: Annotated[str, Field(min_length=1)] | None = Field(
        description="where converted files are kept; null: normlab/ in the user's cache folder"
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


class StrategySettings(Section):
    name: Literal["none", "center", "standardize", "minmax", "robust", "log1p", "batchnorm"] = (
        Field(description="what happens to the rows before the first layer")
    )


class QuantileSettings(Section):
    name: Literal["quantile"] = Field(description="to a standard normal, through the quantiles")
    n_quantiles: int = Field(ge=2, description="quantiles kept, at most one a training row")


class NoSchedulerSettings(Section):
    name: Literal["none"] = Field(description="a constant learning rate")


class StepSettings(Section):
    name: Literal["step"] = Field(description="StepLR")
    step_size: int = Field(ge=1, description="epochs between two decays of the learning rate")
    gamma: float = Field(gt=0, le=1, description="factor of each decay")


class CosineSettings(Section):
    name: Literal["cosine"] = Field(description="CosineAnnealingLR over trainer.max_epochs")
    eta_min: float = Field(ge=0, description="learning rate at the end")


class ModelSettings(Section):
    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        description="units of each hidden layer; [] is logistic regression"
    )
    activation: Literal["sigmoid", "tanh", "relu", "gelu"] = Field(
        description="after each hidden layer"
    )
    dropout: Fraction = Field(description="rate after each hidden layer")
    batchnorm: bool = Field(description="BatchNorm1d on the inputs, after the normalization")
    init: Literal["torch", "he", "xavier"] = Field(
        description="initial weights: torch's own, he (relu, gelu) or xavier (sigmoid, tanh)"
    )
    pos_weight: Literal["balanced"] | Positive | None = Field(
        description="weight of the positive rows in the training loss; balanced: n0 / n1"
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field(description="the optimizer")
    lr: Positive = Field(description="learning rate")
    weight_decay: float = Field(ge=0, description="L2 penalty (adamw: decoupled decay)")
    scheduler: NoSchedulerSettings | StepSettings | CosineSettings = Field(discriminator="name")


class EarlyStoppingSettings(Section):
    patience: int | None = Field(
        ge=1, description="stop after so many epochs without a better val/loss; null: never"
    )
    min_delta: float = Field(ge=0, description="what counts as better: at least so much lower")


class TrainerSettings(Section):
    """Arguments of `lightning.Trainer`; others of its plain-valued ones are taken too."""

    model_config = ConfigDict(extra="allow")

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = Field(
        description="the device"
    )
    devices: int | str | list[int] = Field(description="how many, or which")
    strategy: str = Field(description="how several devices share the work: ddp, ddp_fork, ...")
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"] = (
        Field(description="of the arithmetic")
    )
    max_epochs: int = Field(ge=1, description="passes over the training rows")
    enable_progress_bar: bool = Field(description="a bar while it runs")
    enable_checkpointing: bool = Field(description="write checkpoints; false for large sweeps")

    @model_validator(mode="after")
    def _known_to_lightning(self) -> TrainerSettings:
        check_trainer_arguments(self.model_extra or {})
        return self


class CheckpointSettings(Section):
    every_n_seconds: float = Field(
        ge=0, description="time between two writings of the checkpoints; 0: at every epoch's end"
    )


class ReportSettings(Section):
    tune: list[str] = Field(
        description="settings that a sweep's report sets to their best value for each strategy"
    )
    target_loss: Positive | None = Field(
        description="train/loss that the report counts the epochs to; null: 10 % of label entropy"
    )


class Settings(Section):
    """All settings of a run, as `python train.py` composes them from `conf/`."""

    seed: Seed = Field(description="makes the split, the initial weights, shuffling and dropout")
    data: CirclesSettings | HeartRateSettings | BreastCancerSettings | CsvSettings = Field(
        discriminator="name"
    )
    normalization: StrategySettings | QuantileSettings = Field(discriminator="name")
    model: ModelSettings
    early_stopping: EarlyStoppingSettings
    checkpoint: CheckpointSettings
    trainer: TrainerSettings
    report: ReportSettings

    @property
    def batchnorm(self) -> bool:
        """Whether the network starts with BatchNorm1d: asked for by either of two settings."""
        return self.model.batchnorm or self.normalization.name == "batchnorm"

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.batchnorm and self.data.batch_size == 1:
            raise ValueError(
                "data.batch_size=1 cannot train with BatchNorm: one row has no spread; use 2 or "
                "more"
            )
        if self.early_stopping.patience is not None and (
            self.data.split == "none" or self.data.val_fraction == 0
        ):
            raise ValueError(
                "early_stopping.patience needs a validation split: set data.split=random and "
                "data.val_fraction above 0"
            )
        limit = (self.trainer.model_extra or {}).get("limit_val_batches")
        if self.early_stopping.patience is not None and limit == 0:
            raise ValueError(
                "early_stopping.patience needs a validation: leave out trainer.limit_val_batches=0"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain types."""
        return self.model_dump(mode="json")
