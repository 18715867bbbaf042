"""Settings of the training itself and of what it leaves behind."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from normlab.config.section import Positive, Section
from normlab.config.trainer_arguments import check_trainer_arguments


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


class DiagnosisSettings(Section):
    enabled: bool = Field(
        description="say before, during and after training whether and why it does not learn"
    )
    every_n_epochs: int = Field(
        ge=1, description="epochs between two looks at gradients and lost units"
    )


class FiguresSettings(Section):
    enabled: bool | Literal["auto"] = Field(
        description="draw the network for TensorBoard; auto: of a run by itself, not in sweeps"
    )
    every_n_epochs: int | None = Field(
        ge=1,
        description="epochs between two drawings; null: as 5 % of the time allow; always the last",
    )

    def of(self, sweep: bool) -> bool:
        """Whether to draw a run, of a sweep or by itself."""
        return not sweep if self.enabled == "auto" else self.enabled


class ReportSettings(Section):
    tune: list[str] = Field(
        description="settings that a sweep's report sets to their best value for each strategy"
    )
    target_loss: Positive | None = Field(
        description="train/loss that the report counts the epochs to; null: 10 % of label entropy"
    )
