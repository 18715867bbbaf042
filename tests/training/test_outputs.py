"""Logits and labels of an epoch: all of them, in order, in few pieces of memory."""

from __future__ import annotations

import pytest
import torch

from normlab.model import metrics
from normlab.model.metrics import auroc
from normlab.model.outputs import LOOSE, Outputs


@pytest.mark.parametrize("n_batches", [1, LOOSE - 1, LOOSE, LOOSE + 1, 5 * LOOSE + 3])
def test_what_was_appended_is_joined_in_order(n_batches: int) -> None:
    outputs = Outputs()
    for _ in range(2):  # epochs
        assert not outputs
        batches = [(torch.randn(7), torch.rand(7).round()) for _ in range(n_batches)]
        batches.append((torch.randn(2), torch.ones(2)))
        for batch in batches:
            outputs.append(*batch)
            assert outputs
        for joined, parts in zip(outputs.joined(), zip(*batches, strict=True), strict=True):
            assert torch.equal(joined, torch.cat(parts))
        outputs.clear()


def test_batches_do_not_stay_where_they_were_made() -> None:
    outputs = Outputs()
    first = torch.zeros(3)
    outputs.append(first, first)
    for _ in range(LOOSE):
        outputs.append(torch.zeros(3), torch.zeros(3))
    first += 1
    assert not outputs.joined()[0].any()


@pytest.mark.parametrize("levels", [3, 10_000])
def test_auroc_of_many_rows_is_that_of_few(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randint(levels, (5_000,)) / levels
    labels = (torch.rand(5_000) < logits).float()
    few = auroc(logits, labels)
    monkeypatch.setattr(metrics, "MANY", 100)
    monkeypatch.setattr(metrics, "CHUNK", 64)
    torch.testing.assert_close(auroc(logits, labels), few, rtol=1e-6, atol=0)
    assert auroc(logits, torch.ones(5_000)).isnan()
    logits[7] = torch.nan
    assert auroc(logits, labels).isnan()
