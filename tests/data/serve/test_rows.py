"""Statistics of rows on disk, taken in chunks, are those of all rows at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.data.schema import Schema
from normlab.data.serve import rows
from normlab.data.serve.rows import RowsOnDisk
from normlab.data.table import Table
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.scalers import SCALERS, make_scaler, mean_and_std


@pytest.mark.parametrize("name", SCALERS)
def test_scalers_and_batchnorm_in_chunks(
    stored: Callable[[Table], Table],
    blobs: Callable[..., Table],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 60)
    table = blobs(1_000)
    table.rows[:, 1] = 7.3  # constant
    index = np.flatnonzero(np.arange(1_000) % 4)
    whole, parts = (Network(make_scaler(name, 3), batchnorm=True) for _ in range(2))
    whole.fit(torch.tensor(table.rows[index]))
    parts.fit(RowsOnDisk(stored(table).rows, index))
    torch.testing.assert_close(
        dict(parts.state_dict()), dict(whole.state_dict()), rtol=1e-6, atol=1e-6
    )
    probe = torch.tensor([[[1.0, 7.3, 1.0]]])
    assert parts.normalizer(probe)[0, 0, 1] == whole.normalizer(probe)[0, 0, 1]


@given(
    scale=st.sampled_from([1e-20, 1.0, 1e6]),
    shift=st.sampled_from([0.0, 1.0, -1e4]),
    n_rows=st.integers(1, 300),
)
@settings(max_examples=50, deadline=None)
def test_mean_and_std_in_chunks_agree_with_numpy(
    tmp_path_factory: pytest.TempPathFactory, scale: float, shift: float, n_rows: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    random = np.random.default_rng(n_rows)
    values = (random.standard_normal((n_rows, 2)) * scale + shift * scale).astype(np.float32)
    np.save(path, values)
    on_disk = RowsOnDisk(np.load(path, mmap_mode="r"), np.arange(n_rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK", 14)
        mean, std = mean_and_std(on_disk.map(torch.Tensor.double))
    exact = values.astype(np.float64)
    spread = exact.std(0).max()
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-12, atol=1e-12 * spread)
    np.testing.assert_allclose(std, exact.std(0), rtol=1e-12)


def test_long_columns_give_evenly_spaced_values(
    stored: Callable[[Table], Table], blobs: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "COLUMN", 300)
    table = blobs(1_000)
    on_disk = RowsOnDisk(stored(table).rows, np.arange(1_000))
    for i, column in enumerate(on_disk.columns(range(3))):
        np.testing.assert_array_equal(column, table.rows[::4, i])
    robust = make_scaler("robust", 3).fit(on_disk)
    expected = make_scaler("robust", 3).fit(torch.tensor(table.rows[::4]))
    torch.testing.assert_close(robust.get_buffer("shift"), expected.get_buffer("shift"))


def test_an_encoder_learns_the_same_from_disk(
    stored: Callable[[Table], Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 60)
    random = np.random.default_rng(0)
    mixed = random.integers(0, 9, (400, 4)).astype(np.float32)
    mixed[:, 1] = mixed[:, 1] > 4
    mixed[random.random((400, 4)) < 0.2] = np.nan
    mixed[:, 3] = random.standard_normal(400)
    table = Table(mixed, mixed[:, 3], Schema(tuple("abcd"), "y", (0, 1)), "mixed")

    def network() -> Network:
        kinds = ["numeric", "boolean", "categorical", "numeric"]
        encoder = Encoder(kinds, [0, 2, 10, 0], 4, [0, 2], impute=True)
        return Network(make_scaler("standardize", 2), encoder=encoder)

    whole = network().fit(torch.tensor(mixed)).state_dict()
    parts = network().fit(RowsOnDisk(stored(table).rows, np.arange(400))).state_dict()
    torch.testing.assert_close(dict(parts), dict(whole), rtol=1e-6, atol=0)
