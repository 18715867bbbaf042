"""Normalizers against NumPy in float64, scikit-learn, and the laws that they must obey."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, make_circles
from sklearn.preprocessing import (
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from normlab.model.normalization import (
    NORMALIZERS,
    AffineNormalizer,
    Normalizer,
    make_normalizer,
)

NAMES = [name for name in NORMALIZERS if name != "batchnorm"]
AFFINE = ["none", "center", "standardize", "minmax", "robust"]
few = settings(deadline=None, max_examples=60)


def heart_rates() -> NDArray[np.float64]:
    """One column like the series that started the project: rounded, so with many ties."""
    return np.random.default_rng(0).normal(92.6, 3.5, size=(1800, 1)).round(1)


def as_rows(table: Any) -> Tensor:
    return torch.from_numpy(np.asarray(table, dtype=np.float32))


TABLES: dict[str, Tensor] = {
    "cancer": as_rows(load_breast_cancer(return_X_y=True)[0]),
    "circles": as_rows(make_circles(500, noise=0.1, factor=0.2, random_state=123)[0]),
    "heart": as_rows(heart_rates()),
}


@pytest.fixture(params=TABLES)
def rows(request: pytest.FixtureRequest) -> Tensor:
    return TABLES[request.param]


def fitted(name: str, rows: Tensor, **options: Any) -> Normalizer:
    return make_normalizer(name, rows.shape[1], **options).fit(rows)


def affine(name: str, rows: Tensor) -> AffineNormalizer:
    normalizer = fitted(name, rows)
    assert isinstance(normalizer, AffineNormalizer)
    return normalizer


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


# Against the oracles


SKLEARN = {
    "center": lambda: StandardScaler(with_std=False),
    "standardize": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
}


def quantile_peer(rows: NDArray[np.float64], n_quantiles: int = 1000) -> QuantileTransformer:
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

    in_double = make_normalizer(name, rows.shape[1]).double().fit(rows)
    for some in (exact, new):
        expected = np.asarray(peer.transform(some))
        result = in_double(torch.from_numpy(some)).numpy()
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-8)

    single = fitted(name, rows)(rows)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, np.asarray(peer.transform(exact)), rtol=1e-5, atol=1e-5)


def test_log1p_equals_numpy(rows: Tensor) -> None:
    exact = rows.double().numpy()
    logs = np.sign(exact) * np.log1p(np.abs(exact))
    expected = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    np.testing.assert_allclose(fitted("log1p", rows)(rows), expected, rtol=0, atol=2e-5)
    in_double = make_normalizer("log1p", rows.shape[1]).double().fit(rows)(rows.double())
    np.testing.assert_allclose(in_double, expected, rtol=0, atol=1e-12)


def test_none_is_the_identity_to_the_bit(rows: Tensor) -> None:
    raw = fitted("none", rows)
    assert torch.equal(raw(rows), rows)
    assert torch.equal(raw.inverse(rows), rows)


@pytest.mark.parametrize("n_quantiles", [2, 3, 10, 100])
def test_quantile_averages_ties_as_scikit_learn(n_quantiles: int) -> None:
    tied = np.random.default_rng(1).poisson(3.0, size=(400, 2)).astype(np.float64)
    peer = quantile_peer(tied, n_quantiles)
    ours = make_normalizer("quantile", 2, n_quantiles=n_quantiles).double()
    ours.fit(torch.from_numpy(tied))
    between = np.linspace(-1.0, tied.max() + 1.0, 98).reshape(-1, 2)
    for some in (tied, between):
        result = ours(torch.from_numpy(some)).numpy()
        np.testing.assert_allclose(result, np.asarray(peer.transform(some)), atol=1e-8)
    # A forward image only, so that levels next to the clip need no comparison.
    image = np.linspace(-4.0, 4.0, 98).reshape(-1, 2)
    back = ours.inverse(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(back, peer.inverse_transform(image), atol=1e-8)


@pytest.mark.parametrize("n_quantiles", [1001, 100_001])
def test_quantile_float32_keeps_both_tails(n_quantiles: int) -> None:
    """1 - 1e-5 in float32 is off by 1 % of the tail; counted from the top it is not."""
    ladder = torch.arange(100_001, dtype=torch.float32)[:, None]
    y = fitted("quantile", ladder, n_quantiles=n_quantiles)(ladder)[:, 0]
    levels = np.arange(100_001) / 100_000
    np.testing.assert_allclose(y[1:-1], norm.ppf(levels[1:-1]), atol=1e-5)
    assert (-y[0]).item() == y[-1].item() == pytest.approx(-norm.ppf(1e-7), abs=1e-6)


def test_statistics_are_float64() -> None:
    """Around 1e6 a float32 sum of 200,000 rows is wrong in its 4th digit or so."""
    generator = torch.Generator().manual_seed(0)
    rows = (1e6 + torch.randn(200_000, 2, generator=generator)).contiguous()
    exact = rows.double().numpy()
    standardize = affine("standardize", rows)
    assert standardize.shift.dtype == standardize.scale.dtype == torch.float32
    assert torch.equal(standardize.shift, torch.from_numpy(exact.mean(0)).float())
    np.testing.assert_allclose(standardize.scale, exact.std(0), rtol=1e-7)
    naive = ((rows**2).mean(0) - rows.mean(0) ** 2).abs().sqrt()
    assert ((naive - standardize.scale).abs() > 0.1).all()


# Constant and nearly constant columns


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
@pytest.mark.parametrize("value", [0.0, 0.1, 92.6, -1e6 / 3, 1e-42, 1.7e38])
@pytest.mark.parametrize("n", [1, 2, 1237])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_column_is_exactly_zero(
    name: str, value: float, n: int, dtype: torch.dtype
) -> None:
    rows = torch.full((n, 3), value, dtype=dtype)
    rows[:, 1] = torch.arange(n)  # a neighbour that varies
    normalizer = make_normalizer(name, 3).to(dtype).fit(rows)
    y = normalizer(rows)
    assert (y[:, [0, 2]] == 0).all()
    assert (normalizer(rows[0]).take(torch.tensor([0, 2])) == 0).all()  # without a batch
    assert torch.allclose(normalizer.inverse(y)[:, 0], rows[:, 0], rtol=1e-5)


def test_off_a_constant_column() -> None:
    """Affine maps keep the distance, as scikit-learn's; ranks have nothing to tell."""
    for name in ("center", "standardize", "minmax", "robust"):
        assert fitted(name, column(7.0, 7.0))(column(9.5)).item() == 2.5
    assert fitted("quantile", column(7.0, 7.0))(column(-1e30, 9.5)).abs().max() == 0


