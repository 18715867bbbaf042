"""Which runs share a network: every setting is decided here, and a new one has to be."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest
from pydantic import BaseModel

from normlab.config import Settings
from normlab.config.check import check_settings, settings_help
from normlab.config.data import CsvSettings, DataSettings
from normlab.config.section import Section
from normlab.config.trainer_arguments import OURS, trainer_arguments
from normlab.data.serve.module import SplitTable
from normlab.data.table import Table
from normlab.model.network import Network
from normlab.model.tasks import Binary
from normlab.training.grouping import MAY_DIFFER, sharing_key, why_apart
from normlab.training.run import make_network

Settled = Callable[..., Settings]

# Two values of each setting, and what it takes for the setting to be there.
SHARES_A_NETWORK: dict[str, tuple[tuple[str, ...], Any, Any]] = {
    "seed": ((), 0, 1),
    "data.split": ((), "random", "chronological"),
    "data.seed": ((), 1, 2),
    "data.noise": (("data=circles",), 0.1, 0.2),
    "data.factor": (("data=circles",), 0.1, 0.2),
    "data.mean": ((), 90.0, 95.0),
    "data.std": ((), 5.0, 6.0),
    "data.autocorrelation": ((), 0.5, 0.6),
    "data.threshold": ((), 91.0, 92.0),
    "model.init": ((), "torch", "he"),
    "model.pos_weight": ((), None, "balanced"),
    "model.lr": ((), 0.1, 0.01),
    "model.momentum": ((), 0.0, 0.9),
    "model.weight_decay": ((), 0.0, 0.1),
    "model.scheduler.step_size": ((), 10, 20),
    "model.scheduler.gamma": ((), 0.5, 0.6),
    "model.scheduler.eta_min": (("model/scheduler=cosine",), 0.0, 0.1),
    "figures.enabled": ((), "auto", True),
    "figures.every_n_epochs": ((), None, 5),
    "report.tune": ((), ["model.lr"], []),
    "report.target_loss": ((), None, 0.1),
}
MAKES_A_GROUP: dict[str, tuple[tuple[str, ...], Any, Any]] = {
    "data.val_fraction": ((), 0.1, 0.2),
    "data.test_fraction": ((), 0.1, 0.2),
    "data.batch_size": ((), 32, None),
    "data.rows": ((), 100, 200),
    "normalization.n_quantiles": (("normalization=quantile",), 10, 20),
    "model.hidden": ((), [4], [5]),
    "model.activation": ((), "relu", "tanh"),
    "model.dropout": ((), 0.0, 0.1),
    "model.batchnorm": ((), False, True),
    "model.optimizer": ((), "adam", "sgd"),
    "early_stopping.patience": ((), None, 3),
    "early_stopping.min_delta": ((), 0.0, 0.1),
    "checkpoint.every_n_seconds": ((), 1.0, 2.0),
    "trainer.accelerator": ((), "cpu", "gpu"),
    "trainer.devices": ((), 1, 2),
    "trainer.strategy": ((), "auto", "ddp_fork"),
    "trainer.precision": ((), "32-true", "64-true"),
    "trainer.max_epochs": ((), 3, 4),
    "trainer.enable_progress_bar": ((), True, False),
    "trainer.enable_checkpointing": ((), True, False),
    "diagnosis.enabled": ((), True, False),
    "diagnosis.every_n_epochs": ((), 25, 10),
}
# However a file is read, runs that read it differently train apart.
CSV = ("data=csv", "data.path=a.csv", "data.target=label")
OF_A_FILE = sorted(CsvSettings.model_fields.keys() - DataSettings.model_fields.keys() - {"name"})
# The choice of a group, by the setting that names it.
CHOICES = {"data.name", "normalization.name", "model.scheduler.name"}
OF_ONE_RUN = {"ckpt_path"}
STRATEGIES = (
    "none", "center", "standardize", "minmax", "robust", "log1p", "quantile", "batchnorm"
)  # fmt: skip


def group(every: Sequence[Settings]) -> list[list[int]]:
    """Positions of the settings that may share a network."""
    groups: dict[Hashable, list[int]] = {}
    for i, one in enumerate(every):
        groups.setdefault(sharing_key(one), []).append(i)
    return list(groups.values())


def changed(settings: Settings, key: str, value: Any) -> Settings:
    plain = copy.deepcopy(settings.to_dict())
    *parents, name = key.split(".")
    node = plain
    for parent in parents:
        node = node[parent]
    assert name in node or parents == ["trainer"], key
    node[name] = value
    return check_settings(plain)


def all_keys(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all settings of all choices, from config's models themselves."""
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        for kind in inner:
            yield from all_keys(kind, f"{prefix}{name}.")
        if not inner:
            yield prefix + name


def test_every_setting_is_decided() -> None:
    """A new setting fails here: may runs that share a network differ in it (MAY_DIFFER)?"""
    decided = (
        SHARES_A_NETWORK.keys() | MAKES_A_GROUP.keys() | {f"data.{name}" for name in OF_A_FILE}
    )
    assert decided == set(all_keys()) - CHOICES - OF_ONE_RUN
    assert not SHARES_A_NETWORK.keys() & MAKES_A_GROUP.keys()
    assert set(settings_help()) <= decided | OF_ONE_RUN


def test_nothing_else_may_differ() -> None:
    """Each entry of the list is a setting, or a group of settings that all may differ."""
    for entry in MAY_DIFFER:
        covered = {key for key in SHARES_A_NETWORK if key == entry or key.startswith(f"{entry}.")}
        assert covered, f"{entry} is in MAY_DIFFER and is not tested"
        assert not [key for key in MAKES_A_GROUP if f"{key}.".startswith(f"{entry}.")]


