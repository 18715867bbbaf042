"""Settings under `normalization` and `model`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from normlab.config.section import Fraction, Positive, Section


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


SchedulerSettings = NoSchedulerSettings | StepSettings | CosineSettings


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
    momentum: float = Field(ge=0, lt=1, description="of sgd; 0: none")
    weight_decay: float = Field(ge=0, description="L2 penalty (adamw: decoupled decay)")
    scheduler: SchedulerSettings = Field(discriminator="name")
