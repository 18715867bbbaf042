"""The encoder: scikit-learn's imputer and one-hot encoder as oracles, for one run and for many."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import OneHotEncoder
from torch import Tensor

from normlab.data.schema import Column, Schema
from normlab.model.checkpoint import describe, load_network, weights_checkpoint
from normlab.model.encoder import Encoder
from normlab.model.layers import Linear
from normlab.model.network import Network
from normlab.model.scalers import SCALERS, make_scaler
from normlab.model.thresholds import decision_thresholds

N_CATEGORIES = 9
TYPES = ["numeric", "categorical", "boolean", "numeric", "categorical"]
CATEGORIES = [0, N_CATEGORIES, 2, 0, 3]


def mixed_rows(n_rows: int = 400, gaps: float = 0.0, seed: int = 0) -> Tensor:
    """Numbers, codes that differ in how often they come, and 0 or 1; some of them missing."""
    random = np.random.default_rng(seed)
    shares = np.arange(1, N_CATEGORIES + 1) / np.arange(1, N_CATEGORIES + 1).sum()
    columns = [
        random.normal(50, 9, n_rows),
        random.choice(N_CATEGORIES, n_rows, p=shares),
        random.random(n_rows) < 0.3,
        random.exponential(2, n_rows),
        random.choice(3, n_rows, p=[0.6, 0.3, 0.1]),
    ]
    rows = np.stack(columns, 1).astype(np.float32)
    rows[random.random(rows.shape) < gaps] = np.nan
    return torch.from_numpy(rows)


def encoder(max_categories: int = 4, indicators: tuple[int, ...] = (), impute: bool = False):
    return Encoder(TYPES, CATEGORIES, max_categories, indicators, impute)


def encoded(made: Encoder, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers and other inputs of rows (n, columns) by the encoder of one run."""
    numbers, others = made(rows[None])
    return numbers[0], others[0]


@pytest.mark.parametrize("max_categories", [1, 4, 8, 9, 20])
def test_one_hot_is_scikit_learns(max_categories: int) -> None:
    """Its `max_categories` counts the place that the rarer share; ours does not."""
    rows, others = mixed_rows(), mixed_rows(seed=1)
    made = encoder(max_categories).fit(rows)
    shared = max_categories < N_CATEGORIES
    oracle = OneHotEncoder(
        max_categories=max_categories + 1 if shared else None,
        handle_unknown="ignore",
        sparse_output=False,
    ).fit(rows[:, [1]])
    numbers, inputs = encoded(made, others)
    assert torch.equal(numbers, others[:, [0, 3]])
    assert torch.equal(inputs[:, 0], others[:, 2])
    width = min(max_categories, N_CATEGORIES) + shared + 1
    ours = inputs[:, 1 : 1 + width].numpy()
    assert (ours.sum(1) == 1).all()
    assert not ours[:, -1].any()  # nothing unseen
    # The same places, in another order.
    expected = np.asarray(oracle.transform(others[:, [1]].numpy()))
    np.testing.assert_array_equal(np.sort(ours[:, :-1].T, 0), np.sort(expected.T, 0))
    by_column = {tuple(column) for column in ours.T}
    assert {tuple(column) for column in expected.T} <= by_column
    assert inputs.shape[1] == made.n_others


def test_what_training_has_not_seen_has_a_place_of_its_own() -> None:
    rows = mixed_rows()
    rows[rows[:, 1] == 5, 1] = 4  # a category of the table that the training rows lack
    made = encoder(max_categories=4).fit(rows)
    strange = rows[:4].clone()
    strange[:, 1] = torch.tensor([5.0, N_CATEGORIES, -1.0, torch.nan])
    _, inputs = encoded(made, strange)
    places = inputs[:, 1:7]
    assert places[:, 5].tolist() == [1, 1, 1, 1]
    assert places.sum(1).tolist() == [1, 1, 1, 1]


