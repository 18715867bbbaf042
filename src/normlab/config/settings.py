"""All settings of a run, and what holds between them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from normlab.config.data import (
    BreastCancerSettings,
    CirclesSettings,
    CsvSettings,
    HeartRateSettings,
)
from normlab.config.model import ModelSettings, QuantileSettings, StrategySettings
from normlab.config.section import Section, Seed
from normlab.config.training import (
    CheckpointSettings,
    DiagnosisSettings,
    EarlyStoppingSettings,
    FiguresSettings,
    ReportSettings,
    TrainerSettings,
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
    diagnosis: DiagnosisSettings
    figures: FiguresSettings
    report: ReportSettings
    ckpt_path: str | None = Field(
        default=None,
        exclude=True,  # how a run goes on is none of its settings
        description="a last.ckpt to go on from, in hydra.run.dir (short: resume=FOLDER)",
    )

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
