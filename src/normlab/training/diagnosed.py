"""A run's result with its diagnosis: here the figures meet the curves that the folder kept."""

from __future__ import annotations

from dataclasses import replace

from normlab.config import Settings
from normlab.data.module import TableDataModule
from normlab.diagnosis.conclusion import conclude
from normlab.diagnosis.start import Start
from normlab.model.classifier import Classifier
from normlab.training.result import Result
from normlab.training.run_folder import RunFolder


def diagnosed(
    result: Result,
    start: Start,
    model: Classifier,
    data: TableDataModule,
    folder: RunFolder,
    settings: Settings,
) -> Result:
    """The result of a finished run with its entry "diagnosis"."""
    final, guess = result.train["loss"], result.guess_loss
    diagnosis = conclude(start, model, data, folder.all_curves(), final, guess, settings)
    return replace(result, diagnosis=diagnosis)
