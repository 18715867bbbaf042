"""What passes between a network's layers, for one network or for a stack of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normlab.model.network import Network

NETWORK = "network."  # the prefix of a network's parameters within a probe


class Probe(nn.Module):
    """A network that shows its inside; call it in evaluation mode."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The first layer's inputs (n, inputs) and every layer's outputs (n, units).

        Outputs are those of the Linear layers, before their activation; the last are logits
        (n, 1). Rows (n, columns) are in raw units.
        """
        values = inputs = self.network.inputs(rows)
        outputs = []
        for layer in self.network.mlp:
            values = layer(values)
            if isinstance(layer, nn.Linear):
                outputs.append(values)
        return inputs, outputs


def sample_positions(n_rows: int, most: int) -> Tensor:
    """int64: at most so many rows of `n_rows`, evenly spread, so that a series is seen whole."""
    return torch.linspace(0, n_rows - 1, min(n_rows, most)).round().long()
