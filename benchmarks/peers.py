"""What people would use in normlab's place, each written at its best, all on the same work.

The work: a net of 1-10-1 on 1,260 standardized heart rates, Adam, a validation on 270 rows and
TensorBoard's scalars at every epoch. Each function trains for so many epochs of so large batches.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

from normlab.data.synthetic import heart_rate
from normlab.model.tasks import Binary

N_TRAIN, N_VAL, UNITS, RATE = 1260, 270, 10, 0.01
THE_WORK = [  # as settings of normlab
    "experiment=heart_rate",
    "normalization=standardize",
    f"model.hidden=[{UNITS}]",
    "model.activation=relu",
    f"model.lr={RATE}",
    "data.split=random",
    "trainer.accelerator=cpu",
]


def rows() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training rows and labels, then those of the validation; standardized."""
    table = heart_rate()
    x = torch.from_numpy(table.rows)
    y = torch.from_numpy(table.labels)
    x = (x - x[:N_TRAIN].mean(0)) / x[:N_TRAIN].std(0)
    held_out = slice(N_TRAIN, N_TRAIN + N_VAL)
    return x[:N_TRAIN], y[:N_TRAIN], x[held_out], y[held_out]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, UNITS), nn.ReLU(), nn.Linear(UNITS, 1))


def log(writer: SummaryWriter, epoch: int, part: str, logits: Tensor, labels: Tensor) -> None:
    values = Binary().evaluate(logits, labels).tolist()
    for name, value in zip(Binary.metrics, values, strict=True):
        writer.add_scalar(f"{part}/{name}", value, epoch)


def hand_written(epochs: int, batch: int) -> None:
    """A loop at its best: batches sliced from one tensor, one kernel for Adam."""
    x, y, x_val, y_val = rows()
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        for epoch in range(epochs):
            model.train()
            order = torch.randperm(len(x))
            x_epoch, y_epoch = x[order], y[order]
            seen = []
            for start in range(0, len(x), batch):
                logits = model(x_epoch[start : start + batch]).squeeze(-1)
                loss = F.binary_cross_entropy_with_logits(logits, y_epoch[start : start + batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                seen.append(logits.detach())
            log(writer, epoch, "train", torch.cat(seen), y_epoch)
            model.eval()
            with torch.no_grad():
                log(writer, epoch, "val", model(x_val).squeeze(-1), y_val)


def data_loader(epochs: int, batch: int) -> None:
    """The loop of the tutorials: a DataLoader over a TensorDataset."""
    x, y, x_val, y_val = rows()
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    loader = DataLoader(TensorDataset(x, y), batch, shuffle=True)
    val_loader = DataLoader(TensorDataset(x_val, y_val), batch)
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        for epoch in range(epochs):
            for part, batches in (("train", loader), ("val", val_loader)):
                model.train(part == "train")
                seen = []
                with torch.set_grad_enabled(part == "train"):
                    for x_batch, y_batch in batches:
                        logits = model(x_batch).squeeze(-1)
                        loss = F.binary_cross_entropy_with_logits(logits, y_batch)
                        if part == "train":
                            optimizer.zero_grad()
                            loss.backward()
                            optimizer.step()
                        seen.append((logits.detach(), y_batch))
                logits, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
                log(writer, epoch, part, logits, labels)


def scikit_learn(epochs: int, batch: int) -> None:
    """MLPClassifier with a validation at every epoch; it logs nothing."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    x, y, x_val, y_val = rows()
    model = MLPClassifier(
        (UNITS,),
        batch_size=batch,  # pyright: ignore[reportArgumentType]  # guessed from "auto"
        learning_rate_init=RATE,
        max_iter=epochs,
        early_stopping=True,  # the only way to validate at every epoch
        validation_fraction=N_VAL / (N_TRAIN + N_VAL),
        n_iter_no_change=10**9,
        tol=0.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.concatenate([x, x_val]), np.concatenate([y, y_val]))


def skorch(epochs: int, batch: int) -> None:
    """Its defaults (loss and accuracy of the validation) and its TensorBoard callback."""
    from skorch import NeuralNetBinaryClassifier  # pyright: ignore[reportMissingImports]
    from skorch.callbacks import TensorBoard  # pyright: ignore[reportMissingImports]
    from skorch.helper import predefined_split  # pyright: ignore[reportMissingImports]

    x, y, x_val, y_val = rows()
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        NeuralNetBinaryClassifier(
            net(),
            optimizer=torch.optim.Adam,
            lr=RATE,
            max_epochs=epochs,
            batch_size=batch,
            iterator_train__shuffle=True,
            train_split=predefined_split(TensorDataset(x_val, y_val)),  # pyright: ignore[reportArgumentType]
            callbacks=[("tensorboard", TensorBoard(writer))],
            verbose=0,
        ).fit(x, y)


def template(epochs: int, batch: int) -> None:
    """A Lightning module as project templates have it: metrics updated and logged at each step."""
    from lightning import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import TensorBoardLogger
    from torchmetrics import MaxMetric, MeanMetric
    from torchmetrics.classification import BinaryAccuracy

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()
            self.criterion = nn.BCEWithLogitsLoss()
            self.losses = nn.ModuleDict({"train_": MeanMetric(), "val_": MeanMetric()})
            self.accuracies = nn.ModuleDict({"train_": BinaryAccuracy(), "val_": BinaryAccuracy()})
            self.best = MaxMetric()

        def step(self, part: str, batch: list[Tensor]) -> Tensor:
            x, y = batch
            logits = self.net(x).squeeze(-1)
            loss = self.criterion(logits, y)
            mean: Any = self.losses[f"{part}_"]
            accuracy: Any = self.accuracies[f"{part}_"]
            mean(loss)
            accuracy(logits, y)
            for name, metric in (("loss", mean), ("acc", accuracy)):
                self.log(f"{part}/{name}", metric, on_step=False, on_epoch=True, prog_bar=True)
            return loss

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            return self.step("train", batch)

        def validation_step(self, batch: list[Tensor], index: int) -> None:
            self.step("val", batch)

        def on_validation_epoch_end(self) -> None:
            accuracy: Any = self.accuracies["val_"]
            self.best(accuracy.compute())
            self.log("val/acc_best", self.best.compute(), sync_dist=True, prog_bar=True)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), RATE)

    x, y, x_val, y_val = rows()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=TensorBoardLogger(folder),
            callbacks=[ModelCheckpoint(folder, monitor="val/acc", mode="max", save_last=True)],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        trainer.fit(
            Module(),
            DataLoader(TensorDataset(x, y), batch, shuffle=True),
            DataLoader(TensorDataset(x_val, y_val), batch),
        )


def normlab(epochs: int, batch: int, *overrides: str) -> None:
    """This program's ordinary path, from the data to the last file of the run folder."""
    import contextlib
    import io

    from normlab.app.run import Alone
    from normlab.config.compose import settings
    from normlab.training.environment import quiet_lightning

    quiet_lightning()
    checked = settings(
        *THE_WORK,
        f"data.batch_size={batch if batch < N_TRAIN else 'null'}",
        f"trainer.max_epochs={epochs}",
        "trainer.enable_progress_bar=false",
        *overrides,
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        alone = Alone(checked, Path(folder))
        alone.prepare()
        alone.execute()


PEERS: dict[str, Callable[[int, int], None]] = {
    "hand-written loop": hand_written,
    "loop with a DataLoader": data_loader,
    "scikit-learn MLPClassifier": scikit_learn,
    "skorch": skorch,
    "Lightning template": template,
}
