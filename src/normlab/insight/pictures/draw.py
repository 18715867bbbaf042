"""All pictures of a network at one moment of its training."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from normlab.data.serve.module import SplitTable
from normlab.insight.pictures.decision_tiles import decision_tile
from normlab.insight.pictures.sample import Sample, logits, probabilities
from normlab.insight.pictures.score_tiles import (
    calibration_tile,
    precision_recall_tile,
    probabilities_tile,
    roc_tile,
)
from normlab.insight.pictures.tile import class_names
from normlab.model.network import Network


def pictures(network: Network, data: SplitTable, sample: Sample, weights: str) -> dict[str, Figure]:
    """The pictures by name; none where the network's answers are no numbers.

    Args:
        network: left in the mode that it is in; nothing is drawn from torch's generators.
        sample: of the data.
        weights: which they are, for the caption.
    """
    training = network.training
    network.eval()
    try:
        scores = logits(network, sample.rows)
        if not np.isfinite(scores).all():
            return {}
        schema, labels, caption = data.table.schema, sample.labels, f"{sample.words}, {weights}"
        given = probabilities(scores)
        return {  # under names that TensorBoard's alphabet puts in a sensible order
            "decision": decision_tile(network, schema, sample, caption),
            "precision_recall": precision_recall_tile(scores, labels, caption),
            "probabilities": probabilities_tile(given, labels, class_names(schema), caption),
            "reliability": calibration_tile(given, labels, caption),
            "roc": roc_tile(scores, labels, caption),
        }
    finally:
        network.train(training)
