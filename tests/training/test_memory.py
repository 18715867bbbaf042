"""How many runs train at once: an estimate that never shrinks with less work, and equal parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from normlab.assembly import make_classifier, make_data
from normlab.fused_sweep import Run, train_runs
from normlab.training.stacked import memory
from normlab.training.stacked.batches import StackedData
from normlab.training.stacked.member import Member
from normlab.training.stacked.memory import free_memory, runs_that_fit
from normlab.training.stacked.optimizer import StackedOptimizer
from normlab.training.stacked.stack import Stack

from normlab import fused_sweep
from normlab.config import Settings
from normlab.data.table import Table
from normlab.errors import UserError

Settled = Callable[..., Settings]
CPU = torch.device("cpu")


@pytest.fixture
def fit(
    settings: Settled, blobs: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """How many runs of these settings fit into so many bytes."""

    def fit(*overrides: str, table: Table | None = None, free: float = 1e9) -> int:
        monkeypatch.setattr(memory, "free_memory", lambda device: int(free))
        one = settings(*overrides)
        data = make_data(one, blobs(1000) if table is None else table)
        return runs_that_fit(Member(make_classifier(one, data), data), CPU)

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
        (
            "model.hidden=[300,300]",
            "data.batch_size=10",
            "data.val_fraction=0.02",
            "trainer.precision=64-true",
        ),
        ("model.hidden=[16]", "data.batch_size=null"),
    ],
)
def test_what_a_stack_keeps_fits_into_its_share(
    fit: Callable[..., int],
    settings: Settled,
    blobs: Callable[..., Table],
    overrides: tuple[str, ...],
) -> None:
    """The oracle is the stack itself: the bytes of all tensors that live through the training."""
    table, free = blobs(1000), 1e8
    n_runs = fit(*overrides, table=table, free=free)
    assert n_runs > 1
    one = settings(*overrides)
    dtype = torch.float64 if one.trainer.precision == "64-true" else torch.float32
    members = []
    for _ in range(n_runs):
        data = make_data(one, table)
        members.append(Member(make_classifier(one, data), data))
    data = StackedData([member.data for member in members])
    stack = Stack([member.classifier for member in members]).to(dtype)
    optimizer = StackedOptimizer(
        stack.weights, "adam", torch.ones(n_runs, 1), torch.ones(n_runs, 1)
    )
    batch = data.index["train"][:, : one.data.batch_size]
    logits = stack(data.rows[batch].to(dtype))
    stack.loss(logits, data.labels[batch].to(dtype)).sum().backward()
    assert stack.weights.grad is not None
    kept = [
        stack.weights,
        stack.weights.grad,
        *optimizer.moments,
        *stack.snapshot(),
        *stack.buffers(),
    ]
    kept += [data.index["train"], data.index["val"], logits]
    assert sum(tensor.nbytes for tensor in kept) < free * memory.SHARE
    assert n_runs * 400_000 < free, "the Python objects of a run count too"


def test_the_machine_has_memory() -> None:
    assert 2**20 < free_memory(CPU) < 2**50


# Groups and their parts


@pytest.fixture
def groups(
    settings: Settled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[list[str]]]:
    """The runs that `train_runs` trains together, by their names; nothing trains."""

    def find(
        all_overrides: Sequence[tuple[int, tuple[str, ...]]], **arguments: Any
    ) -> list[list[str]]:
        found: list[list[str]] = []

        def train_group(runs: Sequence[Run], progress: Any = None) -> list[float]:
            found.append([run.name for run in runs])
            return [float(run.name) for run in runs]

        def alone(i: int) -> float:
            found.append([f"{i} alone"])
            return float(i)

        monkeypatch.setattr(fused_sweep, "train_group", train_group)
        runs = [
            Run(
                settings("trainer.enable_progress_bar=false", *overrides).model_copy(
                    update={"seed": seed}
                ),
                tmp_path / str(i),
                str(i),
                lambda: pytest.fail("it prepares"),
            )
            for i, (seed, overrides) in enumerate(all_overrides)
        ]
        outcomes = train_runs(runs, alone, **arguments)
        assert outcomes == [float(i) for i in range(len(runs))], "in the order of the runs"
        return found

    return find


def seeds(n: int) -> list[tuple[int, tuple[str, ...]]]:
    return [(seed, ()) for seed in range(n)]


@pytest.mark.parametrize(
    ("n_runs", "max_runs", "sizes"),
    [(7, 100, [7]), (7, 7, [7]), (7, 6, [3, 4]), (7, 3, [2, 2, 3]), (8, 3, [2, 3, 3]),
     (9, 4, [3, 3, 3]), (3, 2, [1, 2]), (6, 2, [2, 2, 2]), (3, 1, [1, 1, 1])],
)  # fmt: skip
def test_a_large_group_trains_in_equal_parts(
    groups: Callable[..., list[list[str]]], n_runs: int, max_runs: int, sizes: list[int]
) -> None:
    found = groups(seeds(n_runs), max_runs=max_runs)
    assert sorted(len(part) for part in found) == sorted(sizes)
    names = [name.removesuffix(" alone") for part in found for name in part]
    assert sorted(names, key=int) == [str(i) for i in range(n_runs)]


def test_the_memory_decides_where_no_number_is_given(
    groups: Callable[..., list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_sweep, "runs_that_fit", lambda member, device: 2)
    assert groups(seeds(4)) == [["0", "1"], ["2", "3"]]
    monkeypatch.undo()


def test_groups_of_unlike_runs(groups: Callable[..., list[list[str]]]) -> None:
    """By their settings, by the sizes that their data come to, and those that train alone."""
    runs = [
        (0, ()),
        (0, ("model.hidden=[3]",)),
        (1, ("normalization=center",)),
        (1, ("model.hidden=[3]", "data.split=none")),
        (2, ("+trainer.gradient_clip_val=1.0",)),
        (2, ("model.hidden=[3]", "data.split=none")),
        (3, ("+trainer.gradient_clip_val=1.0",)),
        (2, ("normalization=log1p",)),
    ]
    found = groups(runs, max_runs=100)
    stacks, alone = [["0", "2"], ["3", "5"]], [["1 alone"], ["4 alone"], ["6 alone"], ["7 alone"]]
    assert found == stacks + alone


@pytest.mark.parametrize("max_runs", [0, -3])
def test_a_number_of_runs_is_at_least_one(
    groups: Callable[..., list[list[str]]], max_runs: int
) -> None:
    with pytest.raises(UserError, match=f"max_runs={max_runs}"):
        groups(seeds(2), max_runs=max_runs)
