"""The runs of a sweep, from their settings to their folders: begun, or gone on with."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from normlab.app import objective, write_start
from normlab.assembly import lightning_trainer, make_classifier, make_data
from normlab.config import Settings
from normlab.config.data import DataSettings
from normlab.data.table import Table
from normlab.defects import set_aside
from normlab.diagnosis.conclusion import warning_of
from normlab.diagnosis.start import measure_starts
from normlab.diagnosis.verdict import counted
from normlab.diagnosis.warning import summed_up
from normlab.errors import UserError
from normlab.insight.pictures.dashboard import conclude
from normlab.loading import load_table
from normlab.training.environment import choose_threads
from normlab.training.leftovers import clear
from normlab.training.progress import SweepProgress
from normlab.training.resume import ResumePoint
from normlab.training.run_folder import RunFolder
from normlab.training.stacked.member import Member
from normlab.training.stacked.resume import StackCheckpoints, StackPoint
from normlab.training.stacked.train import train_stack

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What to train, and where to.

    Attributes:
        name: for messages.
        prepare: makes the folder and writes what belongs there before training.
        stack: the checkpoint of the stack that it goes on in; None at its beginning.
        overrides: as they stand on the command line.
    """

    settings: Settings
    folder: Path
    name: str
    prepare: Callable[[], None]
    stack: Path | None = None
    overrides: Sequence[str] = ()

    @property
    def title(self) -> str:
        """The run in the user's terms."""
        return f"{self.name} ({' '.join(self.overrides)})"


def train_group(runs: Sequence[Run], progress: tqdm | None = None) -> list[float]:
    """Trains runs of one shape as one, into their folders.

    Returns:
        Their objectives; inf for a run that a defect has ended.
    """
    resumed = None if runs[0].stack is None else StackPoint.read(runs[0].stack)
    prepared = _prepared(runs, resumed)
    outcomes: dict[Path, float] = {}
    if prepared:
        with set_aside({run.folder: run.title for run, _ in prepared}):
            outcomes = _train(prepared, resumed, progress)
    return [outcomes.get(run.folder, math.inf) for run in runs]


def _train(
    prepared: Sequence[tuple[Run, Member]], resumed: StackPoint | None, progress: tqdm | None
) -> dict[Path, float]:
    """Trains what is prepared; returns the objectives by folder."""
    runs, members = zip(*prepared, strict=True)
    settings = runs[0].settings
    rows = [] if resumed is None else resumed.rows([run.folder for run in runs])
    n_rows = len(members[0].data.split.train)
    rows_in_a_step = min(settings.data.batch_size or n_rows, n_rows)
    choose_threads(len(members) * rows_in_a_step, settings.model.hidden)
    callbacks: list[Callback] = []
    if progress is not None:
        callbacks.append(SweepProgress(progress, len(members)))
        progress.update(len(members) * (0 if resumed is None else resumed.epochs))
    if settings.trainer.enable_checkpointing:
        every = settings.checkpoint.every_n_seconds
        callbacks.append(StackCheckpoints(members, every, resumed))
    trainer = lightning_trainer(
        settings,
        devices=1,  # "auto" would take all
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=progress is not None,
    )
    stopping = settings.early_stopping
    results = train_stack(members, trainer, stopping.patience, stopping.min_delta, resumed, rows)
    verdicts = [result.diagnosis["verdict"] for result in results if result.diagnosis]
    if verdicts:
        log.info(f"verdicts: {counted(verdicts)}")
    for run, member, result in zip(runs, members, results, strict=True):
        if run.settings.figures.of(sweep=True) and member.folder is not None:
            network, best_epoch = member.classifier.network, member.classifier.best.epoch
            with set_aside({run.folder: run.title}):
                conclude(member.folder, network, member.data, result, best_epoch, draws=True)
    return {
        run.folder: objective(result.to_dict()) for run, result in zip(runs, results, strict=True)
    }


def examine(members: Sequence[Member], names: Sequence[str]) -> None:
    """What the runs start from; one warning for all those that this will keep from learning."""
    networks = [member.classifier.network for member in members]
    starts = measure_starts(networks, [member.data for member in members])
    warnings = []
    for member, start, name in zip(members, starts, names, strict=True):
        member.start = start
        message = warning_of(start, member.classifier)
        if message is not None:
            warnings.append((start, name, message))
    said = summed_up(warnings, len(members))
    if said is not None:
        log.warning(f"{members[0].data.table.source}: {said}")


def _prepared(runs: Sequence[Run], resumed: StackPoint | None) -> list[tuple[Run, Member]]:
    """The runs that can start, with their data, their folders ready to be written to."""
    tables = Tables()
    rows = [None] * len(runs) if resumed is None else resumed.rows([run.folder for run in runs])
    prepared = []
    for run, row in zip(runs, rows, strict=True):
        with set_aside({run.folder: run.title}):
            table = tables.load(run.settings)
            folder = RunFolder(run.folder)
            if resumed is None or row is None:
                run.prepare()
                clear(run.folder)
                write_start(folder, run.settings, table)
            else:
                folder.cut(resumed.lengths(row), resumed.epochs)
            data = make_data(run.settings, table)
            kept = run.settings.trainer.enable_checkpointing
            classifier = make_classifier(run.settings, data)
            member = Member(classifier, data, folder, kept, settings=run.settings)
            prepared.append((run, member))
    if prepared and runs[0].settings.diagnosis.enabled:
        return _examined(prepared)
    return prepared


def _examined(prepared: Sequence[tuple[Run, Member]]) -> list[tuple[Run, Member]]:
    """Those whose start can be measured; where not all at once, each by itself."""
    try:
        examine([member for _, member in prepared], [run.name for run, _ in prepared])
    except UserError:
        raise
    except Exception:
        examined = []
        for run, member in prepared:
            with set_aside({run.folder: run.title}):
                examine([member], [run.name])
                examined.append((run, member))
        return examined
    return list(prepared)


class Tables:
    """Reads each table once, however many runs train on it."""

    def __init__(self) -> None:
        self._read: dict[str, Table] = {}

    def load(self, settings: Settings) -> Table:
        source = settings.data.model_dump(exclude=set(DataSettings.model_fields))
        key = repr(source)
        if key not in self._read:
            self._read[key] = load_table(settings)
        return self._read[key]


def measure_trained(runs: Sequence[Run], points: Mapping[int, ResumePoint]) -> dict[int, float]:
    """Writes the results of runs that were ended when all their epochs were trained.

    Args:
        points: where some of the runs go on, by their positions.

    Returns:
        Their objectives.
    """
    tables = Tables()
    outcomes: dict[int, float] = {}
    for i, point in points.items():
        settings = runs[i].settings
        if not point.complete(settings.trainer.max_epochs):
            continue
        with set_aside({runs[i].folder: runs[i].title}):
            data = make_data(settings, tables.load(settings))
            classifier = make_classifier(settings, data)
            point.check_model(classifier)
            folder = RunFolder(runs[i].folder)
            folder.cut(point.lengths, point.epochs)  # events of a result that was not written
            member = Member(classifier, data, folder, settings=settings)
            if settings.diagnosis.enabled:
                (member.start,) = measure_starts([classifier.network], [data])
            member.take(point)
            outcomes[i] = objective(member.evaluate(point.seconds).to_dict())
    return outcomes
