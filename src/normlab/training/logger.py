"""Lightning's logger, writing into the run folder."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from normlab.errors import UserError
from normlab.training.run_folder import RunFolder

FLUSH_SECONDS = 1.0  # between two writings, so that a curve can be watched as it grows


class RunFolderLogger(Logger):
    """Takes an epoch's metrics from Lightning to a `RunFolder`."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.path.parent.name

    @property
    def version(self) -> str:
        return self.folder.path.name

    @property
    def log_dir(self) -> str:
        return str(self.folder.path)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The settings are in the folder already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        record = dict(metrics)
        epoch = int(record.pop("epoch"))  # Lightning counts from 0
        self.folder.log_epoch(epoch + 1, record)
        self.folder.flush(at_most_every=FLUSH_SECONDS)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        # Where the training has failed, it may be the disk: that is said already.
        with suppress(UserError) if status == "failed" else nullcontext():
            self.folder.flush()
