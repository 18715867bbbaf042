"""Checkpoints: safe to load, enough to predict from, and a clear refusal of anything else."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from normlab.data.schema import Schema
from normlab.errors import UserError
from normlab.model.checkpoint import load_network, weights_checkpoint
from normlab.model.network import Network
from normlab.model.normalization import NORMALIZERS, make_normalizer

SCHEMA = Schema(("a", "b"), "label", ("no", "yes"))


def saved(path: Path, normalization: str = "standardize", **options: Any) -> tuple[Path, Network]:
    """A checkpoint file, and the network that went into it."""
    network = Network(make_normalizer(normalization, 2), hidden=[4], **options)
    network.fit(torch.randn(50, 2) * 5 + 90).eval()
    torch.save(weights_checkpoint(network, SCHEMA, network.state_dict(), epoch=7), path)
    return path, network


def plain(value: Any) -> bool:
    """Whether a value is made of what every weights-only reader takes."""
    if isinstance(value, dict):
        return all(type(key) in (str, int) and plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(map(plain, value))
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)


@pytest.mark.parametrize("normalization", NORMALIZERS)
@pytest.mark.parametrize("batchnorm", [False, True])
def test_a_checkpoint_gives_the_same_logits(
    tmp_path: Path, normalization: str, batchnorm: bool
) -> None:
    path, network = saved(tmp_path / "a.ckpt", normalization, batchnorm=batchnorm, dropout=0.5)
    loaded, schema = load_network(path)
    rows = torch.randn(20, 2) * 5 + 90
    assert torch.equal(loaded(rows), network(rows))
    assert not loaded.training
    assert schema == SCHEMA


def test_double_precision_survives(tmp_path: Path) -> None:
    network = Network(make_normalizer("standardize", 2), hidden=[4]).double()
    network.fit(torch.randn(50, 2).double()).eval()
    path = tmp_path / "a.ckpt"
    torch.save(weights_checkpoint(network, SCHEMA, network.state_dict(), 1), path)
    loaded, _ = load_network(path)
    rows = torch.randn(20, 2).double()
    assert loaded(rows).dtype == torch.float64
    assert torch.equal(loaded(rows), network(rows))


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_runs_checkpoints_hold_plain_types(finished_run: Path, name: str) -> None:
    checkpoint = torch.load(finished_run / "checkpoints" / name, weights_only=True)
    if name == "last.ckpt":  # what Lightning keeps for a resumption is its own affair
        for key in ("loops", "callbacks", "pytorch-lightning_version"):
            checkpoint.pop(key)
        assert checkpoint["optimizer_states"]
        assert checkpoint["hyper_parameters"]["lr"] == 0.3
        assert checkpoint["best"]["epoch"] <= checkpoint["epoch"] + 1 == 5
    else:
        assert set(checkpoint) == {"normlab", "state_dict", "epoch"}
    checkpoint["state_dict"] = dict(checkpoint["state_dict"])
    if "best" in checkpoint:
        checkpoint["best"]["weights"] = dict(checkpoint["best"]["weights"])
    assert plain(checkpoint)
    assert checkpoint["normlab"]["schema"] == {
        "features": ["a", "b", "c"],
        "target": "answer",
        "classes": ["no", "yes"],
        "written": {"header": True, "decimal": "point", "thousandths": False},
    }


def test_last_and_best_are_two_states_of_one_network(finished_run: Path) -> None:
    last = torch.load(finished_run / "checkpoints/last.ckpt", weights_only=True)
    best, _ = load_network(finished_run / "checkpoints/best.ckpt")
    rows = torch.from_numpy(np.random.default_rng(0).normal(50, 9, (9, 3)).astype(np.float32))
    resumed = Network.from_settings(last["normlab"]["network"]).eval()
    resumed.load_state_dict(last["best"]["weights"])
    assert torch.equal(resumed(rows), best(rows))
    assert last["best"]["epoch"] < 5, "the test needs a best epoch before the last"
    network, _ = load_network(finished_run / "checkpoints/last.ckpt")
    resumed.load_state_dict(
        {k.removeprefix("network."): v for k, v in last["state_dict"].items() if "network" in k}
    )
    assert torch.equal(resumed(rows), network(rows))
    assert not torch.equal(best(rows), network(rows))


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
        _, network = saved(tmp_path / "good.ckpt")
        checkpoint = weights_checkpoint(network, SCHEMA, network.state_dict(), 1)
        torch.save({**checkpoint, "extra": evil}, path)
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=container == "torch")
    refused(path)
    assert not planted.exists()
    if container == "pickle":  # the trap is armed: an unsafe reader would have stepped in
        pickle.loads(path.read_bytes())
        assert planted.exists()


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"a,b\n1,2\n" * 99, b"0.5,1\n", b"\x80\x02}q\x00."]
)
def test_foreign_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.ckpt"
    path.write_bytes(content)
    assert "A model is the folder of a run" in refused(path)


def test_truncated_files(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "a.ckpt")
    content = path.read_bytes()
    for share in (0.01, 0.3, 0.7, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        refused(path)


def test_a_damaged_byte_within_the_archive(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "a.ckpt")
    with zipfile.ZipFile(path) as archive:
        entries = {item.filename: archive.read(item) for item in archive.infolist()}
    damaged = tmp_path / "damaged.ckpt"
    with zipfile.ZipFile(damaged, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content[:-20] if name.endswith("data.pkl") else content)
    refused(damaged)


def _entry(network: Network) -> dict[str, Any]:
    return weights_checkpoint(network, SCHEMA, network.state_dict(), 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: [1, 2],
        lambda good: good["state_dict"],  # the weights of some other program
        lambda good: {**good, "normlab": {**good["normlab"], "format": 2}},
        lambda good: {**good, "normlab": {"format": 1}},
        lambda good: {**good, "normlab": "format 1"},
        lambda good: {**good, "state_dict": {}},
        lambda good: {k: v for k, v in good.items() if k != "state_dict"},
        lambda good: {**good, "state_dict": {**good["state_dict"], "network.more": torch.ones(1)}},
        lambda good: {**good, "state_dict": {k: v[..., :1] for k, v in good["state_dict"].items()}},
        lambda good: {**good, "normlab": {**good["normlab"], "schema": {}}},
        lambda good: {
            **good,
            "normlab": {
                **good["normlab"],
                "network": {
                    **good["normlab"]["network"],
                    "normalizer": {"name": "whiten", "n_features": 2},
                },
            },
        },
    ],
)
def test_foreign_checkpoints(tmp_path: Path, spoil: Any) -> None:
    """Files that torch reads, but that hold no network of this program."""
    _, network = saved(tmp_path / "good.ckpt")
    path = tmp_path / "foreign.ckpt"
    torch.save(spoil(_entry(network)), path)
    refused(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "missing.ckpt")
    refused(tmp_path)  # a folder
