"""One run from its config to its folder. The last file that knows Hydra."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Trainer
from omegaconf import DictConfig

from normlab.assembly import make_classifier, make_data, make_trainer
from normlab.config import Settings
from normlab.data.module import TableDataModule
from normlab.data.table import Table
from normlab.defects import set_aside
from normlab.diagnosis.conclusion import warning_of
from normlab.diagnosis.start import Start, measure_starts
from normlab.errors import UserError
from normlab.folder_lock import holding_job
from normlab.hydra_folder import discard
from normlab.insight.pictures.dashboard import conclude, introduce
from normlab.interruption import Interrupted, how_to_go_on, tell
from normlab.loading import load_table
from normlab.messages import fail
from normlab.model.classifier import Classifier
from normlab.out_of_memory import told_of_memory
from normlab.processes import is_first
from normlab.provenance import provenance
from normlab.same_data import check_same_data
from normlab.summary import headline, summary
from normlab.training.checkpoints import Checkpoints
from normlab.training.diagnosed import diagnosed
from normlab.training.environment import choose_threads, quiet_lightning
from normlab.training.leftovers import clear, finished_result
from normlab.training.ranks import forks
from normlab.training.result import Result
from normlab.training.resume import ResumePoint
from normlab.training.run_folder import CONFIG, LAST, RunFolder
from normlab.training.single import train
from normlab.unfinished import asked_for, unfinished, write_continuation
from normlab.validation import check_job, parse_settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A run of which all is checked and nothing is written yet.

    Attributes:
        writes: whether this process writes the folder: the first of several.
        draws: whether the folder gets figures.
        resumed: where the run goes on; None at its beginning.
    """

    settings: Settings
    table: Table
    data: TableDataModule
    folder: RunFolder
    trainer: Trainer
    writes: bool = True
    draws: bool = False
    resumed: ResumePoint | None = None

    @property
    def written_epochs(self) -> int | None:
        """Number of epochs in the last checkpoint that was written; None without checkpoints."""
        for callback in self.trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints):
                return callback.written_epoch
        return None

    @property
    def goes_on(self) -> bool:
        """Whether the run has begun to train, and left a checkpoint to go on from."""
        begun = self.trainer.state.fn is not None
        return begun and self.written_epochs is not None and (self.folder.path / LAST).exists()


def run(config: DictConfig) -> float:
    """Trains as the config says, into Hydra's output folder.

    Returns:
        The validation loss of the best weights (the training loss where nothing is held out),
        for sweepers to minimize; inf where a defect has ended a job of a sweep.

    Raises:
        UserError: for settings or data that a job of a sweep cannot be trained on. A run alone
            ends here, with the message alone (Hydra would add a line of its own). The folder is
            gone by then.
    """
    quiet_lightning()
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode != RunMode.MULTIRUN:
        return _run(config, folder, of_sweep=False)
    with holding_job(folder), set_aside({folder: title_of_job()}):
        return _run(config, folder, of_sweep=True)
    return math.inf


def _run(config: DictConfig, folder: Path, of_sweep: bool) -> float:
    hydra = HydraConfig.get()
    writes = True
    resumed = None
    try:
        settings = parse_settings(config)
        writes = is_first(settings.trainer)
        if of_sweep:  # the same command continues a sweep
            check_job(settings)
            done = finished_result(folder, settings.to_dict())
            if done is not None:
                return objective(done)
            resumed = unfinished(folder, settings)
            if resumed is None:
                clear(folder)
        elif settings.ckpt_path is not None:
            resumed = asked_for(settings, writes)
        draws = settings.figures.of(of_sweep)
        with told_of_memory():
            prepared = prepare(settings, folder, writes, draws, resumed)
        refuse_to_start_anew(prepared, of_sweep)
    except (UserError, Interrupted) as error:
        if writes and resumed is None and not (folder / CONFIG).exists():
            discard(folder, hydra.job.name)
        if isinstance(error, Interrupted):
            raise
        refuse(error, of_sweep)
    home = Path(hydra.sweep.dir) if of_sweep else folder
    try:
        with told_of_memory():
            result = execute(prepared)
    except UserError as error:
        hint = f"\n{how_to_go_on(home)}" if prepared.goes_on else ""
        refuse(UserError(f"{error}{hint}"), of_sweep)
    except Interrupted as end:
        if writes and prepared.goes_on:
            n, of = prepared.written_epochs, settings.trainer.max_epochs
            alone = prepared.trainer.world_size == 1  # else another process has written
            kept = f"epoch {n} of {of}" if alone else "what was trained"
            tell(end, f"{kept} is in {LAST}", home)
        raise
    if result.diverged is not None:
        if not of_sweep:
            fail(UserError(result.diverged))
        log.warning(f"job {hydra.job.num}: {result.diverged}")
    return objective(result.to_dict())


