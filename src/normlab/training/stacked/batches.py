"""The rows of many runs, batch by batch: every run its own split, its own order, one gather."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from normlab.data.batches import Batch, EpochOrder, batch_bounds
from normlab.data.module import EVALUATION_BATCH, TableDataModule


class StackedBatches:
    """Serves an epoch at once, as the positions (runs, n) of its rows, for `mini_batches` to take.

    Lightning's own work in a step outlasts a small stack's, and is paid once an epoch here. The
    mini-batches are those that `Batches` serves each run.

    Args:
        rows: (all rows of all tables, features), on the device of the training.
        labels: of these rows.
        index: int64 (runs, n), the rows of each run's part of its split.
        batch_size: rows of a run in a batch; None for all of them.
        orders: of each run; none keeps the rows' order.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        rows: Tensor,
        labels: Tensor,
        index: Tensor,
        batch_size: int | None,
        orders: Sequence[EpochOrder] = (),
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.index = index
        self.bounds = batch_bounds(index.shape[1], batch_size)
        self.orders = list(orders)
        self._only_batch: Batch | None = None

    @property
    def sampler(self) -> StackedBatches:
        """Where Lightning finds `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        for order in self.orders:
            order.set_epoch(epoch)

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these."""
        self.index = self.index[runs]
        self.orders = [self.orders[run] for run in runs.tolist()] if self.orders else []
        self._only_batch = None

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Tensor]:
        yield self._in_order()

    def _in_order(self) -> Tensor:
        if len(self.bounds) == 1 or not self.orders:
            return self.index
        order = torch.stack([order.permutation() for order in self.orders])
        return self.index.gather(1, order.to(self.index.device))

    def mini_batches(self, epoch: Tensor | None = None) -> Iterator[Batch]:
        """Rows (runs, b, features) and labels (runs, b) of each step.

        Args:
            epoch: as it was served; None serves it once more.
        """
        if len(self.bounds) == 1:  # the same in every epoch: gathered once
            if self._only_batch is None:
                self._only_batch = self.rows[self.index], self.labels[self.index]
            yield self._only_batch
            return
        epoch = self._in_order() if epoch is None else epoch
        for start, stop in self.bounds:
            batch = epoch[:, start:stop]
            yield self.rows[batch], self.labels[batch]


class StackedData(LightningDataModule):
    """The data of many runs whose splits have parts of equal sizes; a shared table is kept once."""

    def __init__(self, runs: Sequence[TableDataModule]) -> None:
        super().__init__()
        tables = list({id(run.table): run.table for run in runs}.values())
        starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
        offset = {id(table): start for table, start in zip(tables, starts, strict=True)}
        self.rows = torch.from_numpy(np.concatenate([table.rows for table in tables]))
        self.labels = torch.from_numpy(np.concatenate([table.labels for table in tables]))
        self.index = {
            part: torch.from_numpy(
                np.stack([getattr(run.split, part) + offset[id(run.table)] for run in runs])
            )
            for part in ("train", "val")
        }
        self.seeds = [run.seed for run in runs]
        self.batch_size = runs[0].batch_size
        self._served: list[StackedBatches] = []

    def train_dataloader(self) -> StackedBatches:
        n_rows = self.index["train"].shape[1]
        orders = [EpochOrder(n_rows, seed) for seed in self.seeds]
        return self._serve("train", self.batch_size, orders)

    def validation_batches(self) -> StackedBatches | None:
        """In the rows' order; None where nothing is held out for validation.

        Not a `val_dataloader`: Lightning's loop over it would take as long as the validation.
        """
        n_runs, n_rows = self.index["val"].shape
        return self._serve("val", max(2, EVALUATION_BATCH // n_runs)) if n_rows else None

    def keep(self, runs: Tensor) -> None:
        """Drops all runs but these from whatever is being served."""
        for batches in self._served:
            batches.keep(runs)

    def _serve(
        self, part: str, batch_size: int | None, orders: Sequence[EpochOrder] = ()
    ) -> StackedBatches:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        rows, labels = self.rows.to(device), self.labels.to(device)
        batches = StackedBatches(rows, labels, self.index[part].to(device), batch_size, orders)
        self._served.append(batches)
        return batches
