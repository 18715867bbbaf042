"""A run's texts and pictures on their way to TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from normlab.config import Settings
from normlab.data.serve.module import SplitTable
from normlab.insight.pictures.texts import Section, after_training, before_training
from normlab.model.network import Network
from normlab.training.events import figure, text
from normlab.training.folder import RunFolder
from normlab.training.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from normlab.insight.pictures.sample import Sample

# TensorBoard opens the first two groups of the alphabet, which are to be the curves.
GROUP = "visuals"

log = logging.getLogger(__name__)


def introduce(folder: RunFolder, settings: Settings, data: SplitTable, network: Network) -> None:
    """Texts of what is known before the first step."""
    _add_texts(folder, before_training(settings, data, network))


def draw_epoch(
    folder: RunFolder, network: Network, data: SplitTable, sample: Sample, epoch: int
) -> None:
    """Pictures of the weights at the end of an epoch, counted from 1."""
    from normlab.insight.pictures.draw import pictures

    _add_pictures(folder, pictures(network, data, sample, f"epoch {epoch:,}"), epoch)


def conclude(
    folder: RunFolder,
    network: Network,
    data: SplitTable,
    result: Result,
    best_epoch: int,
    draws: bool,
) -> None:
    """The result as a text and, where `draws`, the pictures of the best weights.

    Args:
        network: with these weights, in evaluation mode.
        best_epoch: number of epochs that they were trained for.
    """
    _add_texts(folder, after_training(result, best_epoch), result.epochs)
    if draws:
        from normlab.insight.pictures.draw import pictures
        from normlab.insight.pictures.inputs import inputs_of
        from normlab.insight.pictures.inputs_tile import inputs_tile
        from normlab.insight.pictures.sample import sample_of

        weights = f"epoch {result.epochs:,}"
        if best_epoch != result.epochs:
            weights = f"best epoch: {best_epoch:,} of {result.epochs:,}"
        drawn = pictures(network, data, sample_of(data), weights)
        if not drawn:
            log.warning("no figures: the network's outputs are not finite")
        inputs = inputs_of(network, data)
        if inputs is not None:
            drawn["inputs"] = inputs_tile(inputs)
        _add_pictures(folder, drawn, result.epochs)
    folder.write()


def _add_texts(folder: RunFolder, sections: list[Section], step: int = 0) -> None:
    now = time.time()
    folder.add_events([text(tag, markdown, now, step) for tag, markdown in sections])


def _add_pictures(folder: RunFolder, drawn: Mapping[str, Figure], step: int) -> None:
    now = time.time()
    folder.add_events(
        [figure(f"{GROUP}/{name}", picture, now, step) for name, picture in drawn.items()]
    )
