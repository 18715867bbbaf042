"""What the columns of numbers are before and after the normalization, on the training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.data.serve.module import SplitTable
from normlab.model.network import Network

MOST_ROWS = 20_000
MOST_CELLS = 2**21  # of a wide table fewer rows, but no fewer than these:
WIDE_ROWS = 2_000
MOST_COLUMNS = 12  # a row of the picture takes three milliseconds


@dataclass(frozen=True, eq=False)
class Inputs:
    """The numbers that enter the normalization, and what comes out of it.

    Attributes:
        names: of the columns shown, the first `MOST_COLUMNS`.
        before: (n, columns), in raw units.
        after: (n, columns), as the first linear layer gets them: past BatchNorm, where there is
            one, with its running statistics.
        words: which rows they are.
        left_out: number of columns that are not shown.
    """

    names: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    words: str
    left_out: int


@torch.no_grad()
def inputs_of(network: Network, data: SplitTable) -> Inputs | None:
    """None where no column is a number.

    Args:
        network: its normalization fitted; left in the mode that it is in.
    """
    columns = data.table.schema.columns
    names = [column.name for column in columns if column.type == "numeric"]
    if not names:
        return None
    index = data.split.train
    words = f"{len(index):,} training rows"
    most = min(MOST_ROWS, max(WIDE_ROWS, MOST_CELLS // len(columns)))
    if len(index) > most:
        index = np.sort(np.random.default_rng(0).choice(index, most, replace=False))
        words = f"{most:,} of {words}"
    rows = torch.from_numpy(data.table.rows[index]).to(next(network.parameters()))[None]
    before = rows if network.encoder is None else network.encoder(rows)[0]
    after, batchnorm = network.normalizer(before), network.batchnorm
    if batchnorm is not None:
        training = batchnorm.training
        after = batchnorm.eval()(after.mT).mT
        batchnorm.train(training)
    shown = slice(MOST_COLUMNS)
    return Inputs(
        tuple(names[shown]),
        before[0, :, shown].double().cpu().numpy(),
        after[0, :, shown].double().cpu().numpy(),
        words,
        max(0, len(names) - MOST_COLUMNS),
    )
