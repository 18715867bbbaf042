"""`normlab export`: files that give the model's probabilities without normlab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.special import ndtri

import normlab
from normlab.cli import main
from normlab.data.meaning.apply import read_for
from normlab.data.schema import Column, Schema
from normlab.errors import UserError
from normlab.inference import export as exporting
from normlab.inference.export import description, drawn_rows, export
from normlab.inference.onnx_quantile import OnnxQuantile, ndtri_of_tail
from normlab.inference.predict import Predictor
from normlab.model.encoder import Encoder
from normlab.model.network import Network
from normlab.model.quantile import CLIP, Quantile
from normlab.model.scalers import make_scaler

Captured = pytest.CaptureFixture[str]


def run_onnx(path: Path, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(["probability"], {"rows": rows})
    return np.asarray(output)


def run_pt2(path: Path, rows: np.ndarray) -> np.ndarray:
    return torch.export.load(path).module()(torch.from_numpy(rows)).detach().numpy()


def told_by_onnx(path: Path) -> str:
    """What the file says of itself; its input and output are looked at on the way."""
    session = onnxruntime.InferenceSession(str(path))
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type) == ("rows", "tensor(float)")
    assert isinstance(taken.shape[0], str)
    assert (given.name, given.type) == ("probability", "tensor(float)")
    return session.get_modelmeta().custom_metadata_map["normlab"]


def told_by_pt2(path: Path) -> str:
    extra: dict[str, Any] = {"normlab.json": ""}
    torch.export.load(path, extra_files=extra)
    return extra["normlab.json"]


RUN = {"pt2": run_pt2, "onnx": run_onnx}
TOLD = {"pt2": told_by_pt2, "onnx": told_by_onnx}


def network(normalization: str, batchnorm: bool = False, mixed: bool = False) -> Network:
    """Fitted on rows far from 0, of unlike scales."""
    random = np.random.default_rng(0)
    rows = (random.normal(0, 1, (300, 3)) * [1, 20, 400] + [5, 90, 1e4]).astype(np.float32)
    if not mixed:
        made = Network(make_scaler(normalization, 3), [6], "gelu", 0.2, batchnorm)
    else:
        encoder = Encoder(
            ["numeric", "categorical", "numeric", "boolean", "numeric", "categorical"],
            [0, 5, 0, 0, 0, 3], 3, [1, 2], impute=True,
        )  # fmt: skip
        made = Network(make_scaler(normalization, 3), [6], batchnorm=batchnorm, encoder=encoder)
        others = [random.integers(0, n, (300, 1)) for n in (5, 2, 3)]
        rows = np.hstack(
            [rows[:, :1], others[0], rows[:, 1:2], others[1], rows[:, 2:], others[2]]
        ).astype(np.float32)
        rows[random.random(rows.shape) < 0.1] = np.nan
    return made.fit(torch.from_numpy(rows)).eval()


def predictor(made: Network) -> Predictor:
    if made.encoder is None:
        return Predictor(made, Schema(("a", "b", "c"), "y", ("no", "yes")))
    columns = tuple(
        Column(f"x{i}", kind, tuple("abcde"[:size]) if kind == "categorical" else (), True)  # type: ignore[arg-type]
        for i, (kind, size) in enumerate(
            zip(made.encoder.types, made.encoder.categories, strict=True)
        )
    )
    names = tuple(column.name for column in columns)
    return Predictor(made, Schema(names, "y", ("no", "yes"), columns, missing="impute"))


@pytest.mark.parametrize(
    ("normalization", "batchnorm", "mixed"),
    [
        ("none", True, False),
        ("log1p", False, True),
        ("quantile", True, False),
    ],
)
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_the_file_gives_the_models_probabilities(
    tmp_path: Path, kind: str, normalization: str, batchnorm: bool, mixed: bool
) -> None:
    """For rows that it was not checked on, in any number, far out and with gaps."""
    made = predictor(network(normalization, batchnorm, mixed))
    path = tmp_path / f"model.{kind}"
    difference = export(made, path, drawn_rows(made.network, 64))
    rows = drawn_rows(made.network, 999, seed=1)
    rows[::7] *= 3  # codes that no category has
    with torch.no_grad():
        (expected,) = made.network(torch.from_numpy(rows)).sigmoid().numpy()
    assert np.ptp(expected) > 0.1
    for n in (1, 2, 999):
        got = RUN[kind](path, rows[:n])
        assert got.shape == (n,)
        np.testing.assert_allclose(got, expected[:n], atol=exporting.TOLERANCE[f".{kind}"])
    assert 0 <= difference <= exporting.TOLERANCE[f".{kind}"]
    assert list(tmp_path.iterdir()) == [path]
    assert json.loads(TOLD[kind](path)) == description(made.schema)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_take_and_give_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    made = Predictor(network("standardize").to(dtype), Schema(("a", "b", "c"), "y", (0, 1)))
    rows = drawn_rows(made.network, 20)
    export(made, tmp_path / "m.pt2", rows)
    got = run_pt2(tmp_path / "m.pt2", rows)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, made.predict_proba(rows)[:, 1], atol=1e-6)


def test_the_quantile_of_onnx_is_the_models() -> None:
    """On and between knots, at runs of equal ones, at both ends and beyond."""
    random = np.random.default_rng(0)
    column = np.r_[random.normal(5, 2, 700).round(1), np.full(200, 5.0), random.random(99) * 1e4]
    rows = torch.tensor(np.stack([column, np.full(999, 3.0)], 1), dtype=torch.float32)
    for n_quantiles in (2, 3, 64, 1000):
        normalizer = Quantile(2, n_quantiles).fit(rows)
        more = torch.cat([rows, rows + 0.03, torch.tensor([[-1e9, 3.0], [1e9, 4.0]])])
        difference = (OnnxQuantile(normalizer)(more[None]) - normalizer(more[None])).abs().max()
        assert difference < 2e-5
    tail = np.r_[np.geomspace(CLIP, 0.5, 10_000), np.exp(-2)]
    got = ndtri_of_tail(torch.tensor(tail)).numpy()
    np.testing.assert_allclose(got, ndtri(tail), rtol=1e-12, atol=1e-15)


def test_what_a_file_says_of_its_columns() -> None:
    told = description(predictor(network("standardize", mixed=True)).schema)
    assert told["classes"] == ["no", "yes"]
    assert told["missing"] == "nan"
    assert told["columns"][:2] == [
        {"name": "x0", "type": "numeric"},
        {"name": "x1", "type": "categorical", "categories": list("abcde"), "other": 5},
    ]


def test_the_command(finished_run: Path, tmp_path: Path, capfd: Captured) -> None:
    """It compares on the training file, which the run's config.yaml names."""
    path = tmp_path / "rates.pt2"
    assert main(["export", str(finished_run), str(path)]) == 0
    out = capfd.readouterr().out.splitlines()
    assert out[0] == "input `rows`, float32 (n, 3):"
    assert out[1].split() == ["0", "a", "number"]
    assert out[4] == "output `probability`, float32 (n,): of answer = yes"
    assert out[5].endswith("on 200 rows of rows.csv")
    model = normlab.load(finished_run)
    (batch,) = read_for(model.schema, finished_run.parent / "rows.csv")
    expected = model.predict_proba(batch.rows)[:, 1]
    np.testing.assert_allclose(run_pt2(path, batch.rows), expected, atol=1e-6)
    before = path.read_bytes()
    assert main(["export", str(finished_run), str(path)]) == 1
    assert "exists: give another name, or --force" in capfd.readouterr().err
    assert path.read_bytes() == before
    last = finished_run / "checkpoints/last.ckpt"
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/last.ckpt").write_bytes(last.read_bytes())  # no config.yaml beside it
    assert main(["export", str(tmp_path / "alone/last.ckpt"), str(path), "--force"]) == 0
    assert "drawn from the model's statistics" in capfd.readouterr().out
    few = tmp_path / "few.csv"
    few.write_text("c,b,a\n1,2,3\n4,5,6\n")
    assert main(["export", str(last), str(path), "--force", "--check", str(few)]) == 0
    assert capfd.readouterr().out.rstrip().endswith("on 2 rows of few.csv")


def test_a_file_that_does_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = predictor(network("standardize"))
    wrong = lambda path: lambda rows: np.full(len(rows), 0.5, np.float32)  # noqa: E731
    monkeypatch.setattr(exporting, "_read_pt2", wrong)
    with pytest.raises(UserError, match="is not written: its probabilities differ by"):
        export(made, tmp_path / "m.pt2", drawn_rows(made.network))
    nan = lambda path: lambda rows: np.full(len(rows), np.nan, np.float32)  # noqa: E731
    monkeypatch.setattr(exporting, "_read_pt2", nan)
    with pytest.raises(UserError, match="is not written"):
        export(made, tmp_path / "m.pt2", drawn_rows(made.network))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_told_with_its_remedy(
    finished_run: Path, tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx" else name)
    assert main(["export", str(finished_run), str(tmp_path / "m.onnx")]) == 1
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "pip install 'normlab[onnx]'" in err
    assert main(["export", str(finished_run), str(tmp_path / "m.txt")]) == 1
    assert "give .pt2 or .onnx" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
