"""A LightningModule whose hooks cost less."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule


class LeanModule(LightningModule):
    """Spares `nn.Module`'s look at every attribute that is set where it is Lightning's alone.

    Lightning notes the name of each hook that it calls, some forty times a step, on the module,
    which takes it for a possible parameter each time: a fifth of a step of a small net.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)
