"""Laws that every scaler obeys, at the ends of float32 too, and what it refuses to fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from normlab.model.scaler import Scaler
from normlab.model.scalers import SCALERS, make_scaler

NAMES = [name for name in SCALERS if name != "batchnorm"]
LARGEST = torch.finfo(torch.float32).max
TINY = torch.finfo(torch.float32).tiny

few = settings(deadline=None, max_examples=60)
each_name = pytest.mark.parametrize("name", NAMES)


def fitted(name: str, rows: Tensor, **options: Any) -> Scaler:
    return make_scaler(name, rows.shape[1], **options).to(rows.dtype).fit(rows)


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


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
    scaler = fitted(name, rows)
    y = scaler(rows[None])
    assert (y[..., [0, 2]] == 0).all()
    assert torch.allclose(scaler.inverse(y)[0, :, 0], rows[:, 0], rtol=1e-5)


def test_off_a_constant_column() -> None:
    """Affine maps keep the distance, as scikit-learn's; ranks have nothing to tell."""
    for name in ("center", "standardize", "minmax", "robust"):
        assert fitted(name, column(7.0, 7.0))(column(9.5)[None]).item() == 2.5
    assert fitted("quantile", column(7.0, 7.0))(column(-1e30, 9.5)[None]).abs().max() == 0


# Numbers at the ends of float32


any_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)
tables = arrays(np.float32, st.tuples(st.integers(1, 12), st.just(3)), elements=any_float32)


@each_name
@few
@given(seen=tables, unseen=tables)
def test_finite_rows_give_finite_results(
    name: str, seen: NDArray[np.float32], unseen: NDArray[np.float32]
) -> None:
    scaler = fitted(name, torch.from_numpy(seen))
    assert all(buffer.isfinite().all() for buffer in scaler.buffers())
    for values in (seen, unseen):
        rows = torch.from_numpy(values)[None]
        y = scaler(rows)
        assert y.isfinite().all()
        assert scaler.inverse(y).isfinite().all()
        assert scaler.inverse(rows).isfinite().all()


@each_name
@pytest.mark.parametrize(
    "values",
    [(-LARGEST, 0.0, LARGEST), (LARGEST, LARGEST, -LARGEST), (0.0, 1e-45, 0.0), (0.0, TINY, 1.0)],
)
def test_extremes_are_finite_and_in_order(name: str, values: tuple[float, ...]) -> None:
    positive = (1e-45, TINY, 1.0, 0.3 * LARGEST, 0.9 * LARGEST, LARGEST)
    probe = column(*(-x for x in reversed(positive)), 0.0, *positive)
    y = fitted(name, column(*values))(probe[None])
    assert y.isfinite().all()
    assert (y.diff(dim=1) >= 0).all()


def test_minmax_saturates_a_range_beyond_float32() -> None:
    ends = column(-LARGEST, LARGEST)
    assert fitted("minmax", ends)(ends[None]).flatten().tolist() == [0, 1]


@pytest.mark.parametrize("name", ["none", "center", "standardize", "minmax", "robust"])
def test_scale_is_never_subnormal(name: str) -> None:
    assert fitted(name, column(0.0, 1e-45, 3e-45)).get_buffer("scale").item() >= TINY


@each_name
def test_nan_stays_nan_and_alone(name: str) -> None:
    rows = torch.randn(2, 30, 3)
    scaler = fitted(name, rows[0])
    holed = rows[:1].clone()
    holed[0, 2, 0] = torch.nan
    for call in (scaler, scaler.inverse):
        assert torch.equal(call(holed).isnan(), holed.isnan())


# Forward and back


moderate = arrays(
    np.float32,
    st.tuples(st.integers(2, 30), st.just(2)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@each_name
@few
@given(table=moderate)
def test_inverse_undoes_forward(name: str, table: NDArray[np.float32]) -> None:
    rows = torch.from_numpy(table).double()
    scaler = fitted(name, rows)
    back = scaler.inverse(scaler(rows[None]))[0]
    # Relative to the column: its knots lie at most this far apart.
    tolerance = 1e-6 * rows.abs().amax(dim=0) + 1e-30
    assert ((back - rows).abs() <= tolerance).all()


@few
@given(table=moderate, a=st.floats(1e-3, 1e3), b=st.floats(-1e3, 1e3))
def test_standardize_ignores_shift_and_scale(
    table: NDArray[np.float32], a: float, b: float
) -> None:
    rows = torch.from_numpy(table).double().round(decimals=3)
    moved = a * rows + b
    constant = (rows == rows[0]).all(dim=0)
    y, y_moved = (fitted("standardize", one)(one[None])[0] for one in (rows, moved))
    assert torch.allclose(y_moved[:, ~constant], y[:, ~constant], atol=1e-5)


@each_name
@few
@given(table=moderate)
def test_order_is_kept(name: str, table: NDArray[np.float32]) -> None:
    rows = torch.from_numpy(table).sort(dim=0).values
    assert (fitted(name, rows)(rows[None]).diff(dim=1) >= 0).all()


@each_name
def test_gradients_reach_the_rows(name: str) -> None:
    """Insight may ask what moves a logit: no nan from a branch that was not taken."""
    rows = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 2.0], [4.0, 9.0]], requires_grad=True)
    fitted(name, rows.detach())(rows[None]).sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


# Refusals


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'standardise'.*none, center, standardize"):
        make_scaler("standardise", 3)


@each_name
@pytest.mark.parametrize("shape", [(0, 3), (5, 2), (5, 4), (3,), (2, 5, 3)])
def test_fit_refuses_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one row of 3 features"):
        make_scaler(name, 3).fit(torch.zeros(shape))


@each_name
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e300])
def test_fit_refuses_what_is_not_finite(name: str, bad: float) -> None:
    rows = torch.tensor([[1.0], [bad]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"finite in torch\.float32"):
        make_scaler(name, 1).fit(rows)
