"""How many runs train at once: an estimate that never shrinks with less work."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from normlab.config import Settings
from normlab.data.serve.module import SplitTable, TableDataModule
from normlab.data.table import Table
from normlab.model.network import Network
from normlab.model.tasks import Binary
from normlab.training import memory
from normlab.training.memory import free_memory, runs_that_fit
from normlab.training.module import TrainingModule
from normlab.training.run import make_network, make_recipe

Settled = Callable[..., Settings]
CPU = torch.device("cpu")


def split(settings: Settings, table: Table) -> SplitTable:
    data = settings.data
    return SplitTable(table, data.split, data.val_fraction, data.test_fraction, data.batch_size)


@pytest.fixture
def fit(
    settings: Settled, blobs: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """How many runs of these settings fit into so many bytes."""

    def fit(*overrides: str, table: Table | None = None, free: float = 1e9) -> int:
        monkeypatch.setattr(memory, "free_memory", lambda device: int(free))
        one = settings(*overrides)
        data = split(one, blobs(1000) if table is None else table)
        return runs_that_fit(make_network(one, data, Binary()), data, CPU)

    return fit


def falls(counts: list[int]) -> bool:
    return all(one > other for one, other in pairwise(counts))


def test_larger_runs_fit_in_smaller_numbers(
    fit: Callable[..., int], blobs: Callable[..., Table]
) -> None:
    assert falls([fit(f"model.hidden={hidden}") for hidden in ("[]", "[50]", "[50,50]", "[500]")])
    assert falls([fit(f"data.batch_size={size}", free=1e10) for size in (200, 400, "null")])
    assert falls([fit("data.batch_size=50", table=blobs(n)) for n in (300, 3000, 30_000)])
    assert falls([fit("data.batch_size=null", table=blobs(900, k)) for k in (1, 6, 12)])
    assert fit("data.batch_size=5000") == fit("data.batch_size=null")  # of 700 rows


def test_more_memory_fits_more_runs(fit: Callable[..., int]) -> None:
    counts = [fit(free=free) for free in (2e9, 1e9, 1e8)]
    assert falls(counts)
    assert counts[1] == pytest.approx(10 * counts[2], rel=0.02)
    assert fit("data.batch_size=100", "model.hidden=[8]", free=1e15) == memory.LARGEST // 800
    assert fit(free=0) == 1, "one always trains: whether it fits shows"


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.hidden=[300,300]", "data.batch_size=10", "data.val_fraction=0.02"),
        ("model.hidden=[16]", "data.batch_size=null"),
    ],
    ids=" ".join,
)
def test_what_is_kept_fits_into_its_share(
    fit: Callable[..., int],
    settings: Settled,
    blobs: Callable[..., Table],
    overrides: tuple[str, ...],
) -> None:
    """The oracle is the training: bytes of all tensors in float64 that live through it."""
    table, free = blobs(1000), 1e8
    n_runs = fit(*overrides, table=table, free=free)
    assert n_runs > 1
    one = settings(*overrides)
    data = split(one, table)
    network = Network.stack([make_network(one, data, Binary())] * n_runs).double()
    served = TableDataModule([data] * n_runs)
    module = TrainingModule(network, served, [make_recipe(one, data)] * n_runs)
    optimizer = module.configure_optimizers()
    (piece, *_) = served.train_dataloader().pieces()
    first = piece.steps[0]
    inputs = network.inputs(piece.rows[:, first.start : first.stop].double())
    logits = network.logits(inputs)
    logits.sum().backward()
    weights = [part for p in network.parameters() for part in (p, p.grad) if part is not None]
    index = served._index["train"], served._index["val"]
    kept: list[Tensor] = [*weights, *optimizer.moments, *module.outcomes.best.values(),
                          *network.buffers(), *index, inputs, logits]  # fmt: skip
    assert sum(tensor.nbytes for tensor in kept) < free * memory.SHARE
    assert n_runs * 400_000 < free, "the Python objects of a run count too"


def test_the_machine_has_memory() -> None:
    assert 2**20 < free_memory(CPU) < 2**50
