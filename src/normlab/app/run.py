"""One run from its settings to its folder, with what it prints on the way."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from normlab.app.door import fail
from normlab.app.folders import discard
from normlab.app.summary import headline, summary
from normlab.config import Settings
from normlab.config.check import check_job
from normlab.config.processes import is_first
from normlab.data.load import load_table, split_table
from normlab.errors import UserError, told_of_memory
from normlab.insight.pictures.callback import Pictures
from normlab.insight.pictures.dashboard import conclude, introduce
from normlab.layout import CONFIG, LAST, RESULT
from normlab.training.defects import refuse_defects
from normlab.training.environment import quiet_lightning
from normlab.training.folder import RunFolder
from normlab.training.job import Job
from normlab.training.leftovers import begin, go_on
from normlab.training.locks import holding_job
from normlab.training.progress import Progress
from normlab.training.resume import ResumePoint
from normlab.training.run import Run, Together
from normlab.training.same_data import check_same_data
from normlab.training.signals import Interrupted, how_to_go_on, tell
from normlab.training.sweep import objective, train_jobs
from normlab.training.trainer import make_trainer

log = logging.getLogger(__name__)


def run_alone(settings: Settings, path: Path, job: str) -> float:
    """Trains one run into its folder; a mistake of the user's ends the process with a message.

    Args:
        path: of the folder, in which nothing is written yet but what Hydra makes.
        job: the name of Hydra's log file there.

    Returns:
        The validation loss of the best weights (the training loss where nothing is held out).
    """
    quiet_lightning()
    alone = Alone(settings, path)
    try:
        with told_of_memory():
            alone.prepare()
    except (UserError, Interrupted) as error:
        if alone.writes and alone.resumed is None and not (path / CONFIG).exists():
            discard(path, job)
        if isinstance(error, Interrupted):
            raise
        fail(error)
    try:
        with told_of_memory():
            result = alone.execute()
    except UserError as error:
        hint = f"\n{how_to_go_on(path)}" if alone.goes_on else ""
        fail(UserError(f"{error}{hint}"))
    except Interrupted as end:
        if alone.writes and alone.goes_on:
            n, of = alone.written_epochs, settings.trainer.max_epochs
            single = alone.trainer.world_size == 1  # else another process has written
            kept = f"epoch {n} of {of}" if single else "what was trained"
            tell(end, f"{kept} is in {LAST}", path)
        raise
    if result.diverged is not None:
        fail(UserError(result.diverged))
    return objective(result.to_dict())


class Alone:
    """A run by itself: `prepare` checks all and writes nothing, `execute` trains.

    Attributes:
        writes: whether this process writes the folder: the first of several.
        resumed: where the run goes on; None at its beginning.
    """

    def __init__(self, settings: Settings, path: Path) -> None:
        self.settings = settings
        self.folder = RunFolder(path)
        self.writes = is_first(settings.trainer)
        self.resumed: ResumePoint | None = None

    @property
    def written_epochs(self) -> int:
        """Number of epochs in the last checkpoint that was written."""
        callbacks: Any = self.trainer.checkpoint_callbacks
        return callbacks[0].written_epoch

    @property
    def goes_on(self) -> bool:
        """Whether the run has begun to train, and left a checkpoint to go on from."""
        return self.trainer.state.fn is not None and (self.folder.path / LAST).exists()

    def prepare(self) -> None:
        """Reads the data and makes the trainer.

        Raises:
            UserError: where the data cannot be trained on or are not those that the run was begun
                with, Lightning refuses an argument, or the run cannot go on.
        """
        settings, path = self.settings, self.folder.path
        if settings.ckpt_path is not None and Path(settings.ckpt_path).is_file():
            self.resumed = ResumePoint.read(Path(settings.ckpt_path))
            finished = (path / RESULT).exists()
            self.resumed.check_epochs(settings.trainer.max_epochs, finished)
        table = load_table(settings)
        if self.resumed is not None:
            check_same_data(path, table)
        self.run = Run(settings, split_table(settings, table), self.folder)
        callbacks: list[Callback] = []
        if settings.trainer.enable_progress_bar:
            callbacks.append(Progress())
        self.draws = settings.figures.of(sweep=False)
        if self.draws:
            every = settings.figures.every_n_epochs
            callbacks.append(Pictures(self.folder, self.run.data, every))
        self.trainer = make_trainer(settings, callbacks=callbacks, default_root_dir=path)
        if self.trainer.is_global_zero and not self.writes:
            raise UserError(
                "the environment numbers this process as one of several, and it would train "
                "alone: set trainer.devices=1 for runs apart, or else their number"
            )

    def execute(self) -> Any:
        """Trains, and leaves the run's files and a summary; gives the `Result`."""
        settings, folder, resumed, data = self.settings, self.folder, self.resumed, self.run.data
        together = Together([self.run])
        if resumed is not None:
            resumed.check_networks(together.descriptions, together.network.state_dict())
        if self.writes:
            if resumed is None:
                begin(folder, settings, data.table)
                introduce(folder, settings, data, together.network)
            else:
                go_on(folder, settings, data.table, resumed, 0)
            if self.trainer.world_size > 1:
                folder.write()  # a fork of this process would write the same once more
            warning = together.examine()
            if warning is not None:
                log.warning(f"{data.table.source}: {warning}")
            device, n = self.trainer.strategy.root_device, self.trainer.world_size
            print(headline(settings, data, together.network.n_inputs, device, n), flush=True)
            if resumed is not None:
                of = self.trainer.max_epochs
                print(f"goes on after epoch {resumed.epochs} of {of}", flush=True)
        (result,) = together.train(self.trainer, resumed)
        if self.writes:
            best_epoch = int(together.module.outcomes.best_epoch[0])
            conclude(folder, together.network, data, result, best_epoch, self.draws)
            print(summary(result, folder.path), flush=True)
        return result


def run_of_sweep(job: Job, log_name: str) -> float:
    """Trains one job that a launcher starts by itself; the same command continues the sweep.

    Args:
        log_name: of Hydra's log file in the folder.

    Raises:
        UserError: naming the job.
    """
    try:
        check_job(job.settings)
        with holding_job(job.folder):
            (value,) = train_jobs([job])
    except UserError as error:
        if not (job.folder / CONFIG).exists():
            discard(job.folder, log_name)
        raise UserError(f"{job.title}: {error}") from error
    return value


def report_sweep(folder: Path) -> None:
    """A sweep ends in an answer: its report in the terminal, in files and in TensorBoard.

    Raises:
        UserError: where it has no run that could be compared, or a defect ended some.
    """
    from normlab.insight.report import report
    from normlab.training.events import EventFile, figure, text

    try:
        answer = report(folder)
    except UserError:  # no run has finished
        refuse_defects(folder)
        raise
    print(answer.text)
    now = time.time()
    pictures = [
        figure(f"whole_sweep/{name}", picture, now) for name, picture in answer.figures.items()
    ]
    (markdown,) = (path for path in answer.files if path.suffix == ".md")
    words = text("whole_sweep/report", markdown.read_text("utf-8"), now)
    EventFile(folder).append([words, *pictures])
    refuse_defects(folder)
