"""What TensorBoard's page of texts says of a run, section by section."""

from __future__ import annotations

import math
from typing import Any

import yaml
from torch import nn

from normlab.config import Settings
from normlab.data.schema import Schema
from normlab.data.serve.module import SplitTable
from normlab.diagnosis.text import diagnosis_text
from normlab.insight.markdown import marked, pipes
from normlab.insight.pictures.inputs import Inputs, inputs_of
from normlab.model.network import Network
from normlab.model.tasks import Binary
from normlab.training.result import Result

Section = tuple[str, str]
"""A tag, and text in Markdown. TensorBoard shows tags by the alphabet."""

MOST_COLUMNS = 30
_MOST_CATEGORIES = 8


def before_training(settings: Settings, data: SplitTable, network: Network) -> list[Section]:
    """What is known before the first step."""
    sections = [
        ("run/data", _data(data)),
        ("run/network", _network(network)),
        ("run/settings", _settings(settings.to_dict())),
    ]
    inputs = inputs_of(network, data)
    return sections if inputs is None else [*sections, ("run/inputs", _inputs(inputs))]


def after_training(result: Result, best_epoch: int) -> list[Section]:
    """What a run has come to: a further section is a further entry of this list."""
    sections = [("run/result", _result(result, best_epoch))]
    if result.diagnosis is not None:
        sections.append(("run/diagnosis", diagnosis_text(result.diagnosis)))
    return sections


def _data(data: SplitTable) -> str:
    table, schema = data.table, data.table.schema
    rows, columns = table.rows.shape
    classes = [marked(f"{schema.target} = {name}") for name in schema.classes]
    parts = []
    for name in ("train", "val", "test"):
        labels = table.labels[getattr(data.split, name)]
        if len(labels):
            positive = int(labels.sum())
            share = f"{positive / len(labels):.1%}"
            parts.append([name, f"{len(labels):,}", f"{len(labels) - positive:,}",
                          f"{positive:,}", share])  # fmt: skip
    entropy = Binary().guess_loss(data.train_labels)
    lines = [
        f"**{marked(table.source)}**: {rows:,} rows x {columns:,}; {classes[0]} is class 0, "
        f"{classes[1]} is class 1",
        *([marked(table.read_as)] if table.read_as else []),
        pipes(["part", "rows", *classes, "share of class 1"], parts),
        f"A guess that ignores its input has the loss {entropy:.4f} (label entropy).",
    ]
    return "\n\n".join([*lines, _columns(schema)])


def _columns(schema: Schema) -> str:
    shown = schema.columns[:MOST_COLUMNS]
    more = len(schema.columns) - len(shown)
    rest = f"{more:,} more columns" if more else ""
    if schema.is_numeric:
        names = [*(marked(column.name) for column in shown), *([rest] if rest else [])]
        return f"Columns, all of numbers: {', '.join(names)}"
    described = [
        [marked(column.name), column.type, marked(_categories(column.categories))]
        for column in shown
    ]
    return pipes(["column", "type", "values"], described) + (f"\n\n{rest}" if rest else "")


def _categories(values: tuple[Any, ...]) -> str:
    shown = ", ".join(map(str, values[:_MOST_CATEGORIES]))
    more = len(values) - _MOST_CATEGORIES
    return f"{shown}, {more:,} more" if more > 0 else shown


def _network(network: Network) -> str:
    widths = [network.n_inputs, *network.hidden, 1]
    layers: list[tuple[str, nn.Module]] = [("normalizer", network.normalizer)]
    if network.encoder is not None:
        layers.insert(0, ("encoder", network.encoder))
    if network.batchnorm is not None:
        layers.append(("batchnorm", network.batchnorm))
    layers += [(f"mlp.{name}", layer) for name, layer in network.mlp.named_children()]
    rows = [
        [marked(name), marked(_layer(name, layer, network)), f"{_parameters(layer):,}"]
        for name, layer in layers
    ]
    return "\n\n".join(
        [
            f"**MLP {'-'.join(map(str, widths))}**, {marked(network.activation)}: "
            f"{_parameters(network):,} parameters. Raw rows go in, logits come out.",
            pipes(["layer", "what it is", "parameters"], rows),
        ]
    )


def _layer(name: str, layer: nn.Module, network: Network) -> str:
    if name == "normalizer":
        return f"{network.normalizer.name}, columns: {network.normalizer.n_features}"
    if network.encoder is not None and name == "encoder":
        numbers, others = network.encoder.n_numeric, network.encoder.n_others
        return f"{network.n_columns} columns to {numbers} numbers and {others} inputs of 0 and 1"
    return repr(layer)


def _parameters(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


def _settings(plain: dict[str, Any]) -> str:
    text = yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return f"```yaml\n{text}```"


def _inputs(inputs: Inputs) -> str:
    measures = ("mean", "std", "min", "max")
    rows = []
    for i, name in enumerate(inputs.names):
        cells = [marked(name)]
        for values in (inputs.before[:, i], inputs.after[:, i]):
            figures = (values.mean(), values.std(), values.min(), values.max())
            cells += [f"{figure:.4g}" for figure in figures]
        rows.append(cells)
    lines = [
        f"{inputs.words}, before the normalization (in raw units) and after it",
        pipes(["column", *measures, *(f"{name} after" for name in measures)], rows),
    ]
    if inputs.left_out:
        lines.append(f"{inputs.left_out:,} more columns")
    return "\n\n".join(lines)


def _result(result: Result, best_epoch: int) -> str:
    metrics, rows = list(result.train), []
    for name in ("train", "val", "test"):
        part = getattr(result, name)
        if part is not None:
            rows.append([name, *(_figure(part[metric]) for metric in metrics)])
    lines = [
        f"The weights of epoch {best_epoch:,} of {result.epochs:,}"
        + (", the best on the validation rows" if result.val is not None else ""),
        pipes(["part", *metrics], rows),
        result.guess_in_words,
    ]
    if result.threshold is not None:
        roots = ", ".join(f"{root:.4g}" for root in result.threshold)
        lines.append(f"decision threshold {roots or 'none: it gives one answer for all rows'}")
    lines.append(f"{result.seconds:.1f} s, {result.rows_per_second:,.0f} rows/s")
    return "\n\n".join(lines)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