@pytest.mark.parametrize("key", SHARES_A_NETWORK)
def test_runs_that_differ_in_it_share_a_network(settings: Settled, key: str) -> None:
    needs, one, other = SHARES_A_NETWORK[key]
    base = settings(*needs)
    assert group([changed(base, key, one), changed(base, key, other)]) == [[0, 1]]


@pytest.mark.parametrize("key", MAKES_A_GROUP)
def test_runs_that_differ_in_it_train_apart(settings: Settled, key: str) -> None:
    needs, one, other = MAKES_A_GROUP[key]
    base = settings(*needs)
    every = [changed(base, key, value) for value in (one, other, one)]
    assert group(every) == [[0, 2], [1]]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the value is of no use
@pytest.mark.parametrize("name", OF_A_FILE)
def test_files_read_in_two_ways_train_apart(settings: Settled, name: str) -> None:
    base = settings(*CSV)
    other = base.model_copy(update={"data": base.data.model_copy(update={name: "another"})})
    assert group([base, other, base]) == [[0, 2], [1]]


def test_sources_of_data_train_apart_and_schedulers_do_not(settings: Settled) -> None:
    sources = [
        settings("data=heart_rate", "data.rows=500"),
        settings("data=circles"),
        settings("data=breast_cancer"),
        settings(*CSV),
    ]
    assert group(sources) == [[0], [1], [2], [3]]
    names = ("none", "step", "cosine")
    assert group([settings(f"model/scheduler={name}") for name in names]) == [[0, 1, 2]]


@pytest.mark.parametrize("batchnorm", ["false", "true"])
def test_affine_strategies_share_and_others_do_not(settings: Settled, batchnorm: str) -> None:
    every = [settings(f"normalization={n}", f"model.batchnorm={batchnorm}") for n in STRATEGIES]
    found = {frozenset(STRATEGIES[i] for i in one) for one in group(every)}
    affine = {"none", "center", "standardize", "minmax", "robust"}
    if batchnorm == "true":  # normalization=batchnorm is no normalization, and the same layer
        assert found == {frozenset(affine | {"batchnorm"}), frozenset({"log1p"}),
                         frozenset({"quantile"})}  # fmt: skip
    else:
        assert found == {frozenset(affine), frozenset({"log1p"}), frozenset({"quantile"}),
                         frozenset({"batchnorm"})}  # fmt: skip


def test_batchnorm_is_one_layer_by_either_name(settings: Settled) -> None:
    every = [
        settings("normalization=batchnorm"),
        settings("normalization=none", "model.batchnorm=true"),
        settings("normalization=batchnorm", "model.batchnorm=true"),
        settings("normalization=standardize", "model.batchnorm=true"),
        settings("normalization=standardize"),
    ]
    assert group(every) == [[0, 1, 2, 3], [4]]


def test_a_group_is_what_a_network_can_hold(settings: Settled, blobs: Callable[..., Table]) -> None:
    """The oracle is the network: one family of scalers, state of the same names and shapes."""
    data = SplitTable(blobs())
    every = [
        settings(f"normalization={name}", f"model.batchnorm={batchnorm}")
        for name in STRATEGIES
        for batchnorm in ("false", "true")
    ]
    networks = [make_network(one, data, Binary()) for one in every]

    def shape(i: int) -> tuple[Any, ...]:
        state = {key: tuple(value.shape) for key, value in networks[i].state_dict().items()}
        return networks[i].normalizer.family, type(networks[i].batchnorm), state

    together = {pair for one in group(every) for pair in combinations(one, 2)}
    for pair in combinations(range(len(every)), 2):
        assert (shape(pair[0]) == shape(pair[1])) == (pair in together), pair
    for one in group(every):
        assert Network.stack([networks[i] for i in one]).n_runs == len(one)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ((), None),
        (("trainer.devices=auto",), None),
        (("trainer.devices='1'",), None),
        (("trainer.accelerator=cpu", "trainer.precision=64-true"), None),
        (("+trainer.gradient_clip_val=1.0",), "trainer.gradient_clip_val is set"),
        (("+trainer.max_steps=9", "+trainer.limit_train_batches=2"),
         "trainer.limit_train_batches is set"),
        (("trainer.strategy=ddp_fork",), "trainer.strategy=ddp_fork"),
        (("trainer.devices=2",), "trainer.devices=2"),
        (("trainer.devices=[0,1]",), "trainer.devices=[0, 1]"),
        (("trainer.devices=-1",), "trainer.devices=-1"),
        (("trainer.precision=16-mixed",), "trainer.precision=16-mixed"),
        (("trainer.precision=bf16-mixed",), "trainer.precision=bf16-mixed"),
        (("trainer.precision=bf16-true",), None),
        (("trainer.precision=16-true",), None),
    ],
)  # fmt: skip
def test_what_needs_the_steps_one_by_one(
    settings: Settled, overrides: tuple[str, ...], reason: str | None
) -> None:
    assert why_apart(settings(*overrides)) == reason


def test_every_other_argument_of_trainer_needs_them_too(settings: Settled) -> None:
    """Whatever the program does not know of is left to Lightning."""
    base = settings()
    others = trainer_arguments().keys() - OURS.keys() - base.trainer.model_dump().keys()
    assert len(others) > 20
    values = {"str": "x", "int": 1, "float": 1.0, "bool": True, "list": [], "dict": {}}
    for name in sorted(others):
        kinds = sorted(trainer_arguments()[name])
        value = values[kinds[0]] if kinds else None
        reason = why_apart(changed(base, f"trainer.{name}", value)) or ""
        assert re.fullmatch(rf"trainer\.{name} is set", reason), name
