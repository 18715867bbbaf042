"""One run from its config to its folder. The last file that knows Hydra."""

from __future__ import annotations

import logging
import math
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from normlab.assembly import load_table, make_classifier, make_data, make_trainer
from normlab.config import Settings
from normlab.data.cautions import scales_far_apart
from normlab.data.table import Table
from normlab.errors import UserError
from normlab.messages import fail
from normlab.processes import is_first
from normlab.provenance import provenance
from normlab.summary import headline, summary
from normlab.training.ranks import forks
from normlab.training.run_folder import RunFolder, clear, finished_result
from normlab.training.single import train
from normlab.validation import check_job, parse_settings

log = logging.getLogger(__name__)

QUIET = (
    "Total length of `list` across ranks is zero",  # data.split=none
    "Checkpoint directory .* exists and is not empty",
    "The number of training batches .* is smaller than the logging interval",  # epochs are logged
    "The `srun` command is available on your system",
    "You defined a `validation_step` but have no `val_dataloader`",  # data.split=none
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning's own call into torch
)


def run(config: DictConfig) -> float:
    """Trains as the config says, into Hydra's output folder.

    Returns:
        The validation loss of the best weights (the training loss where nothing is held out),
        for sweepers to minimize.

    Raises:
        UserError: for settings or data that a job of a sweep cannot be trained on. A run alone
            ends here, with the message alone (Hydra would add a line of its own). The folder is
            gone by then.
    """
    quiet_lightning()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    first = True
    try:
        settings = parse_settings(config)
        first = is_first(settings.trainer)
        if hydra.mode == RunMode.MULTIRUN:  # the same command continues a sweep
            check_job(settings)
            done = finished_result(folder, settings.to_dict())
            if done is not None:
                return objective(done)
            clear(folder)
        table = load_table(settings)
        data = make_data(settings, table)
        run_folder = RunFolder(folder)
        trainer = make_trainer(settings, run_folder)
        if hydra.mode == RunMode.MULTIRUN and trainer.world_size > 1 and not forks(trainer):
            raise UserError(
                f"trainer.devices={settings.trainer.devices} starts the whole sweep anew in every "
                "process: in a sweep use trainer.strategy=ddp_fork"
            )
        if trainer.is_global_zero and not first:
            raise UserError(
                "the environment numbers this process as one of several, and it would train "
                "alone: set trainer.devices=1 for runs apart, or else their number"
            )
    except UserError as error:
        if first:
            discard(folder, hydra.job.name)
        if hydra.mode == RunMode.MULTIRUN:
            overrides = " ".join(hydra.overrides.task)
            raise UserError(f"job {hydra.job.num} ({overrides}): {error}") from error
        fail(error)
    choose_threads(data.batch_size or len(data.split.train), settings.model.hidden)
    model = make_classifier(settings, data)
    if first:
        write_start(run_folder, settings, table)
        if trainer.world_size > 1:
            run_folder.flush()  # a fork of this process would write the same once more
        warn_of_scales(settings, table)
        n_inputs, device = model.network.n_inputs, trainer.strategy.root_device
        print(headline(settings, data, n_inputs, device, trainer.world_size), flush=True)
    result = train(data, model, trainer)
    if first:
        run_folder.write_result(result.to_dict())
        print(summary(result, folder))
    return objective(result.to_dict())


def warn_of_scales(settings: Settings, table: Table) -> None:
    """A file's columns of unlike scales, where nothing brings them together."""
    if table.read_as is None or settings.normalization.name != "none" or settings.batchnorm:
        return
    message = scales_far_apart(table.rows, table.schema.columns, table.source)
    if message is not None:
        log.warning(message)


def write_start(folder: RunFolder, settings: Settings, table: Table) -> None:
    """What is known before the first step."""
    folder.write_settings(settings.to_dict())
    folder.write_provenance(provenance(table.sha256))


def objective(result: dict[str, Any]) -> float:
    """What a search over settings minimizes, from the content of result.json."""
    loss = (result["val"] or result["train"])["loss"]
    return math.inf if loss is None else loss


def choose_threads(rows_in_a_step: int, hidden: list[int]) -> None:
    """One thread for small steps, unless OMP_NUM_THREADS says otherwise.

    More gain little there, and where another process wants the cores they wait for each other at
    every operation: 38 ms a step instead of 3 for 500 rows and 4 units.
    """
    if "OMP_NUM_THREADS" not in os.environ and rows_in_a_step * max(hidden, default=1) < 2**21:
        torch.set_num_threads(1)


def quiet_lightning() -> None:
    """Leaves out what Lightning says that is of no use here: the device stands in the headline."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in QUIET:
        warnings.filterwarnings("ignore", message)


def discard(folder: Path, job: str) -> None:
    """Removes what Hydra made for a run that cannot start.

    Of the folders above it only those below the working directory, which stays, if empty.
    """
    for file in (*(folder / ".hydra").glob("*.yaml"), folder / f"{job}.log"):
        file.unlink(missing_ok=True)
    above = [path for path in folder.parents if path.is_relative_to(Path.cwd())]
    for path in (folder / ".hydra", folder, *above):
        if path == Path.cwd():
            return
        try:
            path.rmdir()
        except FileNotFoundError:  # hydra.output_subdir=null makes no .hydra
            continue
        except OSError:  # not empty: it holds something else
            return