def test_of_equally_frequent_categories_the_first_is_kept() -> None:
    made = Encoder(["categorical"], [4], 2).fit(torch.tensor([[3.0], [1.0], [0.0], [2.0]]))
    _, inputs = encoded(made, torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
    assert inputs.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("n_rows", [399, 400])
def test_gaps_are_filled_as_scikit_learn_fills_them(n_rows: int) -> None:
    train, others = mixed_rows(n_rows, gaps=0.2), mixed_rows(gaps=0.3, seed=1)
    made = encoder(20, indicators=(0, 1), impute=True).fit(train)
    numbers, inputs = encoded(made, others)
    median = SimpleImputer(strategy="median").fit(train[:, [0, 3]])
    np.testing.assert_allclose(numbers, np.asarray(median.transform(others[:, [0, 3]])), rtol=1e-6)
    most = SimpleImputer(strategy="most_frequent").fit(train[:, [1, 2, 4]])
    filled = np.asarray(most.transform(others[:, [1, 2, 4]]))
    np.testing.assert_array_equal(inputs[:, 0], filled[:, 1])
    oracle = OneHotEncoder(sparse_output=False)
    codes = np.asarray(most.transform(train[:, [1, 2, 4]]))[:, [0]]
    expected = np.asarray(oracle.fit(codes).transform(filled[:, [0]]))
    ours = {tuple(column) for column in inputs[:, 1 : 1 + N_CATEGORIES].T.tolist()}
    assert ours == {tuple(column) for column in expected.T.tolist()}
    gaps = MissingIndicator(features="all").fit_transform(others.numpy())
    np.testing.assert_array_equal(inputs[:, -2:].bool(), np.asarray(gaps)[:, [0, 1]])


def network(normalization: str = "standardize", **options: object) -> Network:
    impute = bool(options.pop("impute", True))
    made = encoder(4, indicators=(0, 4) if impute else (), impute=impute)
    return Network(make_scaler(normalization, 2), [5], encoder=made, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("normalization", SCALERS)
def test_a_network_is_its_parts(normalization: str, batchnorm: bool, tmp_path: Path) -> None:
    """Numbers are filled and normalized, the rest passes; and a checkpoint holds all of it."""
    rows = mixed_rows(gaps=0.1)
    made = network(normalization, batchnorm=batchnorm).fit(rows).eval()
    assert made.encoder is not None
    numbers, others = made.encoder(rows[None])
    normalized = made.normalizer(numbers)
    if made.batchnorm is not None:
        normalized = made.batchnorm(normalized.mT).mT
    expected = made.mlp(torch.cat([normalized, others], 2).mT)[:, 0]
    torch.testing.assert_close(made(rows), expected)
    assert torch.isfinite(made(rows)).all()
    filled = SimpleImputer(strategy="median").fit_transform(rows[:, [0, 3]].numpy())
    alone = make_scaler(normalization, 2).fit(torch.from_numpy(np.asarray(filled)))
    torch.testing.assert_close(made.normalizer(numbers), alone(numbers))

    schema = Schema(("a", "b", "c", "d", "e"), "y", (0, 1), (Column("a", missing=True),) * 5)
    content = weights_checkpoint(describe(made, schema), made.state_dict(), 1)
    torch.save(content, tmp_path / "a.ckpt")
    loaded, _ = load_network(tmp_path / "a.ckpt")
    assert torch.equal(loaded(rows), made(rows))


def test_without_numbers_nothing_is_normalized() -> None:
    coded = Encoder(["categorical", "boolean"], [3, 2], 10)
    for name in SCALERS:
        made = Network(make_scaler(name, 0), [3], batchnorm=True, encoder=copy.deepcopy(coded))
        rows = mixed_rows()[:, [4, 2]]
        assert torch.isfinite(made.fit(rows)(rows)).all()
        assert made.n_inputs == 5


def test_plain_numbers_keep_their_network() -> None:
    """Names of the state, initial weights and logits are those without an encoder."""
    rows = mixed_rows()[:, [0, 3]]
    plain = Network(make_scaler("standardize", 2), [5]).fit(rows)
    numbers = Encoder(["numeric"] * 2, [0, 0], 9)
    through = Network(make_scaler("standardize", 2), [5], encoder=numbers).fit(rows)
    assert torch.equal(plain(rows), through(rows))
    assert "encoder" not in plain.settings()
    assert not [name for name in plain.state_dict() if "encoder" in name]


def test_an_input_that_never_trains_says_nothing() -> None:
    rows = mixed_rows()
    made = network(impute=False).fit(rows).eval()
    unseen = rows[:3].clone()
    unseen[:, 1] = N_CATEGORIES
    weight = made.mlp[0].weight
    assert isinstance(weight, Tensor)
    assert (weight[0] == 0).all(0).nonzero().flatten().tolist() == [8, 12]  # both unseen places
    inputs = made.inputs(unseen)
    inputs[:, 3:9] = 0  # all places of the first category
    torch.testing.assert_close(made(unseen), made.logits(inputs))


@pytest.mark.parametrize("batchnorm", [False, True])
def test_networks_of_other_splits_stack(batchnorm: bool) -> None:
    """Buffers of equal shapes: each run with its own places and fillings."""
    all_rows = mixed_rows(gaps=0.1)
    parts = [all_rows[torch.randperm(400)[:60]] for _ in range(3)]
    singles = [network(batchnorm=batchnorm).fit(part).eval() for part in parts]
    together = Network.stack(singles)
    assert together.encoder is not None
    assert len(together.encoder.places.unique(dim=0)) == 3
    of_own, of_shared = together(torch.stack(parts)), together(all_rows)
    for run, (single, part) in enumerate(zip(singles, parts, strict=True)):
        torch.testing.assert_close(of_own[run], single(part)[0])
        torch.testing.assert_close(of_shared[run], single(all_rows)[0])


def test_it_can_be_exported() -> None:
    """A network of one run, on rows without an axis of runs."""
    rows = mixed_rows(gaps=0.1)
    made = network().fit(rows).eval()
    n_rows = torch.export.Dim("n_rows", min=2)
    program = torch.export.export(made, (rows[:7],), dynamic_shapes=({0: n_rows},))
    torch.testing.assert_close(program.module()(rows), made(rows))


@pytest.mark.parametrize("at", [-1.0, 0.0, 2.0])
def test_the_threshold_of_one_number_with_gaps(at: float) -> None:
    """Found among the values that are there; a category has none."""
    rows = mixed_rows(gaps=0.2)[:, :1]
    gaps = Encoder(["numeric"], [0], 9, indicators=(0,), impute=True)
    made = Network(make_scaler("standardize", 1), [], encoder=gaps).fit(rows)
    layer = made.mlp[0]
    assert isinstance(layer, Linear)
    torch.nn.init.constant_(layer.weight, 1.0)
    torch.nn.init.constant_(layer.bias, -at)
    filled = SimpleImputer(strategy="median").fit_transform(rows.numpy())
    found = decision_thresholds(made.eval(), rows[None])
    root = filled.mean() + at * filled.std()
    assert found == [[pytest.approx(float(root), rel=1e-6)]]
    coded = Network(make_scaler("none", 0), [], encoder=Encoder(["categorical"], [9], 9))
    assert decision_thresholds(coded.eval(), mixed_rows()[None, :, 1:2]) is None


def test_no_rows_give_no_logits() -> None:
    made = network().fit(mixed_rows(gaps=0.1)).eval()
    assert made(mixed_rows()[:0]).shape == (1, 0)
    assert made(mixed_rows()[:1]).shape == (1, 1)


def test_double_precision() -> None:
    rows = mixed_rows(gaps=0.1)
    made = network().fit(rows).eval()
    again = copy.deepcopy(made).double()
    torch.testing.assert_close(again(rows.double()), made(rows).double(), atol=1e-5, rtol=1e-5)


def test_many_rows_are_fitted_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = mixed_rows(gaps=0.1)
    whole = network().fit(rows).state_dict()
    monkeypatch.setattr("normlab.model.encoder.CHUNK", 30)
    chunked = network().fit(rows).state_dict()
    assert all(torch.equal(value, chunked[name]) for name, value in whole.items())