def test_robust_falls_back_to_the_standard_deviation() -> None:
    inflated = column(*[0.0] * 9, 5000.0)
    robust = affine("robust", inflated)
    assert (robust.shift.item(), robust.scale.item()) == (0.0, 1500.0)
    mixed = torch.cat([inflated, column(*range(10))], dim=1)
    assert affine("robust", mixed).scale.tolist() == [1500.0, 4.5]


# Numbers at the ends of float32


any_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)
tables = arrays(np.float32, st.tuples(st.integers(1, 12), st.just(3)), elements=any_float32)


@pytest.mark.parametrize("name", NAMES)
@few
@given(seen=tables, unseen=tables)
def test_finite_rows_give_finite_results(
    name: str, seen: NDArray[np.float32], unseen: NDArray[np.float32]
) -> None:
    normalizer = fitted(name, torch.from_numpy(seen))
    assert all(buffer.isfinite().all() for buffer in normalizer.buffers())
    for rows in (torch.from_numpy(seen), torch.from_numpy(unseen)):
        y = normalizer(rows)
        assert y.isfinite().all()
        assert normalizer.inverse(y).isfinite().all()
        assert normalizer.inverse(rows).isfinite().all()


LARGEST = torch.finfo(torch.float32).max
TINY = torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "values",
    [(-LARGEST, 0.0, LARGEST), (LARGEST, LARGEST, -LARGEST), (0.0, 1e-45, 0.0), (0.0, TINY, 1.0)],
)
def test_extremes_are_finite_and_in_order(name: str, values: tuple[float, ...]) -> None:
    normalizer = fitted(name, column(*values))
    positive = (1e-45, TINY, 1.0, 0.3 * LARGEST, 0.9 * LARGEST, LARGEST)
    probe = column(*(-x for x in reversed(positive)), 0.0, *positive)
    y = normalizer(probe)
    assert y.isfinite().all()
    assert (y.diff(dim=0) >= 0).all()


