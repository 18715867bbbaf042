"""The LightningDataModule: splits a table, fits the normalization, serves raw batches."""

from __future__ import annotations

import torch
from lightning import LightningDataModule
from torch import Tensor

from normlab.data.batches import Batches, EpochOrder, Share, SharedBatches
from normlab.data.split import SplitMethod, split_rows
from normlab.data.table import Table
from normlab.model.network import Network

EVALUATION_BATCH = 65_536  # rows at once where no gradient is kept: bounds the memory


class TableDataModule(LightningDataModule):
    """A table in raw units, split and served in batches on the training device.

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
        super().__init__()
        self.table = table
        self.batch_size = batch_size
        self.seed = seed
        self.split = split_rows(table.labels, split, val_fraction, test_fraction, seed)

    def part(self, name: str, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor] | None:
        """The rows (n, features) and labels (n,) of "train", "val" or "test"; None where empty."""
        index = getattr(self.split, name)
        if not len(index):
            return None
        rows = torch.from_numpy(self.table.rows[index])
        return rows.to(device), torch.from_numpy(self.table.labels[index]).to(device)

    @property
    def train_rows(self) -> Tensor:
        """The only rows that any statistic may see."""
        return torch.from_numpy(self.table.rows[self.split.train])

    @property
    def train_labels(self) -> Tensor:
        return torch.from_numpy(self.table.labels[self.split.train])

    def fit(self, network: Network) -> None:
        """Fits the network's normalization on the training rows alone."""
        network.fit(self.train_rows)

    def train_dataloader(self) -> Batches | SharedBatches:
        """Shuffled from (seed, epoch) by whoever calls `sampler.set_epoch`; Lightning does."""
        part = self.part("train", self._device())
        assert part is not None
        return self._serve(part, self.batch_size, EpochOrder(len(part[0]), self.seed))

    def val_dataloader(self) -> Batches | SharedBatches | list[Batches]:
        """In the rows' order; an empty list where nothing is held out for validation."""
        return self._evaluation_batches("val")

    def test_dataloader(self) -> Batches | SharedBatches | list[Batches]:
        """In the rows' order; an empty list where nothing is held out for the test."""
        return self._evaluation_batches("test")

    def _evaluation_batches(self, name: str) -> Batches | SharedBatches | list[Batches]:
        part = self.part(name, self._device())
        return [] if part is None else self._serve(part, EVALUATION_BATCH)

    def _serve(
        self,
        part: tuple[Tensor, Tensor],
        batch_size: int | None,
        sampler: EpochOrder | None = None,
    ) -> Batches | SharedBatches:
        if self.trainer is None or self.trainer.world_size == 1:
            return Batches(*part, batch_size, sampler)
        share = Share(self.trainer.global_rank, self.trainer.world_size)
        return SharedBatches(*part, batch_size, sampler, share)

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
