"""Settings: conf/ and config say the same, and every mistake is named in one line."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import lightning
import pytest
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from normlab.app.hydra_app import help_text, parse_settings, settings_help
from normlab.config import Settings
from normlab.config import model as config
from normlab.config.section import Section
from normlab.config.trainer_arguments import OURS, check_trainer_arguments, trainer_arguments
from normlab.errors import UserError

CONF = Path(__file__).resolve().parents[1] / "conf"
Composed = Callable[..., DictConfig]
Settled = Callable[..., Settings]

CSV = ("data=csv", "data.path=rows.csv", "data.target=label")
GROUPS = ("data", "normalization", "model", "model/scheduler", "trainer")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def chosen(group: str, choice: str) -> tuple[str, ...]:
    return CSV if choice == "csv" else (f"{group}={choice}",)


def sections(model: type[BaseModel]) -> Iterator[type[Section]]:
    """Every class of settings that `model` is made of, itself included."""
    assert issubclass(model, Section)
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from sections(kind)


def keys(value: Any, prefix: str = "") -> set[str]:
    """The dotted keys of nested settings."""
    if not isinstance(value, dict):
        return {prefix.rstrip(".")}
    return {key for name, item in value.items() for key in keys(item, f"{prefix}{name}.")}


ALL_CHOICES = [(group, choice) for group in GROUPS for choice in choices(group)]


# conf/ against config


@pytest.mark.parametrize(
    ("group", "choice", "experiment"),
    [(*choice, None) for choice in ALL_CHOICES]
    + [
        # An experiment leaves every group to the command line; the net's own has one choice.
        (group, choice, experiment)
        for group, choice in ALL_CHOICES
        for experiment in EXPERIMENTS
        if group not in ("model", "trainer")
    ],
)
def test_every_choice_has_valid_defaults_for_every_key(
    composed: Composed, group: str, choice: str, experiment: str | None
) -> None:
    """The composed keys are the fields of the models: none missing, none of another's group."""
    extra = () if experiment is None else (f"experiment={experiment}",)
    composition = composed(*chosen(group, choice), *extra)
    settings = parse_settings(composition)
    given: Any = OmegaConf.to_container(composition)
    assert given.pop("ckpt_path") is None
    assert keys(given) == keys(settings.to_dict())
    assert settings.to_dict() == given
    node: Any = settings
    for part in group.split("/"):
        node = getattr(node, part)
    if group not in ("model", "trainer"):
        assert node.name == choice


def test_every_name_in_config_py_is_a_choice_in_conf() -> None:
    """A discriminated union's names and the files of the group."""
    for group, field in (
        ("data", Settings.model_fields["data"]),
        ("normalization", Settings.model_fields["normalization"]),
        ("model/scheduler", config.ModelSettings.model_fields["scheduler"]),
    ):
        names = [
            name
            for section in get_args(field.annotation)
            for name in get_args(section.model_fields["name"].annotation)
        ]
        assert sorted(names) == choices(group)


def test_every_field_has_a_description() -> None:
    for section in set(sections(Settings)):
        for name, field in section.model_fields.items():
            kinds = (field.annotation, *get_args(field.annotation))
            if any(isinstance(kind, type) and issubclass(kind, Section) for kind in kinds):
                continue
            assert field.description, f"{section.__name__}.{name}"
            if not field.exclude:
                assert field.is_required(), f"{section.__name__}.{name}: defaults belong into conf/"


def test_help_shows_every_setting_with_its_default_and_its_line(composed: Composed) -> None:
    composition = composed()
    text = help_text(_root_=composition)
    described = settings_help()
    expected = {
        f"{section_key(section)}{name}"
        for section in set(sections(Settings))
        for name in section.model_fields
    }
    leaves = {key for key in expected if key in described}
    groups = {"data", "normalization", "model", "model.scheduler", "early_stopping", "checkpoint",
              "trainer", "diagnosis", "figures", "report"}  # fmt: skip
    names = {"data.name", "normalization.name", "model.scheduler.name"}
    assert expected - leaves <= groups | names
    for key, line in described.items():
        assert line
        assert re.search(rf"^  {re.escape(key)}(=\S*)? +{re.escape(line)}$", text, re.M), key
    assert re.search(r"^  model\.lr=0\.01 ", text, re.M)
    assert re.search(r"^  model\.batchnorm=false ", text, re.M)
    assert re.search(r"^  early_stopping\.patience=null ", text, re.M)


