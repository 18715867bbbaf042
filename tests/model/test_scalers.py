"""Scalers against scikit-learn and NumPy in float64, for one run and for many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, make_circles
from sklearn.preprocessing import (
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor

from learners import AFFINE
from normlab.model.scaler import Scaler
from normlab.model.scalers import SCALERS, AffineScaler, make_scaler

NAMES = [name for name in SCALERS if name != "batchnorm"]


def table(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


TABLES: dict[str, Tensor] = {
    "cancer": table(load_breast_cancer(return_X_y=True)[0]),
    "circles": table(make_circles(500, noise=0.1, factor=0.2, random_state=123)[0]),
    # One column like the series that started the project: rounded, so with many ties.
    "heart": table(np.random.default_rng(0).normal(92.6, 3.5, (1800, 1)).round(1)),
}


@pytest.fixture(params=TABLES)
def rows(request: pytest.FixtureRequest) -> Tensor:
    return TABLES[request.param]


def fitted(name: str, rows: Tensor, **options: Any) -> Scaler:
    return make_scaler(name, rows.shape[1], **options).to(rows.dtype).fit(rows)


def mapped(scaler: Scaler, rows: Tensor) -> Tensor:
    """Rows (n, features) through the scaler of one run."""
    return scaler(rows[None])[0]


def affine(name: str, rows: Tensor) -> AffineScaler:
    scaler = fitted(name, rows)
    assert isinstance(scaler, AffineScaler)
    return scaler


# Against the oracles


SKLEARN = {
    "center": lambda: StandardScaler(with_std=False),
    "standardize": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
}


def quantile_peer(rows: Any, n_quantiles: int = 1000) -> QuantileTransformer:
    """scikit-learn's transformer of these rows, with its quantiles put right.

    It takes them at positions k / (K - 1) * 100 / 100 * (n - 1), which rounds: a quantile that
    is a row's own value comes out 1e-16 beside it, is no tie any more, and its level is off by
    up to half a step. Exactly rational positions mend that.
    """
    n = len(rows)
    k = np.arange(min(n_quantiles, n))
    peer = QuantileTransformer(
        n_quantiles=len(k), output_distribution="normal", subsample=10**6
    ).fit(rows)
    below, rest = np.divmod(k * (n - 1), len(k) - 1)
    part = (rest / (len(k) - 1))[:, None]
    ascending = np.sort(rows, axis=0)
    low, high = ascending[below], ascending[np.minimum(below + 1, n - 1)]
    exact = np.where(part < 0.5, low + part * (high - low), high - (1 - part) * (high - low))
    np.testing.assert_allclose(exact, peer.quantiles_, rtol=1e-11, atol=1e-11)
    peer.quantiles_ = exact
    return peer


@pytest.mark.parametrize("name", [*SKLEARN, "quantile"])
def test_equals_scikit_learn(name: str, rows: Tensor) -> None:
    exact = rows.double().numpy()
    peer = quantile_peer(exact) if name == "quantile" else SKLEARN[name]().fit(exact)
    new = exact + 0.3 * exact.std(axis=0)  # also unseen rows, some of them out of range

    in_double = fitted(name, rows.double())
    for some in (exact, new):
        expected = np.asarray(peer.transform(some))
        result = mapped(in_double, torch.from_numpy(some))
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-8)

    single = mapped(fitted(name, rows), rows)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, np.asarray(peer.transform(exact)), rtol=1e-5, atol=1e-5)


def test_log1p_equals_numpy(rows: Tensor) -> None:
    exact = rows.double().numpy()
    logs = np.sign(exact) * np.log1p(np.abs(exact))
    expected = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    np.testing.assert_allclose(mapped(fitted("log1p", rows), rows), expected, rtol=0, atol=2e-5)
    in_double = mapped(fitted("log1p", rows.double()), rows.double())
    np.testing.assert_allclose(in_double, expected, rtol=0, atol=1e-12)


def test_none_is_the_identity_to_the_bit(rows: Tensor) -> None:
    raw = fitted("none", rows)
    assert torch.equal(mapped(raw, rows), rows)
    assert torch.equal(raw.inverse(rows[None])[0], rows)


def test_statistics_are_float64() -> None:
    """Around 1e6 a float32 sum of 200,000 rows is wrong in its 4th digit or so."""
    generator = torch.Generator().manual_seed(0)
    rows = (1e6 + torch.randn(200_000, 2, generator=generator)).contiguous()
    exact = rows.double().numpy()
    standardize = affine("standardize", rows)
    assert standardize.shift.dtype == standardize.scale.dtype == torch.float32
    assert torch.equal(standardize.shift[0], torch.from_numpy(exact.mean(0)).float())
    np.testing.assert_allclose(standardize.scale[0], exact.std(0), rtol=1e-7)
    naive = ((rows**2).mean(0) - rows.mean(0) ** 2).abs().sqrt()
    assert ((naive - standardize.scale).abs() > 0.1).all()


def test_robust_falls_back_to_the_standard_deviation() -> None:
    inflated = torch.tensor([0.0] * 9 + [5000.0])[:, None]
    robust = affine("robust", inflated)
    assert (robust.shift.item(), robust.scale.item()) == (0.0, 1500.0)
    mixed = torch.cat([inflated, torch.arange(10.0)[:, None]], dim=1)
    assert affine("robust", mixed).scale.tolist() == [[1500.0, 4.5]]


# Quantile alone


@pytest.mark.parametrize("n_quantiles", [2, 3, 10, 100])
def test_quantile_averages_ties_as_scikit_learn(n_quantiles: int) -> None:
    tied = np.random.default_rng(1).poisson(3.0, size=(400, 2)).astype(np.float64)
    peer = quantile_peer(tied, n_quantiles)
    ours = fitted("quantile", torch.from_numpy(tied), n_quantiles=n_quantiles)
    between = np.linspace(-1.0, tied.max() + 1.0, 98).reshape(-1, 2)
    for some in (tied, between):
        result = mapped(ours, torch.from_numpy(some))
        np.testing.assert_allclose(result, np.asarray(peer.transform(some)), atol=1e-8)
    # A forward image only, so that levels next to the clip need no comparison.
    image = np.linspace(-4.0, 4.0, 98).reshape(-1, 2)
    back = ours.inverse(torch.from_numpy(image)[None])[0]
    np.testing.assert_allclose(back, peer.inverse_transform(image), atol=1e-8)


@pytest.mark.parametrize("n_quantiles", [1001, 100_001])
def test_quantile_float32_keeps_both_tails(n_quantiles: int) -> None:
    """1 - 1e-5 in float32 is off by 1 % of the tail; counted from the top it is not."""
    ladder = torch.arange(100_001, dtype=torch.float32)[:, None]
    y = mapped(fitted("quantile", ladder, n_quantiles=n_quantiles), ladder)[:, 0]
    levels = np.arange(100_001) / 100_000
    np.testing.assert_allclose(y[1:-1], norm.ppf(levels[1:-1]), atol=1e-5)
    assert (-y[0]).item() == y[-1].item() == pytest.approx(-norm.ppf(1e-7), abs=1e-6)


def test_quantile_refuses_one_quantile() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        make_scaler("quantile", 3, n_quantiles=1)


# As modules, of one run and of many


@pytest.mark.parametrize("names", [list(AFFINE), ["log1p"] * 4, ["quantile"] * 4], ids=str)
def test_the_runs_of_a_family_share_a_scaler(names: list[str]) -> None:
    """Each by its own statistics, on rows of its own and on the same rows."""
    shares = torch.stack([TABLES["cancer"][40 * i : 40 * i + 100] for i in range(len(names))])
    scalers = [fitted(name, share) for name, share in zip(names, shares, strict=True)]
    assert len({scaler.family for scaler in scalers}) == 1
    together = make_scaler(**scalers[0].settings())
    for name, buffer in together.named_buffers():
        buffer.data = torch.cat([scaler.get_buffer(name) for scaler in scalers])
    same = shares[:1].expand_as(shares)
    for given in (shares, same):
        for forward in (True, False):
            found = together(given) if forward else together.inverse(given)
            for run, scaler in enumerate(scalers):
                one = given[run : run + 1]
                assert torch.equal(found[run : run + 1], scaler(one) if forward
                                   else scaler.inverse(one))  # fmt: skip


def test_families_are_what_may_share() -> None:
    families = {name: kind.family for name, kind in SCALERS.items()}
    affine = dict.fromkeys([*AFFINE, "batchnorm"], "affine")
    assert families == {**affine, "log1p": "log1p", "quantile": "quantile"}
    assert {name: kind.name for name, kind in SCALERS.items()} == {
        **{name: name for name in NAMES},
        "batchnorm": "none",
    }


@pytest.mark.parametrize("name", NAMES)
def test_settings_and_state_rebuild(name: str, rows: Tensor) -> None:
    trained = fitted(name, rows)
    plain = trained.settings()
    assert all(type(value) in (str, int) for value in plain.values())
    rebuilt = make_scaler(**plain)
    rebuilt.load_state_dict(trained.state_dict())
    assert rebuilt.settings() == plain
    assert torch.equal(mapped(rebuilt, rows), mapped(trained, rows))
    assert not list(trained.parameters())


def test_a_second_fit_forgets_the_first() -> None:
    short, long = TABLES["circles"][:20], TABLES["circles"]
    for name in NAMES:
        again, fresh = fitted(name, short).fit(long), fitted(name, long)
        assert again.settings() == fresh.settings()
        assert torch.equal(mapped(again, long), mapped(fresh, long))


@pytest.mark.parametrize("name", NAMES)
def test_exports_with_any_number_of_rows(name: str) -> None:
    rows = TABLES["circles"][None]
    scaler = fitted(name, rows[0])
    any_n = ({1: torch.export.Dim("n")},)
    program = torch.export.export(scaler, (rows[:, :7],), dynamic_shapes=any_n)
    assert torch.equal(program.module()(rows), scaler(rows))
