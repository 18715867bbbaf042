"""Outputs and labels of an epoch: all of them, in order, in one piece of memory."""

from __future__ import annotations

import pytest
import torch

from normlab.training.outputs import Outputs


@pytest.mark.parametrize("leading", [(1,), (5,), (5, 3)])
@pytest.mark.parametrize("sizes", [[20], [7, 7, 6], [1] * 20, [5, 3]])
def test_what_was_added_is_joined_in_order(leading: tuple[int, ...], sizes: list[int]) -> None:
    outputs = Outputs(20)
    for _ in range(2):  # epochs
        assert len(outputs) == 0
        batches = [(torch.randn(*leading, n), torch.rand(leading[0], n).round()) for n in sizes]
        for batch in batches:
            outputs.add(*batch)
        assert len(outputs) == sum(sizes)
        assert outputs.stops == torch.tensor(sizes).cumsum(0).tolist()
        for joined, parts in zip(outputs.joined(), zip(*batches, strict=True), strict=True):
            assert torch.equal(joined, torch.cat(parts, -1))
        outputs.clear()


def test_the_memory_of_an_epoch_is_taken_again() -> None:
    outputs = Outputs(10)
    places = set()
    for _ in range(3):
        for _ in range(2):
            outputs.add(torch.randn(4, 5), torch.zeros(4, 5))
        places.add(outputs.joined()[0].data_ptr())
        outputs.clear()
    assert len(places) == 1


def test_batches_are_copied_and_a_whole_epoch_is_not() -> None:
    part, whole = torch.zeros(2, 5), torch.zeros(2, 10)
    outputs = Outputs(10)
    outputs.add(part, part)
    part += 1
    assert not outputs.joined()[0].any()
    outputs.clear()
    outputs.add(whole, whole)
    assert outputs.joined()[0].data_ptr() == whole.data_ptr()


def test_an_epoch_of_other_runs_or_precision_has_memory_of_its_own() -> None:
    outputs = Outputs(6)
    for runs, dtype in ((3, torch.float32), (2, torch.float32), (2, torch.float64)):
        for _ in range(2):
            outputs.add(torch.ones(runs, 3, dtype=dtype), torch.zeros(runs, 3))
        joined, labels = outputs.joined()
        assert joined.shape == labels.shape == (runs, 6)
        assert joined.dtype == dtype
        outputs.release()
        assert len(outputs) == 0