def section_key(section: type[Section]) -> str:
    """The dotted prefix of a section's settings."""
    for prefix, parent in (("", Settings), ("model.", config.ModelSettings)):
        for name, field in parent.model_fields.items():
            if section in (field.annotation, *get_args(field.annotation)):
                return f"{prefix}{name}."
    return ""


# Mistakes, each named in one line: the key, what was given, what is allowed.


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        # out of range
        ("model.lr=0", "should be greater than 0"),
        ("model.lr=-1", "should be greater than 0"),
        ("model.dropout=1", "should be less than 1"),
        ("model.weight_decay=-0.1", "should be greater than or equal to 0"),
        ("data.val_fraction=1.5", "should be less than 1"),
        ("data.test_fraction=-0.1", "should be greater than or equal to 0"),
        ("data.batch_size=0", "should be greater than or equal to 1"),
        ("data.rows=3", "should be greater than or equal to 4"),
        ("data.std=0", "should be greater than 0"),
        ("data.autocorrelation=1", "should be less than 1"),
        ("seed=-1", "should be greater than or equal to 0"),
        ("seed=9223372036854775808", "should be less than 9223372036854775808"),
        ("model.scheduler.gamma=2", "should be less than or equal to 1"),
        ("model.scheduler.step_size=0", "should be greater than or equal to 1"),
        ("trainer.max_epochs=0", "should be greater than or equal to 1"),
        ("early_stopping.patience=0", "should be greater than or equal to 1"),
        ("early_stopping.min_delta=-1", "should be greater than or equal to 0"),
        ("checkpoint.every_n_seconds=-1", "should be greater than or equal to 0"),
        # no finite number
        ("model.lr=nan", "should be a finite number"),
        ("model.lr=inf", "should be a finite number"),
        ("data.mean=nan", "should be a finite number"),
        ("data.threshold=-inf", "should be a finite number"),
        ("early_stopping.min_delta=nan", "should be a finite number"),
        # of another type
        ("model.lr=abc", "should be a valid number"),
        ("model.lr='0.01'", "should be a valid number"),
        ("model.lr=null", "should be a valid number"),
        ("model.lr=true", "should be a valid number"),
        ("seed=true", "should be a valid integer"),
        ("seed=1.5", "should be a valid integer"),
        ("seed=1.0", "should be a valid integer"),
        ("data.batch_size=64.0", "should be a valid integer"),
        ("data.batch_size=true", "should be a valid integer"),
        ("model.batchnorm=1", "should be a valid boolean"),
        ("model.batchnorm=yes", "should be a valid boolean"),
        ("model.hidden=16", "should be a valid list"),
        ("trainer.enable_checkpointing=0", "should be a valid boolean"),
        # no such choice
        ("model.activation=selu", "should be 'sigmoid', 'tanh', 'relu' or 'gelu'"),
        ("model.optimizer=Adam", "should be 'adam', 'adamw' or 'sgd'"),
        ("model.init=kaiming", "should be 'torch', 'he' or 'xavier'"),
        ("data.split=stratified", "should be 'random', 'chronological' or 'none'"),
        ("model.pos_weight=balance", "should be 'balanced' or should be a valid number"),
        ("model.pos_weight=0", "should be 'balanced' or should be greater than 0"),
        ("model.pos_weight=true", "should be 'balanced' or should be a valid number"),
        ("model.scheduler=none", "is a group of settings; see model/scheduler in --help"),
        ("early_stopping=null", "is a group of settings; see early_stopping in --help"),
    ],
)
def test_a_wrong_value(settings: Settled, override: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(override)
    assert str(caught.value) == f"{override.replace(chr(39), '')}: {reason}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.hidden=[4,abc]",), "model.hidden[1]=abc: should be a valid integer"),
        (("model.hidden=[4,0]",), "model.hidden[1]=0: should be greater than or equal to 1"),
        (("model.hidden=[4,true]",), "model.hidden[1]=true: should be a valid integer"),
        (
            ("normalization.name=whiten",),
            "normalization.name=whiten: should be one of 'none', 'center', 'standardize', "
            "'minmax', 'robust', 'log1p', 'batchnorm', 'quantile'",
        ),
        (
            ("normalization=quantile", "normalization.n_quantiles=1"),
            "normalization.n_quantiles=1: should be greater than or equal to 2",
        ),
        (
            ("model/scheduler=cosine", "model.scheduler.eta_min=nan"),
            "model.scheduler.eta_min=nan: should be a finite number",
        ),
        (("data=circles", "data.factor=1"), "data.factor=1: should be less than 1"),
        (
            ("data=circles", "data.seed=4294967296"),
            "data.seed=4294967296: should be less than 4294967296",
        ),
        (
            ("data=csv", "data.target=y", "data.path=''"),
            "data.path=: should have at least 1 character",
        ),
        (
            ("data.val_fraction=0.5", "data.test_fraction=0.5"),
            "data.val_fraction + data.test_fraction must leave rows to train on: below 1",
        ),
        (
            ("data.batch_size=1", "model.batchnorm=true"),
            "data.batch_size=1 cannot train with BatchNorm: one row has no spread; use 2 or more",
        ),
        (
            ("data.batch_size=1", "normalization=batchnorm"),
            "data.batch_size=1 cannot train with BatchNorm: one row has no spread; use 2 or more",
        ),
        (
            ("early_stopping.patience=5", "data.split=none"),
            "early_stopping.patience needs a validation split: set data.split=random and "
            "data.val_fraction above 0",
        ),
        (
            ("early_stopping.patience=5", "data.val_fraction=0"),
            "early_stopping.patience needs a validation split: set data.split=random and "
            "data.val_fraction above 0",
        ),
        (("~model.lr",), "model.lr is missing: add model.lr=VALUE"),
        (("~model",), "model is missing: add model=VALUE"),
        (("seed=???",), "seed is missing: add seed=VALUE"),
        (("data=csv", "data.target=y"), "data.path is missing: add data.path=VALUE"),
        (
            ("data=csv",),
            "data.path is missing: add data.path=VALUE\n"
            "data.target is missing: add data.target=VALUE",
        ),
        (("model.lr=${nope}",), "model.lr: Interpolation key 'nope' not found"),
    ],
)
def test_a_wrong_combination(settings: Settled, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(*overrides)
    assert str(caught.value) == message


def test_a_setting_of_a_choice_is_named_without_the_choice(settings: Settled) -> None:
    with pytest.raises(UserError, match=r"^data\.header=no: should be a valid boolean"):
        settings(*CSV, "data.header=no")


@pytest.mark.parametrize(
    ("override", "message", "known"),
    [
        ("+model.lrr=1", "model.lrr is not a setting; did you mean model.lr?", "under model"),
        ("+model.foo=1", "model.foo is not a setting", "under model"),
        ("+typo=1", "typo is not a setting", ""),
        ("+sead=1", "sead is not a setting; did you mean seed?", ""),
        ("+model.scheduler.gama=1", "model.scheduler.gama is not a setting; did you mean "
         "model.scheduler.gamma?", "under model.scheduler"),
        ("+early_stopping.monitor=x", "early_stopping.monitor is not a setting",
         "under early_stopping"),
    ],
)  # fmt: skip
def test_an_unknown_key_also_with_a_plus(
    settings: Settled, override: str, message: str, known: str
) -> None:
    with pytest.raises(UserError) as caught:
        settings(override)
    first, second = str(caught.value).split("\n")
    assert first == message
    assert second.startswith(f"  known{known and ' '}{known}: ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+data.path=t.csv", "data.path is a setting of data=csv alone: add data=csv"),
        ("+data.noise=1", "data.noise is a setting of data=circles alone: add data=circles"),
        ("+model.scheduler.gamma=1", "model.scheduler.gamma is a setting of model/scheduler=step "
         "alone: add model/scheduler=step"),
        ("+normalization.n_quantiles=9", "normalization.n_quantiles is a setting of "
         "normalization=quantile alone: add normalization=quantile"),
    ],
)  # fmt: skip
def test_a_setting_of_another_choice_names_the_choice(
    settings: Settled, override: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        settings("model/scheduler=cosine", override)
    assert str(caught.value) == message


def test_a_setting_of_two_choices_names_both(settings: Settled) -> None:
    with pytest.raises(UserError, match="add data=circles or data=heart_rate"):
        settings("data=breast_cancer", "+data.rows=9")


def test_all_mistakes_are_told_at_once(settings: Settled) -> None:
    with pytest.raises(UserError) as caught:
        settings("seed=a", "model.lr=0", "+model.foo=1", "data.rows=1.5")
    text = str(caught.value)
    for part in ("seed=a: ", "model.lr=0: ", "model.foo is not", "data.rows=1.5: "):
        assert part in text
    assert "hydra" not in text


def test_settings_are_frozen_plain_and_strict(settings: Settled) -> None:
    chosen_settings = settings("model.lr=1")  # an int where a float is meant is no mistake
    assert chosen_settings.model.lr == 1.0
    assert chosen_settings.to_dict()["model"]["hidden"] == [16]
    with pytest.raises(ValueError, match="frozen"):
        chosen_settings.seed = 3  # type: ignore[misc]
    assert parse_settings(OmegaConf.create(chosen_settings.to_dict())) == chosen_settings


@pytest.mark.parametrize("normalization", ["none", "batchnorm"])
@pytest.mark.parametrize("asked", [False, True])
def test_batchnorm_is_asked_for_by_either_setting(
    settings: Settled, normalization: str, asked: bool
) -> None:
    made = settings(f"normalization={normalization}", f"model.batchnorm={str(asked).lower()}")
    assert made.batchnorm == (asked or normalization == "batchnorm")


# Arguments of lightning.Trainer


def test_the_trainers_arguments_are_read_right_from_its_source() -> None:
    parameters = dict(inspect.signature(lightning.Trainer.__init__).parameters)
    del parameters["self"]
    known = trainer_arguments()
    assert list(known) == list(parameters)
    for name, parameter in parameters.items():
        assert known[name] == plain_types(parameter.annotation), name
    assert set(known) >= OURS.keys() - {"unroll_epochs"}  # of earlier versions of this program
    assert known["gradient_clip_val"] == {"int", "float"}
    assert known["precision"] == {"str", "int"}
    assert known["max_time"] == {"str", "dict"}


def plain_types(annotation: Any) -> set[str]:
    """What a config can hold of an evaluated annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Union:
        return set().union(*map(plain_types, arguments))
    if origin is Literal:
        return {type(value).__name__ for value in arguments}
    kind = origin or annotation
    if kind is Path:
        return {"str"}
    return {kind.__name__} & {"str", "int", "float", "bool", "list", "dict"}


@pytest.mark.parametrize(
    "override",
    [
        "+trainer.gradient_clip_val=0.5",
        "+trainer.gradient_clip_val=1",
        "+trainer.deterministic=true",
        "+trainer.deterministic=warn",
        "+trainer.limit_train_batches=10",
        "+trainer.max_time='00:00:01:00'",
        "+trainer.max_time={minutes:1}",
        "+trainer.num_sanity_val_steps=2",
        "+trainer.inference_mode=null",
        "trainer.devices=[0,1]",
        "trainer.devices=auto",
    ],
)
def test_plain_arguments_of_the_trainer_are_taken(settings: Settled, override: str) -> None:
    key, _, _ = override.lstrip("+").partition("=")
    assert key.removeprefix("trainer.") in settings(override).trainer.model_dump()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+trainer.max_epoch=3", r"trainer\.max_epoch is no argument of lightning\.Trainer; it"
         r" takes: .*\bmax_epochs\b.*"),
        ("+trainer.gradient_clip_val=abc", r"trainer\.gradient_clip_val=abc: must be float or int"),
        ("+trainer.gradient_clip_val=nan", r"trainer\.gradient_clip_val=nan: must be a finite.*"),
        ("+trainer.limit_train_batches=inf", r"trainer\.limit_train_batches=inf: must be a fin.*"),
        ("+trainer.accumulate_grad_batches=true", r"trainer\.accumulate_grad_batches=true: must be"
         " int"),
        ("+trainer.max_time=5", r"trainer\.max_time=5: must be dict or str"),
        ("+trainer.detect_anomaly=1", r"trainer\.detect_anomaly=1: must be bool"),
        ("trainer.devices=1.5", r"trainer\.devices=1\.5: should be a valid integer or .*"),
        ("trainer.accelerator=quantum", r"trainer\.accelerator=quantum: should be 'auto'.*"),
        ("trainer.precision=8", r"trainer\.precision=8: should be '32-true'.*"),
    ],
)  # fmt: skip
def test_a_wrong_argument_of_the_trainer(settings: Settled, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(override)
    assert re.fullmatch(message, str(caught.value))


@pytest.mark.parametrize("name", OURS)
def test_objects_and_what_the_program_gives_itself_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^trainer\.{name} cannot be set here: {OURS[name]}"):
        check_trainer_arguments({name: None})


# Speed


def test_settings_are_checked_without_torch() -> None:
    """Importing it takes seconds; a typo should be told at once."""
    program = (
        "import sys, normlab, normlab.app.hydra_app; normlab.settings('data=circles', seed=3)\n"
        "from normlab.config.trainer_arguments import trainer_arguments; trainer_arguments()\n"
        "heavy = {'torch', 'lightning', 'numpy', 'scipy', 'sklearn', 'polars', 'tensorboard'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
