"""A sweep ends in an answer: its report in the terminal, in files and in TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from normlab.errors import UserError
from normlab.messages import fail


class SweepReport(Callback):
    """Compares the runs of a multirun when it has ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra after the last job."""
        from normlab.insight.report import report
        from normlab.training.events import EventFile, figure, text

        folder = Path(config.hydra.sweep.dir)
        try:
            answer = report(folder)
        except UserError as error:
            fail(error)
        print(answer.text)
        now = time.time()
        pictures = [
            figure(f"whole_sweep/{name}", picture, now) for name, picture in answer.figures.items()
        ]
        (markdown,) = (path for path in answer.files if path.suffix == ".md")
        words = text("whole_sweep/report", markdown.read_text("utf-8"), now)
        EventFile(folder).append([words, *pictures])