def test_minmax_saturates_a_range_beyond_float32() -> None:
    assert fitted("minmax", column(-LARGEST, LARGEST))(column(-LARGEST, LARGEST)).tolist() == [
        [0.0],
        [1.0],
    ]


def test_scale_is_never_subnormal() -> None:
    for name in AFFINE:
        assert affine(name, column(0.0, 1e-45, 3e-45)).scale.item() >= TINY


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan_and_alone(name: str, rows: Tensor) -> None:
    normalizer = fitted(name, rows)
    holed = rows[:5].clone()
    holed[2, 0] = torch.nan
    for call in (normalizer, normalizer.inverse):
        assert torch.equal(call(holed).isnan(), holed.isnan())


# Laws


@pytest.mark.parametrize("name", NAMES)
def test_inverse_on_tables(name: str, rows: Tensor) -> None:
    normalizer = fitted(name, rows)
    spread = rows.std(dim=0)
    off = (normalizer.inverse(normalizer(rows)) - rows).abs() / spread
    assert off.max() < 1e-4  # of quantile: 569 levels counted in float32


moderate = arrays(
    np.float32,
    st.tuples(st.integers(2, 30), st.just(2)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@pytest.mark.parametrize("name", NAMES)
@few
@given(table=moderate)
def test_inverse_undoes_forward(name: str, table: NDArray[np.float32]) -> None:
    rows = torch.from_numpy(table).double()
    normalizer = make_normalizer(name, 2).double().fit(rows)
    back = normalizer.inverse(normalizer(rows))
    # Relative to the column: its knots lie at most this far apart.
    tolerance = 1e-6 * rows.abs().amax(dim=0) + 1e-30
    assert ((back - rows).abs() <= tolerance).all()


@few
@given(
    table=moderate,
    a=st.floats(1e-3, 1e3),
    b=st.floats(-1e3, 1e3),
)
def test_standardize_ignores_shift_and_scale(
    table: NDArray[np.float32], a: float, b: float
) -> None:
    rows = torch.from_numpy(table).double().round(decimals=3)
    y = make_normalizer("standardize", 2).double().fit(rows)(rows)
    moved = a * rows + b
    constant = (rows == rows[0]).all(dim=0)
    y_moved = make_normalizer("standardize", 2).double().fit(moved)(moved)
    assert torch.allclose(y_moved[:, ~constant], y[:, ~constant], atol=1e-5)


@few
@given(table=moderate)
def test_order_is_kept(table: NDArray[np.float32]) -> None:
    rows = torch.from_numpy(table).sort(dim=0).values
    for name in NAMES:
        assert (fitted(name, rows)(rows).diff(dim=0) >= 0).all(), name


@pytest.mark.parametrize("name", NAMES)
@few
@given(shape=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
def test_any_leading_shape(name: str, shape: tuple[int, ...]) -> None:
    normalizer = fitted(name, TABLES["circles"])
    count = int(np.prod(shape))
    flat = TABLES["circles"][:count]
    rows = flat.reshape(*shape, 2)
    assert torch.equal(normalizer(rows), normalizer(flat).reshape(*shape, 2))
    assert torch.equal(normalizer.inverse(rows), normalizer.inverse(flat).reshape(*shape, 2))


# As modules: state, stacks, export


@pytest.mark.parametrize("name", NAMES)
def test_settings_and_state_dict_rebuild(name: str, rows: Tensor) -> None:
    trained = fitted(name, rows)
    plain = trained.settings()
    assert all(type(value) in (str, int) for value in plain.values())
    rebuilt = make_normalizer(**plain)
    rebuilt.load_state_dict(trained.state_dict())
    assert rebuilt.settings() == plain
    assert rebuilt.stacking_key() == trained.stacking_key()
    assert torch.equal(rebuilt(rows), trained(rows))
    assert not list(trained.parameters())


def test_a_second_fit_forgets_the_first() -> None:
    short, long = TABLES["circles"][:20], TABLES["circles"]
    for name in NAMES:
        again = fitted(name, short).fit(long)
        fresh = fitted(name, long)
        assert again.settings() == fresh.settings()
        assert torch.equal(again(long), fresh(long))


def stacked_equals_each(normalizers: list[Normalizer], rows: Tensor) -> None:
    """Normalizer s on rows[s] (runs, n, features), in one vmap and one after another."""
    # stack_module_state wants models of one class, as runs have: the network around them.
    models = [nn.Sequential(normalizer) for normalizer in normalizers]
    _, buffers = stack_module_state(models)  # type: ignore[arg-type]

    def call(buffers: dict[str, Tensor], rows: Tensor) -> Tensor:
        return functional_call(models[0], buffers, (rows,))

    own = vmap(call)(buffers, rows)
    assert torch.equal(own, torch.stack([model(r) for model, r in zip(models, rows, strict=True)]))
    shared = vmap(call, in_dims=(0, None))(buffers, rows[0])
    assert torch.equal(shared, torch.stack([model(rows[0]) for model in models]))
    alone = vmap(call, in_dims=(None, 0))(dict(models[0].named_buffers()), rows)
    assert torch.equal(alone, models[0](rows))


def shares(n_runs: int) -> Tensor:
    """(runs, 100, 30): overlapping shares of the cancer table."""
    return torch.stack([TABLES["cancer"][40 * run : 40 * run + 100] for run in range(n_runs)])


def test_stack_of_every_affine_strategy() -> None:
    rows = shares(len(AFFINE))
    normalizers = [fitted(name, share) for name, share in zip(AFFINE, rows, strict=True)]
    assert len({normalizer.stacking_key() for normalizer in normalizers}) == 1
    stacked_equals_each(normalizers, rows)


@pytest.mark.parametrize("name", ["log1p", "quantile"])
def test_stack_of_one_strategy(name: str) -> None:
    rows = shares(4)
    normalizers = [fitted(name, share) for share in rows]
    assert len({normalizer.stacking_key() for normalizer in normalizers}) == 1
    stacked_equals_each(normalizers, rows)


def test_stacking_keys_tell_apart_what_cannot_share() -> None:
    circles, cancer = TABLES["circles"], TABLES["cancer"]
    keys = {
        fitted("center", circles).stacking_key(),
        fitted("center", cancer).stacking_key(),
        fitted("log1p", circles).stacking_key(),
        fitted("quantile", circles).stacking_key(),
        fitted("quantile", circles, n_quantiles=50).stacking_key(),
        fitted("quantile", circles[:50]).stacking_key(),  # capped: equal to the one above
    }
    assert len(keys) == 5


@pytest.mark.parametrize("name", NAMES)
def test_exports_with_any_number_of_rows(name: str) -> None:
    rows = TABLES["circles"]
    normalizer = fitted(name, rows)
    any_n = ({0: torch.export.Dim("n")},)
    program = torch.export.export(normalizer, (rows[:7],), dynamic_shapes=any_n)
    assert torch.equal(program.module()(rows), normalizer(rows))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_rows(name: str) -> None:
    """Insight may ask what moves a logit: no nan from a branch that was not taken."""
    rows = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 2.0], [4.0, 9.0]], requires_grad=True)
    fitted(name, rows)(rows).sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


# Refusals


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'standardise'.*none, center, standardize"):
        make_normalizer("standardise", 3)


def test_registry_names_are_the_classes_own() -> None:
    assert {name: kind.name for name, kind in NORMALIZERS.items()} == {
        **{name: name for name in NAMES},
        "batchnorm": "none",
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 3), (5, 2), (5, 4), (3,), (2, 5, 3)])
def test_fit_refuses_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one row of 3 features"):
        make_normalizer(name, 3).fit(torch.zeros(shape))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e300])
def test_fit_refuses_what_is_not_finite(name: str, bad: float) -> None:
    rows = torch.tensor([[1.0], [bad]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"finite in torch\.float32"):
        make_normalizer(name, 1).fit(rows)


def test_quantile_refuses_one_quantile() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        make_normalizer("quantile", 3, n_quantiles=1)
