"""Going on with a run or a sweep: `resume=FOLDER` spelled out, and what may not have changed.

    python train.py resume=runs/rates
    python train.py SETTINGS OF THE RUN hydra.run.dir=runs/rates \\
        ckpt_path=runs/rates/checkpoints/last.ckpt

The second is what the first stands for. All of this is known before torch is imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normlab.config import Settings
from normlab.config.changes import read_config, read_yaml, refuse_changes
from normlab.config.typed import hydra_literal, setting, shell_quoted
from normlab.errors import UserError
from normlab.layout import CONFIG, LAST, METRICS, SWEEP

SWEEPS = ("-m", "--multirun")
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
    sweep = sweep_of(folder)
    if sweep is not None:
        print(
            f"normlab: {folder} is a run of the sweep {sweep}, and goes on with it",
            file=sys.stderr,
        )
        folder = sweep
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


def sweep_of(folder: Path) -> Path | None:
    """The sweep that a run was trained in, whose runs train together; None for a run by itself."""
    if not (folder / CONFIG).is_file():
        return None
    return next((home for home in folder.parents if (home / SWEEP).is_file()), None)


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
        overrides = read_yaml(folder / SWEEP)["hydra"]["overrides"]
        task, hydra = ([str(one) for one in overrides[part]] for part in ("task", "hydra"))
    except (KeyError, TypeError):
        raise UserError(f"{folder / SWEEP} is not Hydra's record of a sweep") from None
    if any(one.lstrip("+~").startswith("hydra") for one in task):
        raise UserError(f"{folder / SWEEP} is not Hydra's record of a sweep")
    own = [one for one in hydra if OF_A_SWEEP.fullmatch(one)]
    return [*task, *own, f"hydra.sweep.dir={hydra_literal(str(folder))}"]


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
