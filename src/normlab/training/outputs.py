"""The outputs and labels of an epoch, kept until its metrics are computed."""

from __future__ import annotations

from torch import Tensor


class Outputs:
    """Collects outputs and labels of batches along their last axis, the rows.

    They lie in one piece of memory, which the next epoch takes again. Left where they were made,
    between the temporaries of their steps, they would keep the heap from closing its gaps.

    Args:
        capacity: rows of an epoch at most.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._outputs: Tensor | None = None
        self._labels: Tensor | None = None
        self.stops: list[int] = []

    def __len__(self) -> int:
        """Rows so far."""
        return self.stops[-1] if self.stops else 0

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """A batch's outputs (runs, ..., b) and labels (runs, b), not to be changed afterwards."""
        start, stop = len(self), len(self) + labels.shape[-1]
        if start == 0 and stop == self._capacity:
            self._outputs, self._labels = outputs, labels
        else:
            self._outputs = self._placed(self._outputs, outputs, start, stop)
            self._labels = self._placed(self._labels, labels, start, stop)
        self.stops.append(stop)

    def _placed(self, held: Tensor | None, part: Tensor, start: int, stop: int) -> Tensor:
        shape = (*part.shape[:-1], self._capacity)
        if held is None or held.shape != shape or held.dtype != part.dtype:
            held = part.new_empty(shape)
        held[..., start:stop] = part
        return held

    def joined(self) -> tuple[Tensor, Tensor]:
        """All outputs and labels; valid until the next epoch."""
        assert self._outputs is not None
        assert self._labels is not None
        return self._outputs[..., : len(self)], self._labels[..., : len(self)]

    def clear(self) -> None:
        """Forgets all batches, and where runs have left also their memory."""
        self.stops = []

    def release(self) -> None:
        """Forgets the memory too: the runs are others from now on."""
        self.stops, self._outputs, self._labels = [], None, None
