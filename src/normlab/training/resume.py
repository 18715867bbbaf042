"""Where runs go on: what their last checkpoint must hold, and the folders as they were then."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from normlab.errors import UserError
from normlab.model.checkpoint import read_checkpoint

ENTRY = "runs"  # of last.ckpt: whose it is
WRITTEN = ("header", "decimal", "thousands", "thousandths")  # of a schema: how a file is written
HOLDS = (ENTRY, "outcomes", "loops", "state_dict", "optimizer_states", "callbacks")


@dataclass(frozen=True)
class ResumePoint:
    """A last.ckpt to go on from: read, and of runs of this program.

    Attributes:
        path: of the file.
        checkpoint: its content.
        folders: of the runs, in the order of the axis of runs.
    """

    path: Path
    checkpoint: dict[str, Any]
    folders: list[Path]

    @classmethod
    def read(cls, path: Path) -> ResumePoint:
        """Reads a last.ckpt.

        Raises:
            UserError: where the file is damaged, of another version, not ours, or of weights alone.
        """
        checkpoint = read_checkpoint(path)
        missing = [name for name in HOLDS if name not in checkpoint]
        if missing:
            raise UserError(
                f"{path} holds no state of a training to go on from (no {', '.join(missing)}): "
                "a run goes on from its last.ckpt"
            )
        try:
            names = checkpoint[ENTRY]["folders"]
            folders = [Path(os.path.normpath(path.parent / name)) for name in names]
            point = cls(path, checkpoint, folders)
            lengths = [n for run in range(len(folders)) for n in point.lengths(run).values()]
            if point.epochs < 0 or point.seconds < 0 or not all(n >= 0 for n in lengths):
                raise ValueError("a number below 0")
            point._check_shapes()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise UserError(f"{path} is a damaged checkpoint") from None
        return point

    def _check_shapes(self) -> None:
        """Refuses tensors of other numbers of runs than the file names.

        Raises:
            ValueError, AttributeError: in that case.
        """
        outcomes, n_runs = self.checkpoint["outcomes"], len(self.folders)
        active = outcomes["active"].tolist()
        state = self.checkpoint["state_dict"].values()
        all_runs = [value for name, value in outcomes.items() if isinstance(value, Tensor)]
        all_runs = [
            *outcomes["best"].values(),
            *(v for v in all_runs if v is not outcomes["active"]),
        ]
        if (
            {len(value) for value in state} != {len(active)}
            or {len(value) for value in all_runs} != {n_runs}
            or len(outcomes["diverged"]) != n_runs
            or [type(one) for one in self.networks] != [dict] * n_runs
            or not all(0 <= run < n_runs for run in active)
        ):
            raise ValueError("numbers of runs")

    @property
    def epochs(self) -> int:
        """Number of epochs finished."""
        return int(self.checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    @property
    def seconds(self) -> float:
        return float(self.checkpoint[ENTRY]["seconds"])

    @property
    def stopped(self) -> bool:
        """Whether all runs have stopped early."""
        return bool(self.checkpoint["outcomes"]["stopped"].all())

    @property
    def networks(self) -> list[dict[str, Any]]:
        """Of each run, what `model.checkpoint.describe` gave."""
        entry = self.checkpoint["normlab"]
        return entry.get("networks", [entry])

    def lengths(self, run: int) -> dict[str, int]:
        """Of a run's files that grow, as `RunFolder.lengths` gave them."""
        return dict(self.checkpoint[ENTRY]["lengths"][run])

    def check_epochs(self, max_epochs: int, finished: bool) -> None:
        """Refuses where nothing is left to train.

        Args:
            finished: whether the run has left its result.

        Raises:
            UserError: saying how the run has ended.
        """
        if self.epochs > max_epochs:
            raise UserError(
                f"{self.path} has trained {self.epochs} epochs: trainer.max_epochs={max_epochs} "
                "cannot take them back"
            )
        run = self.path.parent.parent
        if finished and self.stopped:
            raise UserError(f"{run} has finished: it stopped early, after epoch {self.epochs}")
        if finished and self.epochs == max_epochs:
            raise UserError(
                f"{run} has finished: all of its {max_epochs} epochs are trained. To train more, "
                "raise trainer.max_epochs"
            )

    def complete(self, max_epochs: int) -> bool:
        """Whether all epochs are trained: only the results are left to be written."""
        return self.stopped or self.epochs >= max_epochs

    def check_networks(
        self, descriptions: Sequence[dict[str, Any]], state: dict[str, Tensor]
    ) -> None:
        """Refuses a checkpoint of other columns, other networks or other data.

        Args:
            descriptions: of the runs' networks, as the settings and the data make them.
            state: the state_dict of the network of all runs.

        Raises:
            UserError: saying what differs.
        """
        for here, there in zip(descriptions, self.networks, strict=True):
            if _of_the_model(here) != _of_the_model(there):
                columns = here["schema"] != there.get("schema")
                other = "other columns" if columns else "another network"
                raise UserError(f"{self.path} is a checkpoint of {other} than the run's")
        held = self.checkpoint["outcomes"]["best"]
        if {name: value.shape for name, value in state.items()} != {
            name: value.shape for name, value in held.items()
        }:
            raise UserError(f"{self.path} is a damaged checkpoint: it holds other weights")


def _of_the_model(description: dict[str, Any]) -> dict[str, Any]:
    """A description without how its file was written, which is no matter of the model's."""
    schema = {key: value for key, value in description["schema"].items() if key not in WRITTEN}
    return {**description, "schema": schema}
