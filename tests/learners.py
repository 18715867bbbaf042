"""A run as the program trains it, and once more in a plain loop of torch's own modules.

The loop is the oracle of the training: nn.Linear layers built in order after `torch.manual_seed`,
torch.optim and its schedulers, nn.BatchNorm1d, nn.BCEWithLogitsLoss. It shares with the program the
split and the streams of random numbers, nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from normlab.data.serve.module import SplitTable, TableDataModule
from normlab.model.network import Network
from normlab.model.scalers import make_scaler
from normlab.seeding import Stream, epoch_seed
from normlab.training.module import Recipe, TrainingModule

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}
Statistics = Callable[[NDArray[np.float64]], tuple[Any, Any]]
AFFINE: dict[str, Statistics] = {
    "none": lambda x: (0 * x[0], 1 + 0 * x[0]),
    "center": lambda x: (x.mean(0), 1 + 0 * x[0]),
    "standardize": lambda x: (x.mean(0), x.std(0)),
    "minmax": lambda x: (x.min(0), np.ptp(x, 0)),
    "robust": lambda x: (np.median(x, 0), np.subtract(*np.quantile(x, [0.75, 0.25], axis=0))),
}


@dataclass(frozen=True)
class Learner:
    """One run: its rows, its network and how it learns."""

    data: SplitTable
    recipe: Recipe
    normalization: str = "standardize"
    hidden: Sequence[int] = (5,)
    activation: str = "tanh"
    batchnorm: bool = False
    init: str = "torch"
    dropout: float = 0.0

    def network(self) -> Network:
        """The program's, fitted."""
        return Network(
            make_scaler(self.normalization, self.data.table.rows.shape[1]),
            self.hidden,
            self.activation,
            self.dropout,
            self.batchnorm,
            self.init,
            seed=self.recipe.seed,
        ).fit(self.data.training_rows)

    def layers(self) -> nn.ModuleDict:
        """torch's own, with the names of the program's."""
        torch.manual_seed(self.recipe.seed)
        widths = [self.data.table.rows.shape[1], *self.hidden, 1]
        linears = []
        for i, sides in enumerate(pairwise(widths)):
            if self.init == "torch":
                linears.append(nn.Linear(*sides))
                continue
            linears.append(nn.utils.skip_init(nn.Linear, *sides))
            nn.init.zeros_(linears[-1].bias)
            if self.init == "he":
                follows = "relu" if i < len(self.hidden) else "linear"
                nn.init.kaiming_normal_(linears[-1].weight, nonlinearity=follows)
            else:
                nn.init.xavier_uniform_(linears[-1].weight)
        mlp = [layer for one in linears for layer in (one, ACTIVATIONS[self.activation]())][:-1]
        first = {"batchnorm": nn.BatchNorm1d(widths[0])} if self.batchnorm else {}
        return nn.ModuleDict({**first, "mlp": nn.Sequential(*mlp)})

    def normalized(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Raw rows to normalized ones, by statistics of the training rows in float32."""
        train = self.data.table.rows[self.data.split.train].astype(np.float64)
        shift, scale = (
            torch.from_numpy(np.asarray(value, np.float32)).to(dtype)
            for value in AFFINE[self.normalization](train)
        )
        return lambda rows: (rows.to(dtype) - shift) / scale

    def optimizer(self, layers: nn.Module, epochs: int) -> tuple[Optimizer, Any]:
        """torch.optim's, and its scheduler, if any."""
        recipe, weights = self.recipe, list(layers.parameters())
        common: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
        optimizer: Optimizer
        match recipe.optimizer:
            case "adam":
                optimizer = torch.optim.Adam(weights, **common)
            case "adamw":
                optimizer = torch.optim.AdamW(weights, **common)
            case _:
                optimizer = torch.optim.SGD(weights, momentum=recipe.momentum, **common)
        match recipe.scheduler.model_dump():
            case {"name": "step", "step_size": size, "gamma": gamma}:
                return optimizer, StepLR(optimizer, size, gamma)
            case {"name": "cosine", "eta_min": low}:
                return optimizer, CosineAnnealingLR(optimizer, epochs, low)
            case _:
                return optimizer, None


@dataclass
class ByHand:
    """What the plain loop came to: losses of the epochs, weights and running statistics."""

    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    weighted: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    last: dict[str, Tensor] = field(default_factory=dict)


def train_by_hand(learner: Learner, epochs: int, dtype: torch.dtype = torch.float64) -> ByHand:
    """The training of one run, step by step; without dropout."""
    recipe, data, done = learner.recipe, learner.data, ByHand()
    layers, normalized = learner.layers(), learner.normalized(torch.float32)
    x, x_val = (torch.from_numpy(data.table.rows[i]) for i in (data.split.train, data.split.val))
    y, y_val = (data.labels(part).to(dtype) for part in ("train", "val"))
    if learner.batchnorm:  # from the first step on an evaluation is of the function that trains
        seen = normalized(x).double()
        layers["batchnorm"].running_mean = seen.mean(0).float()  # type: ignore[assignment]
        layers["batchnorm"].running_var = seen.var(0).float()  # type: ignore[assignment]
    layers.to(dtype)
    normalized = learner.normalized(dtype)
    x, x_val = normalized(x), normalized(x_val)

    def logits(rows: Tensor) -> Tensor:
        return layers["mlp"](layers["batchnorm"](rows) if learner.batchnorm else rows)[:, 0]

    plain = nn.BCEWithLogitsLoss()
    trained = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(recipe.weight, dtype=dtype))
    optimizer, scheduler = learner.optimizer(layers, epochs)
    n, waited, lowest = len(x), 0, math.inf
    for epoch in range(epochs):
        total = 0.0
        done.rates.append(optimizer.param_groups[0]["lr"])
        layers.train()
        for rows in batches(n, data.batch_size, data.seed, epoch):
            optimizer.zero_grad()
            outputs = logits(x[rows])
            trained(outputs, y[rows]).backward()
            optimizer.step()
            total += plain(outputs, y[rows]).item() * len(rows)
        if scheduler is not None:
            scheduler.step()
        layers.eval()
        done.train.append(total / n)
        loss = math.nan
        if len(x_val):
            with torch.no_grad():
                done.val.append(plain(logits(x_val), y_val).item())
                loss = trained(logits(x_val), y_val).item()
            done.weighted.append(loss)
        state = {name: value.clone() for name, value in layers.state_dict().items()}
        state.pop("batchnorm.num_batches_tracked", None)
        done.last = state
        if not len(x_val) or loss < min(done.weighted[:-1], default=math.inf):
            done.best_epoch, done.best = epoch + 1, state
        if recipe.patience is None:
            continue
        waited = 0 if loss + recipe.min_delta < lowest else waited + 1
        lowest = loss if waited == 0 else lowest
        if waited >= recipe.patience:
            break
    return done


def batches(n_rows: int, size: int | None, seed: int, epoch: int) -> list[Tensor]:
    """The rows of each step; of a full batch in their order. A single last row joins the others."""
    if size is None or size >= n_rows:
        return [torch.arange(n_rows)]
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, Stream.SHUFFLE))
    parts = list(torch.randperm(n_rows, generator=generator).split(size))
    if len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def train_together(
    learners: Sequence[Learner], trainer: Trainer, at_once: bool = True, **options: Any
) -> TrainingModule:
    """The program's training of these runs as one network."""
    network = Network.stack([learner.network() for learner in learners])
    data = TableDataModule([learner.data for learner in learners], at_once)
    recipes = [learner.recipe for learner in learners]
    module = TrainingModule(network, data, recipes, **options)
    trainer.fit(module, datamodule=data)
    return module


def state_of(state: dict[str, Tensor], run: int) -> dict[str, Tensor]:
    """One run's weights and running statistics, without its normalizer."""
    moved = {name: value for name, value in state.items() if not name.startswith("normalizer")}
    return {name: copy.copy(value[run]) for name, value in moved.items()}
