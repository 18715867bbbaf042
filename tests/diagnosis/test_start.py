"""What the first layer sees, against NumPy in float64, and the sentence made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from normlab.data.serve.module import SplitTable, TableDataModule
from normlab.data.synthetic import breast_cancer, circles, heart_rate
from normlab.data.table import Table
from normlab.diagnosis.start import SAMPLE, Start, measure_starts, sample_positions
from normlab.diagnosis.warning import FAR_APART, FAR_FROM_ZERO, findings, remedies, summed_up
from normlab.model.layers import Linear
from normlab.model.network import Network
from normlab.model.scalers import make_scaler

NORMALIZED = ("standardize", "robust", "minmax", "log1p", "quantile", "batchnorm")


def start(**changes: Any) -> Start:
    """One that gives no cause to warn."""
    plain: dict[str, Any] = {
        "features": ("a", "b"),
        "offsets": (0.5, 1.0),
        "scales": (1.0, 3.0),
        "fault": "saturated",
        "lost": (0.25, 0.0),
        "hidden": (4, 8),
    }
    return Start(**{**plain, **changes})


def network_for(data: SplitTable, name: str, seed: int = 0, **options: Any) -> Network:
    scaler = make_scaler(name, data.table.rows.shape[1])
    return Network(scaler, seed=seed, **options).fit(data.training_rows)


def starts(data: Sequence[SplitTable], networks: Sequence[Network]) -> list[Start]:
    return measure_starts(Network.stack(networks), TableDataModule(data))


@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("name", ["none", "minmax", "quantile"])
def test_measures_are_numpys(blobs: Callable[..., Table], name: str, batchnorm: bool) -> None:
    data = SplitTable(blobs(300), "random")
    network = network_for(
        data, name, hidden=[5, 3], activation="tanh", dropout=0.5, batchnorm=batchnorm
    )
    before = {key: value.clone() for key, value in network.state_dict().items()}
    (found,) = measure_starts(network, TableDataModule([data]))
    exact = network.of_runs([0]).double()
    with torch.no_grad():
        rows = exact.normalizer(torch.cat(list(data.training_rows)).double()[None])[0].numpy()
    if batchnorm:  # in training mode it takes the statistics of the rows at hand
        rows = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    np.testing.assert_allclose(found.scales, rows.std(0), rtol=3e-3)
    offsets = np.abs(rows.mean(0)) / rows.std(0)
    np.testing.assert_allclose(found.offsets, offsets, rtol=3e-3, atol=1e-4)
    assert found.scale_ratio == pytest.approx(rows.std(0).max() / rows.std(0).min(), rel=3e-3)

    values = rows
    layers = [layer for layer in exact.mlp if isinstance(layer, Linear)]
    for share, layer in zip(found.lost, layers, strict=False):
        weight, bias = (p.detach()[0].numpy() for p in (layer.weight, layer.bias))
        values = values @ weight.T + bias
        flat = (1 - np.tanh(values) ** 2 < 0.05).mean(0) >= 0.95
        assert share == pytest.approx(flat.mean())
        values = np.tanh(values)

    assert network.training  # left as it was, to the bit
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_many_runs_at_once_are_each_alone(
    blobs: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in chunks, and with rows left out of a long table."""
    monkeypatch.setattr("normlab.diagnosis.start.NUMBERS", 3_000)
    monkeypatch.setattr("normlab.diagnosis.start.SAMPLE", 77)
    table = blobs(400)
    data = [SplitTable(table, "random", seed=seed) for seed in range(7)]
    names = ("none", "center", "standardize", "minmax", "robust", "none", "none")
    networks = [
        network_for(one, name, seed, hidden=[6], activation="sigmoid")
        for seed, (one, name) in enumerate(zip(data, names, strict=True))
    ]
    together = starts(data, networks)
    assert len(set(together)) == 7
    for network, one, found in zip(networks, data, together, strict=True):
        (alone,) = starts([one], [network])
        np.testing.assert_allclose(found.offsets, alone.offsets, rtol=1e-9)
        np.testing.assert_allclose(found.scales, alone.scales, rtol=1e-9)
        assert found.lost == alone.lost
        assert found.to_dict() == alone.to_dict()


