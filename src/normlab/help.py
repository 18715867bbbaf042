"""The text of `python train.py --help`: every setting with its default and its line of help."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from normlab.validation import as_given, settings_help, without_hydra


def help_text(*, _root_: DictConfig) -> str:
    """A line for each setting, `key=default  what it is`; called by OmegaConf as a resolver.

    Args:
        _root_: the composed config, given by OmegaConf.
    """
    config = without_hydra(_root_)
    chosen, others = [], []
    for key, text in settings_help().items():
        value = OmegaConf.select(config, key, throw_on_missing=False, default=...)
        if value is ...:
            others.append(f"  {key:34} {text}")
        else:
            chosen.append(f"  {f'{key}={as_given(value)}':34} {text}")
    return "\n".join([*chosen, "", "Settings of the other choices:", *others])
