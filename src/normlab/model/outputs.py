"""The logits and labels of an epoch, kept until its metrics are computed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

LOOSE = 16  # batches that are kept as they came


class Outputs:
    """Collects (logits, labels) of batches.

    Every few batches they are moved into one piece of memory. Left where they were made, between
    the temporaries of their steps, they would keep the heap from closing the gaps: it grew by a
    third of all the rows that passed.
    """

    def __init__(self) -> None:
        self._loose: list[tuple[Tensor, Tensor]] = []
        self._held: tuple[Tensor, Tensor] | None = None
        self._n_held = 0
        self._sizes: list[int] = []

    def __len__(self) -> int:
        """Number of batches, also of those that held no row for this process."""
        return len(self._sizes)

    def append(self, logits: Tensor, labels: Tensor) -> None:
        """A batch's (n,), which are not to be changed afterwards."""
        self._loose.append((logits, labels))
        self._sizes.append(len(logits))
        if len(self._loose) == LOOSE:
            self._move()

    def _move(self) -> None:
        moved = tuple(torch.cat(part) for part in zip(*self._loose, strict=True))
        self._loose.clear()
        stop = self._n_held + len(moved[0])
        held = self._held
        if held is None or len(held[0]) < stop:
            wider = tuple(part.new_empty(2 * stop) for part in moved)
            for old, new in zip(held or (), wider, strict=False):
                new[: self._n_held] = old[: self._n_held]
            self._held = held = (wider[0], wider[1])
        for part, place in zip(moved, held, strict=True):
            place[self._n_held : stop] = part
        self._n_held = stop

    def joined(self) -> tuple[Tensor, Tensor]:
        """All logits and labels (n,); valid until the next batch."""
        if self._held is None:
            logits, labels = zip(*self._loose, strict=True)
            return torch.cat(logits), torch.cat(labels)
        if self._loose:
            self._move()
        return self._held[0][: self._n_held], self._held[1][: self._n_held]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and labels of each batch, in order."""
        logits, labels = self.joined()
        return zip(logits.split(self._sizes), labels.split(self._sizes), strict=True)

    def clear(self) -> None:
        """Forgets all batches."""
        self._loose, self._held, self._n_held, self._sizes = [], None, 0, []
