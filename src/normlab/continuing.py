"""Going on with a run or a sweep: `resume=FOLDER` spelled out, and what may not have changed.

    python train.py resume=runs/rates
    python train.py SETTINGS OF THE RUN hydra.run.dir=runs/rates \\
        ckpt_path=runs/rates/checkpoints/last.ckpt

The second is what the first stands for. All of this is known before torch is imported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from normlab.config import Settings
from normlab.config.changes import FREE_TO_CHANGE, changed
from normlab.errors import UserError
from normlab.quoting import hydra_literal, setting, shell_quoted
from normlab.validation import as_given, check_settings

CONFIG, RESULT, METRICS = "config.yaml", "result.json", "metrics.csv"
LAST = "checkpoints/last.ckpt"
SWEEP = "multirun.yaml"
SWEEPS = ("-m", "--multirun")
LARGEST_CONFIG = 2**20  # bytes; a run's config has some thousands
# What a sweep's own record may set of Hydra's part: no class and no further folder of configs.
OF_A_SWEEP = re.compile(
    r"(?!.*_target_)[+]{0,2}hydra(/launcher|/sweeper|/sweeper/sampler|\.launcher\.[\w.]+|\.sweeper\.[\w.]+"
    r"|\.sweep\.subdir)=.*"
)


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The command line with `resume=FOLDER` replaced by what it stands for, and -m in front.

    Hydra takes settings on one side of its flags alone; a -m is added where the cursor is, to the
    end of the last command or of the one that `normlab inspect` prints.

    Args:
        arguments: without the program's name.

    Raises:
        UserError: where the folder holds no run or sweep that can be gone on with.
    """
    flags = [one for one in arguments if one in SWEEPS]
    arguments = [one for one in arguments if one not in SWEEPS]
    given = [one for one in arguments if one.startswith("resume=")]
    if not given:
        return [*flags, *arguments]
    if len(given) > 1:
        raise UserError("resume= is given twice: one run or sweep at a time")
    rest = [one for one in arguments if one is not given[0]]
    folder = _folder(given[0].removeprefix("resume="))
    if (folder / SWEEP).is_file():
        return ["-m", *_sweep_overrides(folder), *rest]
    if not (folder / CONFIG).is_file() and any(folder.glob(f"*/{CONFIG}")):
        raise UserError(
            f"{folder} holds runs without {SWEEP}, the record of a sweep; a search leaves none and "
            f"cannot be resumed. Give the command that began it once more, with "
            f"{setting('hydra.sweep.dir', str(folder))}: runs that have finished are kept"
        )
    if flags:
        raise UserError(f"{folder} holds one run: leave out -m")
    return [*_run_overrides(folder, rest), *rest]


def _folder(text: str) -> Path:
    """A path as it stands, or in quotes that Hydra's grammar would need."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = re.sub(r"\\(')", r"\1", text[1:-1])
    path = Path(text)
    if path.name == Path(LAST).name:
        path = path.parent.parent
    if not text or not path.is_dir():
        raise UserError(f"resume={text}: no such folder of a run or a sweep")
    return path


def _run_overrides(folder: Path, rest: Sequence[str]) -> list[str]:
    plain = read_config(folder).to_dict()
    groups = {
        "data": plain["data"],
        "normalization": plain["normalization"],
        "model/scheduler": plain["model"]["scheduler"],
    }
    chosen = {one.partition("=")[0].lstrip("+") for one in rest}
    overrides = [f"{group}={node['name']}" for group, node in groups.items() if group not in chosen]
    for group in chosen & groups.keys():  # the choice of another is refused later, with its keys
        groups[group].clear()
    overrides += [f"++{key}={hydra_literal(value)}" for key, value in _leaves(plain)]
    overrides.append(f"hydra.run.dir={hydra_literal(str(folder))}")
    return [*overrides, f"ckpt_path={hydra_literal(str(folder / LAST))}"]


def _leaves(plain: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in plain.items():
        inside = isinstance(value, dict)
        leaves += _leaves(value, f"{prefix}{key}.") if inside else [(prefix + key, value)]
    return leaves


def _sweep_overrides(folder: Path) -> list[str]:
    try:
        overrides = _read_yaml(folder / SWEEP)["hydra"]["overrides"]
        task, hydra = ([str(one) for one in overrides[part]] for part in ("task", "hydra"))
    except (KeyError, TypeError):
        raise UserError(f"{folder / SWEEP} is not Hydra's record of a sweep") from None
    if any(one.lstrip("+~").startswith("hydra") for one in task):
        raise UserError(f"{folder / SWEEP} is not Hydra's record of a sweep")
    own = [one for one in hydra if OF_A_SWEEP.fullmatch(one)]
    return [*task, *own, f"hydra.sweep.dir={hydra_literal(str(folder))}"]


def read_config(folder: Path) -> Settings:
    """The settings that a run was begun with.

    Raises:
        UserError: where its config.yaml is missing or is none of this version's.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} holds no run: it has no {CONFIG}")
    plain = _read_yaml(path)
    if not isinstance(plain, dict):
        raise UserError(f"{path} holds no settings")
    try:
        return check_settings(plain)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_yaml(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise UserError(f"{path} is too large for a file of settings")
        return yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except (OSError, yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read: {reason}") from None


def check_continuation(folder: Path, settings: Settings) -> bool:
    """Checks what `ckpt_path` asks for, as far as the run's text files tell.

    Args:
        folder: hydra.run.dir.

    Returns:
        Whether there is a checkpoint; a run that was ended before its first one begins anew.

    Raises:
        UserError: where the checkpoint is not the folder's, other settings were used, or the run
            has finished.
    """
    assert settings.ckpt_path is not None
    path = Path(settings.ckpt_path)
    home = path.parent.parent
    if home.resolve() != folder.resolve():
        raise UserError(
            f"ckpt_path={path}: a run goes on in its own folder; write "
            f"{shell_quoted(f'resume={home}')} instead of ckpt_path and hydra.run.dir"
        )
    before = read_config(folder)
    refuse_changes(folder, before, settings)
    if path.is_file():
        return True
    if (folder / METRICS).exists() or path.name != Path(LAST).name:
        raise UserError(f"{path}: no such checkpoint")
    return False


def refuse_changes(folder: Path, before: Settings, now: Settings) -> None:
    """Refuses to go on with other settings than a run was begun with.

    Raises:
        UserError: naming each setting with both its values.
    """
    keys = changed(before.to_dict(), now.to_dict(), FREE_TO_CHANGE)
    if keys:
        lines = [
            f"  {key}={as_given(old)} before, {as_given(new)} now"
            for key, (old, new) in keys.items()
        ]
        raise UserError(
            f"{folder} was begun with other settings, and a run goes on with its own:\n"
            + "\n".join(lines)
        )
    epochs = before.trainer.max_epochs, now.trainer.max_epochs
    if epochs[0] != epochs[1] and before.model.scheduler.name == "cosine":
        raise UserError(
            f"trainer.max_epochs={epochs[1]}: a cosine schedule over {epochs[0]} epochs has other "
            "learning rates from the first epoch on; train a run of its own"
        )