def refuse(error: UserError, of_sweep: bool) -> NoReturn:
    """Ends a run alone with the message; a sweep says which of its jobs it was."""
    if not of_sweep:
        fail(error)
    raise UserError(f"{title_of_job()}: {error}") from error


def title_of_job() -> str:
    """A job of a sweep in the user's terms."""
    hydra = HydraConfig.get()
    return f"job {hydra.job.num} ({' '.join(hydra.overrides.task)})"


def prepare(
    settings: Settings,
    folder: Path,
    writes: bool = True,
    draws: bool = False,
    resumed: ResumePoint | None = None,
) -> Prepared:
    """Reads the data and makes the trainer.

    Raises:
        UserError: where the data cannot be trained on or are not those that the run was begun
            with, or Lightning refuses an argument.
    """
    table = load_table(settings)
    data = make_data(settings, table)
    run_folder = RunFolder(folder)
    if resumed is not None:
        check_same_data(folder, table)
    trainer = make_trainer(settings, run_folder, draws, resumed)
    return Prepared(settings, table, data, run_folder, trainer, writes, draws, resumed)


def refuse_to_start_anew(prepared: Prepared, of_sweep: bool) -> None:
    """Refuses processes that would each do the whole work.

    Raises:
        UserError: naming the setting to change.
    """
    settings, trainer = prepared.settings, prepared.trainer
    if of_sweep and trainer.world_size > 1 and not forks(trainer):
        raise UserError(
            f"trainer.devices={settings.trainer.devices} starts the whole sweep anew in every "
            "process: in a sweep use trainer.strategy=ddp_fork"
        )
    if trainer.is_global_zero and not prepared.writes:
        raise UserError(
            "the environment numbers this process as one of several, and it would train "
            "alone: set trainer.devices=1 for runs apart, or else their number"
        )


def execute(prepared: Prepared) -> Result:
    """Trains, and leaves the run's files and a summary."""
    settings, data = prepared.settings, prepared.data
    folder, trainer = prepared.folder, prepared.trainer
    choose_threads(data.batch_size or len(data.split.train), settings.model.hidden)
    model = make_classifier(settings, data)
    resumed, start = prepared.resumed, None
    if resumed is not None:
        resumed.check_model(model)
    if prepared.writes:
        if resumed is None:
            write_start(folder, settings, prepared.table)
            introduce(folder, settings, data, model.network)
        else:
            write_continuation(folder, settings, resumed)
        if trainer.world_size > 1:
            folder.flush()  # a fork of this process would write the same once more
        start = examine(model, data) if settings.diagnosis.enabled else None
        n_inputs, device = model.network.n_inputs, trainer.strategy.root_device
        print(headline(settings, data, n_inputs, device, trainer.world_size), flush=True)
        if resumed is not None:
            print(f"goes on after epoch {resumed.epochs} of {trainer.max_epochs}", flush=True)
    result = train(data, model, trainer, resumed)
    if prepared.writes:
        if start is not None:
            result = diagnosed(result, start, model, data, folder, settings)
        folder.write_result(result.to_dict())
        conclude(folder, model.network, data, result, model.best.epoch, prepared.draws)
        print(summary(result, folder.path), flush=True)
    return result


def examine(model: Classifier, data: TableDataModule) -> Start:
    """What the run starts from; warns where that will keep it from learning."""
    (start,) = measure_starts([model.network], [data])
    message = warning_of(start, model)
    if message is not None:
        log.warning(f"{data.table.source}: {message}")
    return start


def write_start(folder: RunFolder, settings: Settings, table: Table) -> None:
    """What is known before the first step."""
    folder.write_settings(settings.to_dict())
    folder.write_provenance(provenance(table.sha256))


def objective(result: dict[str, Any]) -> float:
    """What a search over settings minimizes, from the content of result.json.

    A loss that is no number is worse than all others; result.json writes it as null.
    """
    loss = (result["val"] or result["train"])["loss"]
    return math.inf if loss is None or math.isnan(loss) else loss
