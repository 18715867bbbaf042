"""A trained network in one safe file: weights, statistics and what the columns mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normlab.data.schema import Schema
from normlab.errors import UserError
from normlab.model.network import Network

FORMAT = 1  # of the entry "normlab"; raised when an older reader could not read it
PREFIX = "network."  # of the network's names in the state_dict of the LightningModule


def describe(network: Network, schema: Schema) -> dict[str, Any]:
    """The entry "normlab" of a checkpoint: plain types that rebuild an empty network."""
    return {"format": FORMAT, "network": network.settings(), "schema": schema.to_dict()}


def weights_checkpoint(
    network: Network, schema: Schema, weights: dict[str, Tensor], epoch: int
) -> dict[str, Any]:
    """A checkpoint of weights alone, to predict from; Lightning can load its weights too.

    Args:
        weights: a state_dict of `network`.
        epoch: number of epochs that they were trained for.
    """
    return {
        "normlab": describe(network, schema),
        "state_dict": {PREFIX + name: value for name, value in weights.items()},
        "epoch": epoch,
    }


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of this program, on the CPU; nothing in it is executed.

    Raises:
        UserError: where there is no such file, or it is no checkpoint of this version.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, IndexError alike
        if "WeightsUnpickler error: Unsupported" in str(error):
            reason = "it names code to run, and was not opened"
        else:
            reason = (
                "it is damaged, or something else. A model is the folder of a run, or a file in "
                "its checkpoints/"
            )
        raise UserError(f"{path} is no checkpoint that can be read safely: {reason}") from None
    entry = checkpoint.get("normlab") if isinstance(checkpoint, dict) else None
    if not isinstance(entry, dict) or entry.get("format") != FORMAT:
        raise UserError(f"{path} is no checkpoint of this version of normlab")
    return checkpoint


def load_network(path: Path) -> tuple[Network, Schema]:
    """The trained network in evaluation mode, on the CPU, with its schema.

    Raises:
        UserError: where there is no such file, or it is no checkpoint of this program.
    """
    checkpoint = read_checkpoint(path)
    entry = checkpoint["normlab"]
    try:
        network = Network.from_settings(entry["network"])
        state = {
            name.removeprefix(PREFIX): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(PREFIX)
        }
        network.to(next(value.dtype for value in state.values() if value.is_floating_point()))
        network.load_state_dict(state)
        schema = Schema.from_dict(entry["schema"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, StopIteration) as error:
        raise UserError(f"{path} is a damaged checkpoint: {error!r}") from error
    return network.eval(), schema
