"""Checkpoints: safe to load, enough to predict from, those of version 0.1 too."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from learners import AFFINE
from normlab.data.schema import Schema
from normlab.errors import UserError
from normlab.model.checkpoint import describe, load_network, weights_checkpoint
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.scalers import SCALERS, make_scaler

SCHEMA = Schema(("a", "b"), "label", ("no", "yes"))


def rows(n: int = 20, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(90, 5, (n, 2)).astype(np.float32))


def made(normalization: str = "standardize", seed: int = 0, **options: Any) -> Network:
    network = Network(make_scaler(normalization, 2), hidden=[4], seed=seed, **options)
    return network.fit(rows(50, seed)).eval()


def content(network: Network) -> dict[str, Any]:
    return weights_checkpoint(describe(network, SCHEMA), network.state_dict(), epoch=7)


def saved(path: Path, network: Network) -> Path:
    torch.save(content(network), path)
    return path


def plain(value: Any) -> bool:
    """Whether a value is made of what every weights-only reader takes."""
    if isinstance(value, dict):
        return all(type(key) in (str, int) and plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(map(plain, value))
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)


@pytest.mark.parametrize("normalization", SCALERS)
@pytest.mark.parametrize("batchnorm", [False, True])
def test_a_checkpoint_gives_the_same_logits(
    tmp_path: Path, normalization: str, batchnorm: bool
) -> None:
    network = made(normalization, batchnorm=batchnorm, dropout=0.5)
    path = saved(tmp_path / "a.ckpt", network)
    loaded, schema = load_network(path)
    assert torch.equal(loaded(rows()), network(rows()))
    assert not loaded.training
    assert schema == SCHEMA
    read = torch.load(path, weights_only=True)
    assert plain(read)
    assert set(read) == {"normlab", "state_dict", "epoch"}


def test_many_runs_in_one_file(tmp_path: Path) -> None:
    network = Network.stack([made(name, seed) for seed, name in enumerate(AFFINE)]).eval()
    loaded, _ = load_network(saved(tmp_path / "a.ckpt", network))
    assert loaded.n_runs == 5
    assert torch.equal(loaded(rows()), network(rows()))


def test_double_precision_survives(tmp_path: Path) -> None:
    network = made().double()
    loaded, _ = load_network(saved(tmp_path / "a.ckpt", network))
    found = loaded(rows().double())
    assert found.dtype == torch.float64
    assert torch.equal(found, network(rows().double()))


# Version 0.1: one run, without an axis of runs


def first_format(path: Path, **changes: Any) -> tuple[Path, nn.Module]:
    """A file as version 0.1 wrote it, and the layers that are in it."""
    norm, first, last = nn.BatchNorm1d(2), nn.Linear(2, 4), nn.Linear(4, 1)
    norm(rows())
    state = {
        "normalizer.shift": torch.tensor([1.0, 2.0]),
        "normalizer.scale": torch.tensor([3.0, 4.0]),
        **{f"batchnorm.{name}": value for name, value in norm.state_dict().items()},
        **{f"mlp.0.{name}": value for name, value in first.state_dict().items()},
        **{f"mlp.3.{name}": value for name, value in last.state_dict().items()},
    }
    network = {
        "normalizer": {"name": "standardize", "n_features": 2},
        "hidden": [4],
        "activation": "tanh",
        "dropout": 0.5,
        "batchnorm": True,
    }
    entry = {"format": 1, "network": network, "schema": SCHEMA.to_dict(), **changes}
    torch.save(
        {
            "normlab": entry,
            "state_dict": {f"network.{name}": value for name, value in state.items()},
            "epoch": 3,
        },
        path,
    )
    return path, nn.Sequential(norm, first, nn.Tanh(), last).eval()


def test_a_file_of_version_0_1_still_predicts(tmp_path: Path) -> None:
    path, layers = first_format(tmp_path / "old.ckpt")
    loaded, schema = load_network(path)
    assert schema == SCHEMA
    expected = layers((rows() - torch.tensor([1.0, 2.0])) / torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(loaded(rows()), expected.T)


@pytest.mark.parametrize("kind", ["quantile", "log1p", "encoder"])
def test_all_statistics_of_version_0_1(tmp_path: Path, kind: str) -> None:
    """Their names have stayed, and the axis of runs is what they lack."""
    encoder = Encoder(["numeric", "categorical"], [0, 3], 9, [0], impute=True)
    given = rows(50)
    if kind == "encoder":
        given[:, 1] = torch.arange(50) % 3
        network = Network(make_scaler("robust", 1), hidden=[4], encoder=encoder).fit(given).eval()
    else:
        network = made(kind)
    entry = {**describe(network, SCHEMA), "format": 1}
    state = {name: value[0] for name, value in network.state_dict().items()}
    torch.save(weights_checkpoint(entry, state, 1), tmp_path / "old.ckpt")
    loaded, _ = load_network(tmp_path / "old.ckpt")
    assert torch.equal(loaded(given), network(given))


# What is refused


class Payload:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_network(path)
    message = str(caught.value)
    assert str(path) in message
    return message


@pytest.mark.parametrize("container", ["pickle", "torch", "torch, old format", "within"])
def test_a_payload_does_not_run(tmp_path: Path, container: str) -> None:
    path, planted = tmp_path / "evil.ckpt", tmp_path / "planted"
    evil = Payload(planted)
    if container == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif container == "within":
        torch.save({**content(made()), "extra": evil}, path)
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=container == "torch")
    refused(path)
    assert not planted.exists()
    if container == "pickle":  # the trap is armed: an unsafe reader would have stepped in
        pickle.loads(path.read_bytes())
        assert planted.exists()


@pytest.mark.parametrize("data", [b"", b"garbage", b"a,b\n1,2\n" * 99, b"\x80\x02}q\x00."])
def test_foreign_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "foreign.ckpt"
    path.write_bytes(data)
    refused(path)


def test_truncated_files(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ckpt", made())
    whole = path.read_bytes()
    for share in (0.01, 0.3, 0.7, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path)


def test_a_damaged_byte_within_the_archive(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ckpt", made())
    with zipfile.ZipFile(path) as archive:
        entries = {item.filename: archive.read(item) for item in archive.infolist()}
    damaged = tmp_path / "damaged.ckpt"
    with zipfile.ZipFile(damaged, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data[:-20] if name.endswith("data.pkl") else data)
    refused(damaged)


def with_entry(good: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**good, "normlab": {**good["normlab"], **changes}}


def with_state(good: dict[str, Any], change: Any) -> dict[str, Any]:
    return {**good, "state_dict": {k: change(k, v) for k, v in good["state_dict"].items()}}


FOREIGN = {
    "no dict": lambda good: [1, 2],
    "weights of some other program": lambda good: good["state_dict"],
    "a format to come": lambda good: with_entry(good, format=3),
    "the format before": lambda good: with_entry(good, format=1),
    "no network": lambda good: {**good, "normlab": {"format": 2}},
    "no entry": lambda good: {**good, "normlab": "format 2"},
    "no schema": lambda good: with_entry(good, schema={}),
    "no weights": lambda good: {**good, "state_dict": {}},
    "no state": lambda good: {k: v for k, v in good.items() if k != "state_dict"},
    "an unknown scaler": lambda good: with_entry(
        good,
        network={**good["normlab"]["network"], "normalizer": {"name": "whiten", "n_features": 2}},
    ),
    "a weight too many": lambda good: {
        **good, "state_dict": {**good["state_dict"], "network.more": torch.ones(1)}
    },
    "fewer columns": lambda good: with_state(good, lambda _, v: v[..., :1]),
    "runs of two numbers": lambda good: with_state(
        good, lambda k, v: torch.cat([v, v]) if "bias" in k else v
    ),
    "no run": lambda good: with_state(good, lambda _, v: v[:0]),
    "no tensor": lambda good: with_state(good, lambda _, v: v.tolist()),
    "a tensor without axes": lambda good: with_state(good, lambda _, v: v.sum()),
    "whole numbers": lambda good: with_state(good, lambda _, v: v.long()),
    "two precisions": lambda good: with_state(good, lambda k, v: v.double() if "0" in k else v),
}  # fmt: skip


@pytest.mark.parametrize("spoil", FOREIGN)
def test_foreign_checkpoints(tmp_path: Path, spoil: str) -> None:
    """Files that torch reads, but that hold no network of this program."""
    path = tmp_path / "foreign.ckpt"
    torch.save(FOREIGN[spoil](content(made())), path)
    refused(path)


def test_places_of_categories_are_whole_numbers(tmp_path: Path) -> None:
    encoder = Encoder(["categorical", "numeric"], [3, 0], 9)
    network = Network(make_scaler("none", 1), [], encoder=encoder).fit(rows().abs() % 3 // 1)
    spoilt = with_state(content(network), lambda k, v: v.float() if "places" in k else v)
    torch.save(spoilt, tmp_path / "a.ckpt")
    refused(tmp_path / "a.ckpt")


def test_no_file_at_all(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "missing.ckpt")
    refused(tmp_path)  # a folder
