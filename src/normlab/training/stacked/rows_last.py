"""The layers of an MLP, evaluated on columns in place of rows."""

from __future__ import annotations

from torch import Tensor, nn


class RowsLast(nn.Sequential):
    """The function and the parameters of an `nn.Sequential`, with the rows along the last axis.

    Adding a bias or summing its gradient goes along the last axis of an activation. In narrow
    nets that are ten units, too few for vector instructions; with the rows in their place a step
    of 200 stacked nets of 10 units takes half the time.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Outputs (n, outputs) of rows (n, inputs)."""
        columns = input.T
        for layer in self:
            if isinstance(layer, nn.Linear):
                columns = (layer.weight @ columns).add_(layer.bias.unsqueeze(1))
            else:
                columns = layer(columns)
        return columns.T