def test_constant_columns_are_no_cause_to_warn(blobs: Callable[..., Table]) -> None:
    table = blobs(100)
    table.rows[:, 1] = 7
    data = SplitTable(table, "none")
    (found,) = starts([data], [network_for(data, "standardize")])
    assert np.isnan(found.offsets[1])
    assert found.scale_ratio == pytest.approx(1)
    assert findings(found) == []
    assert list(found.to_dict()["features"])[2] == "x1"


def test_no_warning_within_the_thresholds() -> None:
    assert findings(start()) == []
    assert findings(start(offsets=(FAR_FROM_ZERO, 0.0), scales=(1.0, FAR_APART))) == []
    assert findings(start(lost=(0.5, 0.5))) == []
    assert findings(start(fault="dead", lost=(0.75, 0.9))) == []
    assert findings(start(features=(), offsets=(), scales=(), lost=(), hidden=())) == []


def test_each_finding_has_its_number_and_feature() -> None:
    (found,) = findings(start(offsets=(1.0, 17.4)))
    assert found == "inputs sit 17 standard deviations from zero ('b')"
    (found,) = findings(start(scales=(0.01, 50.0)))
    assert found == "the scales of 'b' and 'a' lie 5,000 times apart"
    (found,) = findings(start(lost=(0.25, 0.625)))
    assert found == "5 of 8 hidden units of layer 2 start saturated"
    (found,) = findings(start(fault="dead", lost=(1.0,), hidden=(4,)))
    assert found == "4 of 4 hidden units start dead"


def test_a_remedy_is_one_that_is_not_in_use() -> None:
    assert remedies("none", False) == ["normalization=standardize", "model.batchnorm=true"]
    assert remedies("center", True) == ["normalization=standardize"]
    assert remedies("standardize", False) == ["model.batchnorm=true"]
    assert any("model.init" in step for step in remedies("standardize", True))


def test_a_sweep_is_summed_up_in_one_line() -> None:
    assert summed_up([], 200) is None
    some = [(start(offsets=(0.0, offset)), f"seed={offset}", "x: y mends it") for offset in (6, 9)]
    said = summed_up(some, 200)  # type: ignore[arg-type]
    assert said == ("2 of 200 runs start from unsuitable inputs, as seed=9: x: y mends it")


@pytest.mark.parametrize("source", [circles, heart_rate, breast_cancer])
def test_normalized_data_give_no_false_alarm(source: Callable[[], Table]) -> None:
    """benchmarks/diagnosis.py counts many more."""
    data = SplitTable(source(), "random")
    for name in NORMALIZED:
        for activation in ("sigmoid", "relu"):
            networks = [
                network_for(data, name, seed, activation=activation, batchnorm=name == "batchnorm")
                for seed in range(10)
            ]
            for found in starts([data] * 10, networks):
                assert findings(found) == [], (name, activation)


# Samples


def test_a_long_table_is_sampled(blobs: Callable[..., Table]) -> None:
    data = SplitTable(blobs(5 * SAMPLE), "none")
    (found,) = starts([data], [network_for(data, "none")])
    exact = data.table.rows.astype(np.float64)
    offsets = (exact.mean(0) / exact.std(0)).tolist()
    assert found.offsets == pytest.approx(offsets, abs=0.15)
    assert found.offsets != pytest.approx(offsets, abs=1e-6)


@pytest.mark.parametrize("n_rows", [3, 2_000, 10_001, 2**24 + 3, 2**26 - 1, 10**10 + 1])
def test_a_sample_spans_all_rows(n_rows: int) -> None:
    """Exact also where float32 has no odd numbers: no position lies beyond the last row."""
    positions = sample_positions(n_rows, 2_000)
    n = min(n_rows, 2_000)
    expected = [round(Fraction(i * (n_rows - 1), n - 1)) for i in range(n)]
    assert (positions - torch.tensor(expected)).abs().max() <= 1, "ties are rounded either way"
    assert (positions[0], positions[-1]) == (0, n_rows - 1)
    assert len(positions.unique()) == n
    assert sample_positions(1, 5).tolist() == [0]
