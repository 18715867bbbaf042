"""A trained network as one file for other programs: raw rows in, probabilities out."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from normlab.data.file.writing import replacing
from normlab.data.schema import Schema
from normlab.errors import UserError
from normlab.inference.onnx_quantile import OnnxQuantile
from normlab.inference.predict import Predictor
from normlab.model.network import Network
from normlab.model.quantile import Quantile

INPUT, OUTPUT = "rows", "probability"
ENTRY = "normlab"  # of the description in ONNX's metadata; in .pt2 the extra file normlab.json
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MISSING_EXTRA = "writing .onnx needs the packages onnx, onnxscript and onnxruntime: pip install "
# Between probabilities: rounding alone, in other orders of summation and other exponentials.
TOLERANCE = {".pt2": 1e-6, ".onnx": 1e-5}


class Probability(nn.Module):
    """float32 rows (n, columns) as in `Table.rows` -> float32 probabilities (n,) of class 1."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype

    def forward(self, rows: Tensor) -> Tensor:
        return self.network(rows.to(self.dtype)[None])[0].float().sigmoid()


def description(schema: Schema) -> dict[str, Any]:
    """What the columns of the rows and the probability mean, as plain types for JSON.

    The codes of a column are positions in its `categories`, and `other` is that of any other value.
    """
    columns = []
    for column in schema.columns:
        entry: dict[str, Any] = {"name": column.name, "type": column.type}
        if column.type != "numeric":
            entry["categories"] = list(column.categories)
        if column.type == "categorical":
            entry["other"] = len(column.categories)
        columns.append(entry)
    return {
        "columns": columns,
        "missing": "nan" if schema.missing == "impute" else "not taken",
        "target": schema.target,
        "classes": list(schema.classes),
    }


def export(predictor: Predictor, path: Path, rows: NDArray[np.float32]) -> float:
    """Writes .pt2 (torch.export) or .onnx, and checks what it wrote before it takes its place.

    The number of rows is free. The file holds its `description`.

    Args:
        rows: (n, columns), n > 1, that file and model are compared on, also one row alone.

    Returns:
        The largest difference of a probability.

    Raises:
        UserError: another ending, a package is missing, or the file does not do as the model does.
    """
    suffix = path.suffix.lower()
    if suffix not in TOLERANCE:
        raise UserError(f"{path}: the ending says what to write: give .pt2 or .onnx")
    if suffix == ".onnx":
        require_onnx()
    meaning = json.dumps(description(predictor.schema), ensure_ascii=False)
    model = Probability(copy.deepcopy(predictor.network)).eval()
    samples = torch.from_numpy(rows)
    with replacing(path) as partial, torch.no_grad():
        expected = [(part, model(part).numpy()) for part in (samples, samples[:1], samples[:2])]
        if suffix == ".pt2":
            _write_pt2(model, partial, meaning)
        else:
            _write_onnx(model, partial, meaning)
        run = _read_pt2(partial) if suffix == ".pt2" else _read_onnx(partial)
        difference = max(
            float(np.abs(run(part) - probabilities).max()) for part, probabilities in expected
        )
        if not difference <= TOLERANCE[suffix]:  # nor nan
            raise UserError(
                f"{path} is not written: its probabilities differ by {difference:.2g} from the "
                f"model's, which is more than rounding"
            )
    return difference


def require_onnx() -> None:
    """Refuses to go on without the packages of the extra `onnx`.

    Raises:
        UserError: saying what to install.
    """
    from importlib.util import find_spec

    if not all(map(find_spec, ONNX_PACKAGES)):
        raise UserError(f"{MISSING_EXTRA}'normlab[onnx]', or in a checkout -e '.[onnx]'")


def _example(model: Probability) -> tuple[tuple[Tensor], dict[str, Any]]:
    """Rows to trace with: torch.export takes 0 and 1 for constants, not 2."""
    return (torch.zeros(2, model.network.n_columns),), {INPUT: {0: Dim("n_rows")}}


def _write_pt2(model: Probability, path: Path, meaning: str) -> None:
    example, shapes = _example(model)
    program = torch.export.export(model, example, dynamic_shapes=shapes)
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={f"{ENTRY}.json": meaning})


def _read_pt2(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda rows: module(rows).numpy()


def _write_onnx(model: Probability, path: Path, meaning: str) -> None:
    example, shapes = _example(model)
    if isinstance(model.network.normalizer, Quantile):
        model.network.normalizer = OnnxQuantile(model.network.normalizer)  # pyright: ignore
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # it would say that torchvision is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecations within torch
            program = torch.onnx.export(
                model,
                example,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
    finally:
        registration.setLevel(level)
    assert program is not None
    program.model.metadata_props[ENTRY] = meaning
    program.save(path, external_data=False)


def _read_onnx(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda rows: np.asarray(session.run([OUTPUT], {INPUT: rows.numpy()})[0], np.float32)


def drawn_rows(network: Network, n_rows: int = 256, seed: int = 0) -> NDArray[np.float32]:
    """Rows (n, columns) in raw units, drawn around what the network keeps of its training rows.

    Where it keeps nothing (normalization=none) they spread over several orders of magnitude.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(n_columns: int) -> Tensor:
        return torch.randn(n_rows, n_columns, generator=generator)

    numbers = draw(network.normalizer.n_features)
    batchnorm = network.batchnorm
    if batchnorm is not None:
        numbers = batchnorm.running_mean + numbers * batchnorm.running_var.sqrt()
    elif network.normalizer.name == "none":
        numbers = numbers * 10 ** draw(1)
    numbers = network.normalizer.inverse(numbers[None])[0].float()
    encoder = network.encoder
    if encoder is None:
        return numbers.numpy()
    rows, place = draw(network.n_columns), 0
    for i, kind in enumerate(encoder.types):
        if kind == "numeric":
            rows[:, i], place = numbers[:, place], place + 1
        else:
            n_codes = 2 if kind == "boolean" else encoder.categories[i] + 1
            rows[:, i] = torch.randint(n_codes, (n_rows,), generator=generator)
    if encoder.impute:
        rows[torch.rand(rows.shape, generator=generator) < 0.1] = torch.nan
    return rows.numpy()
