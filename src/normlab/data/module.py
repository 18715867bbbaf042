"""The LightningDataModule: splits a table, fits the normalization, serves raw batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from normlab.data.batches import Batch, Batches, EpochOrder, Share, SharedBatches, WholeEpochs
from normlab.data.disk_batches import DiskBatches, Part, block_order
from normlab.data.rows import RowsOnDisk
from normlab.data.split import SplitMethod, split_rows
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.model.network import Network

Loader = Batches | SharedBatches | DiskBatches

EVALUATION_NUMBERS = 2**19  # of a table on disk, 2 MB
SAMPLE = 100_000  # numbers
EVALUATION_BATCH = 65_536  # rows at once where no gradient is kept: bounds the memory


class TableDataModule(LightningDataModule):
    """A table in raw units, split and served in batches on the training device.

    A table on disk is read as it is needed. Of each of its rows memory holds 4 bytes, its place
    in the split; training adds as much for its logit and its label, of an epoch at a time.

    Args:
        table: the rows and their labels.
        split: "random" (stratified), "chronological" (first rows train, last rows test) or "none"
            (all rows train).
        val_fraction: share of the rows held out for validation.
        test_fraction: share of the rows held out for the test.
        batch_size: rows in a training step, of all processes together; None for all of them.
        seed: makes the random split and the order of the rows in each epoch.
        whole_epochs: serve all mini-batches of a training epoch as one (`WholeEpochs`).

    Raises:
        UserError: where a part of the split would be empty or lack a class, or whole epochs are
            asked of a table on disk.
    """

    def __init__(
        self,
        table: Table,
        split: SplitMethod = "random",
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        batch_size: int | None = None,
        seed: int = 0,
        whole_epochs: bool = False,
    ) -> None:
        super().__init__()
        if whole_epochs and table.on_disk:
            raise UserError(
                "trainer.unroll_epochs=true takes an epoch's rows into memory, and the table stays "
                "on disk: leave it out, or set data.cache=false"
            )
        self.table = table
        self.whole_epochs = whole_epochs
        self.batch_size = batch_size
        self.seed = seed
        index = np.int32 if table.on_disk and len(table) < 2**31 else np.int64
        self.split = split_rows(table.labels, split, val_fraction, test_fraction, seed, index)

    def part(self, name: str, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor] | None:
        """The rows (n, features) and labels (n,) of "train", "val" or "test"; None where empty."""
        index = getattr(self.split, name)
        if not len(index):
            return None
        rows, labels = (np.asarray(a[index]) for a in (self.table.rows, self.table.labels))
        return torch.from_numpy(rows).to(device), torch.from_numpy(labels).to(device)

    def chunks(self, name: str, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """The rows and labels of a part, `EVALUATION_BATCH` at a time; none where it is empty."""
        if self.table.on_disk:
            part = Part(self.table, getattr(self.split, name))
            for start in range(0, len(part), self._evaluation_batch):
                rows, labels = part.take(slice(start, start + self._evaluation_batch))
                yield rows.to(device), labels.to(device)
        else:
            whole = self.part(name, device)
            for rows, labels in zip(*(t.split(EVALUATION_BATCH) for t in whole or ()), strict=True):
                yield rows, labels

    @property
    def train_rows(self) -> Tensor:
        """The only rows that any statistic may see."""
        return torch.from_numpy(self.table.rows[self.split.train])

    def sampled_rows(self) -> Tensor:
        """The training rows; of a table on disk evenly spaced ones, `SAMPLE` numbers at most."""
        if not self.table.on_disk:
            return self.train_rows
        at_most = max(1, SAMPLE // self.table.rows.shape[1])
        index = self.split.train[:: -(-len(self.split.train) // at_most)]
        return Part(self.table, index).take(slice(None))[0]

    @property
    def train_labels(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.table.labels[self.split.train]))

    def fit(self, network: Network) -> None:
        """Fits the network's normalization on the training rows alone."""
        on_disk = self.table.on_disk
        rows = RowsOnDisk(self.table.rows, self.split.train) if on_disk else self.train_rows
        network.fit(rows)

    def train_dataloader(self) -> Loader:
        """Shuffled from (seed, epoch) by whoever calls `sampler.set_epoch`; Lightning does."""
        return self._serve("train", self.batch_size, shuffled=True)

    def val_dataloader(self) -> Loader | list[Loader]:
        """In the rows' order; an empty list where nothing is held out for validation."""
        return self._serve("val", self._evaluation_batch) if len(self.split.val) else []

    def test_dataloader(self) -> Loader | list[Loader]:
        """In the rows' order; an empty list where nothing is held out for the test."""
        return self._serve("test", self._evaluation_batch) if len(self.split.test) else []

    @property
    def _evaluation_batch(self) -> int:
        """Rows; of a wide table on disk fewer, so that memory does not grow with its columns."""
        fewer = max(1_024, EVALUATION_NUMBERS // self.table.rows.shape[1])
        return min(EVALUATION_BATCH, fewer) if self.table.on_disk else EVALUATION_BATCH

    def _serve(self, name: str, batch_size: int | None, shuffled: bool = False) -> Loader:
        device, index = self._device(), getattr(self.split, name)
        share = None
        if self.trainer is not None and self.trainer.world_size > 1:
            share = Share(self.trainer.global_rank, self.trainer.world_size)
        if self.table.on_disk:
            blocks = block_order(self.table, len(index), self.seed) if shuffled else None
            return DiskBatches(Part(self.table, index), batch_size, device, blocks, share)
        part = self.part(name, device)
        assert part is not None
        order = EpochOrder(len(index), self.seed) if shuffled else None
        if share is None:
            kind = WholeEpochs if shuffled and self.whole_epochs else Batches
            return kind(*part, batch_size, order)
        return SharedBatches(*part, batch_size, order, share)

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
