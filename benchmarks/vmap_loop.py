"""Many runs as one, as somebody would write it by hand with `torch.func`.

The same work as a stack of normlab's: every run its own initial weights, its own order of rows in
every epoch, a validation and all metrics at every epoch. One file is written at the end.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from benchmarks.peers import RATE, net, rows
from normlab.model.tasks import Binary


def train(n_runs: int, epochs: int, batch: int) -> float:
    """Trains so many runs at once; seconds."""
    started = time.perf_counter()
    x, y, x_val, y_val = rows()
    nets = [net() for _ in range(n_runs)]
    parameters, _ = stack_module_state(nets)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(list(parameters.values()), RATE, fused=True)
    model = nets[0].to("meta")

    def logits(parameters: dict, rows: torch.Tensor) -> torch.Tensor:
        return functional_call(model, parameters, (rows,)).squeeze(-1)

    each, all_the_same = vmap(logits), vmap(logits, in_dims=(0, None))
    curves = []
    for _ in range(epochs):
        order = torch.stack([torch.randperm(len(x)) for _ in range(n_runs)])
        seen, labels = [], []
        for start in range(0, len(x), batch):
            index = order[:, start : start + batch]
            x_batch, y_batch = x[index], y[index]
            outputs = each(parameters, x_batch)
            losses = F.binary_cross_entropy_with_logits(outputs, y_batch, reduction="none")
            optimizer.zero_grad()
            losses.mean(1).sum().backward()
            optimizer.step()
            seen.append(outputs.detach())
            labels.append(y_batch)
        with torch.no_grad():
            validated = all_the_same(parameters, x_val)
        train_metrics = Binary().evaluate(torch.cat(seen, 1), torch.cat(labels, 1))
        curves.append(
            torch.cat([train_metrics, Binary().evaluate(validated, y_val.expand(n_runs, -1))], 1)
        )
    with tempfile.TemporaryDirectory() as folder:
        state = {name: value.detach() for name, value in parameters.items()}
        torch.save({"curves": torch.stack(curves), "state": state}, Path(folder) / "runs.pt")
    return time.perf_counter() - started
