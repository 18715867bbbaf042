"""The LightningDataModule: the rows of one run or of many, split and served in raw units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from normlab.data.serve.batches import Batches, Share
from normlab.data.serve.disk import DiskBatches, Part, block_order
from normlab.data.serve.rows import Rows, RowsInMemory, RowsOnDisk
from normlab.data.serve.split import SplitMethod, split_rows
from normlab.data.table import Table

SAMPLE = 100_000  # numbers
EVALUATION_ROWS = 65_536  # at once where no gradient is kept: bounds the memory
EVALUATION_NUMBERS = {"memory": 2**24, "disk": 2**19}


class SplitTable:
    """A table, and which of its rows one run trains on, is validated and is tested on.

    Of a table on disk memory holds 4 bytes a row, its place in the split.

    Args:
        table: the rows and their labels.
        split: "random" (stratified), "chronological" (first rows train, last rows test) or "none"
            (all rows train).
        val_fraction: share of the rows held out for validation.
        test_fraction: share of the rows held out for the test.
        batch_size: rows in a training step, of all processes together; None for all of them.
        seed: makes the random split and the order of the rows in each epoch.

    Raises:
        UserError: where a part of the split would be empty or lack a class.
    """

    def __init__(
        self,
        table: Table,
        split: SplitMethod = "random",
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        self.table = table
        self.batch_size = batch_size
        self.seed = seed
        index = np.int32 if table.on_disk and len(table) < 2**31 else np.int64
        self.split = split_rows(table.labels, split, val_fraction, test_fraction, seed, index)

    @property
    def training_rows(self) -> Rows:
        """The only rows (n, columns) that any statistic may see."""
        if self.table.on_disk:
            return RowsOnDisk(self.table.rows, self.split.train)
        return RowsInMemory(torch.from_numpy(self.table.rows[self.split.train]))

    def sampled_rows(self) -> Tensor:
        """The training rows; of a table on disk evenly spaced ones, `SAMPLE` numbers at most."""
        index = self.split.train
        if self.table.on_disk:
            at_most = max(1, SAMPLE // self.table.rows.shape[1])
            index = index[:: -(-len(index) // at_most)]
        return torch.from_numpy(np.asarray(self.table.rows[index]))

    @property
    def train_labels(self) -> Tensor:
        return self.labels("train")

    def labels(self, part: str) -> Tensor:
        """Those (n,) of "train", "val" or "test"."""
        return torch.from_numpy(np.asarray(self.table.labels[getattr(self.split, part)]))


class TableDataModule(LightningDataModule):
    """The rows of R runs whose splits have parts of equal sizes; a shared table is kept once.

    A table on disk is read as it is needed, for one run.

    Args:
        runs: each with its table and split.
        at_once: whether Lightning is served an epoch's steps as one (`Batches`).
    """

    def __init__(self, runs: Sequence[SplitTable], at_once: bool = True) -> None:
        super().__init__()
        self.runs = list(runs)
        self.at_once = at_once and not runs[0].table.on_disk
        self._index: dict[str, Tensor] = {}
        self._on_device: tuple[Tensor, Tensor] | None = None
        if not self.on_disk:
            tables = list({id(run.table): run.table for run in runs}.values())
            starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
            offset = {id(table): start for table, start in zip(tables, starts, strict=True)}
            self._rows = torch.from_numpy(_joined([table.rows for table in tables]))
            self._labels = torch.from_numpy(_joined([table.labels for table in tables]))
            for part in ("train", "val", "test"):
                places = [getattr(run.split, part) + offset[id(run.table)] for run in runs]
                self._index[part] = torch.from_numpy(np.stack(places))

    @property
    def on_disk(self) -> bool:
        return self.runs[0].table.on_disk

    def n_rows(self, part: str) -> int:
        """Rows of a run in "train", "val" or "test"."""
        return len(getattr(self.runs[0].split, part))

    def train_dataloader(self) -> Batches | DiskBatches:
        """Shuffled from (seed, epoch) by whoever calls `sampler.set_epoch`; Lightning does."""
        run, n_rows = self.runs[0], self.n_rows("train")
        if self.on_disk:
            order = block_order(run.table, n_rows, run.seed)
            part = Part(run.table, run.split.train)
            return DiskBatches(part, run.batch_size, self._device, order, self._share)
        rows, labels = self._tensors()
        index = self._index["train"].to(rows.device)
        seeds = [run.seed for run in self.runs]
        return Batches(rows, labels, index, run.batch_size, seeds, self.at_once, self._share)

    def evaluation(
        self, part: str, runs: Tensor | None = None, shared: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows (runs, n, columns) and labels (runs, n) of a part, in order, some at a time.

        Args:
            part: "train", "val" or "test"; nothing is yielded where it is empty.
            runs: positions of those wanted; None for all.
            shared: whether this process gets its share alone.
        """
        n_runs = len(self.runs) if runs is None else len(runs)
        most = EVALUATION_NUMBERS["disk" if self.on_disk else "memory"]
        at_once = max(2, most // (n_runs * self.runs[0].table.rows.shape[1]))
        at_once = min(EVALUATION_ROWS, max(1_024, at_once) if self.on_disk else at_once)
        share = self._share if shared else Share()
        for start in range(0, self.n_rows(part), at_once):
            rows = share.of(start, min(start + at_once, self.n_rows(part)))
            yield self.take(part, rows, runs)

    def take(
        self, part: str, places: slice | Tensor, runs: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rows (runs, k, columns) and labels (runs, k) at some places of a part, on the device."""
        if self.on_disk:
            run = self.runs[0]
            chosen = places if isinstance(places, slice) else places.numpy()
            found = Part(run.table, getattr(run.split, part)).take(chosen)
            rows, labels = (tensor[None].to(self._device) for tensor in found)
            return rows, labels
        rows, labels = self._tensors()
        index = self._index[part] if runs is None else self._index[part][runs]
        index = index[:, places].to(rows.device)
        return rows[index], labels[index]

    def _tensors(self) -> tuple[Tensor, Tensor]:
        device = self._device
        if self._on_device is None or self._on_device[0].device != device:
            self._on_device = self._rows.to(device), self._labels.to(device)
        return self._on_device

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def _share(self) -> Share:
        if self.trainer is None:
            return Share()
        return Share(self.trainer.global_rank, self.trainer.world_size)


def _joined(arrays: Sequence[Any]) -> Any:
    """One array of all; the only one as it is, without a copy."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
