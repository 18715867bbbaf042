"""A trained network in one safe file: weights, statistics and what the columns mean.

There is one format for a run, for runs that train together and for members of an ensemble: every
tensor has a leading axis of runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normlab.data.schema import Schema
from normlab.errors import UserError
from normlab.model.network import Network

FORMAT = 2  # of the entry "normlab"; raised when an older reader could not read it
ONE_RUN = 1  # the format without an axis of runs, which still predicts
PREFIX = "network."  # of the network's names in the state_dict of the LightningModule


def describe(network: Network, schema: Schema) -> dict[str, Any]:
    """The entry "normlab" of a checkpoint: plain types that rebuild an empty network."""
    return {"format": FORMAT, "network": network.settings(), "schema": schema.to_dict()}


def weights_checkpoint(
    network: dict[str, Any], weights: dict[str, Tensor], epoch: int
) -> dict[str, Any]:
    """A checkpoint of weights alone, to predict from.

    Args:
        network: as `describe` gives it.
        weights: a state_dict of this network.
        epoch: number of epochs that they were trained for.
    """
    state = {PREFIX + name: value for name, value in weights.items()}
    return {"normlab": network, "state_dict": state, "epoch": epoch}


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
    if not isinstance(entry, dict) or entry.get("format") not in (FORMAT, ONE_RUN):
        raise UserError(f"{path} is no checkpoint of this version of normlab")
    return checkpoint


def load_network(path: Path) -> tuple[Network, Schema]:
    """The trained network in evaluation mode, on the CPU, with its schema.

    Raises:
        UserError: where there is no such file, or it is no checkpoint of this program.
    """
    checkpoint = read_checkpoint(path)
    entry = checkpoint["normlab"]
    if "network" not in entry:
        raise UserError(
            f"{path} is of runs that train together: give the folder of one of them, which holds "
            "its best.ckpt once they have ended"
        )
    try:
        network = Network.from_settings(entry["network"])
        state = {
            name.removeprefix(PREFIX): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(PREFIX)
        }
        if entry["format"] == ONE_RUN:
            state.pop("batchnorm.num_batches_tracked", None)
            state = {name: value[None] for name, value in state.items()}
        _check_shapes(network, state)
        network.hold(state)
        schema = Schema.from_dict(entry["schema"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, StopIteration) as error:
        raise UserError(f"{path} is a damaged checkpoint: {error!r}") from error
    return network.eval(), schema


def _check_shapes(network: Network, state: dict[str, Tensor]) -> None:
    """Refuses a state that is not of this network, with one number of runs for all.

    Raises:
        ValueError: naming what differs.
    """
    expected = network.state_dict()
    shapes = [{k: v.shape[1:] for k, v in one.items()} for one in (expected, state)]
    n_runs = {len(value) for value in state.values()}
    if shapes[0] != shapes[1] or len(n_runs) != 1 or n_runs == {0}:
        raise ValueError("weights of other shapes than the network's")
    kinds = {state[name].dtype for name, value in expected.items() if value.is_floating_point()}
    places = [name for name, value in expected.items() if not value.is_floating_point()]
    if (
        len(kinds) != 1
        or not next(iter(kinds)).is_floating_point
        or any(state[name].dtype != expected[name].dtype for name in places)
    ):
        raise ValueError("weights of several types")
