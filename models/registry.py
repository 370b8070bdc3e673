"""The ready models and the published systems by name; the file of one is imported when it is asked for, not before.

To add a model of the demo, write ``models/my_model.py`` with a ``MODEL`` (see `Model`) and list it in `MODELS`; for a
system, a folder with a ``system.py`` that has a ``SYSTEM`` (`neurodeploy.models.system.System`), listed in `SYSTEMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.errors import InvalidInputError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from .digits import Data
    from .digits_training import Progress, Settings, Trained
    from .system import Preset, System

MODELS: Mapping[str, str] = {"digits-mlp": ".digits_mlp", "digits-conv": ".digits_conv"}
"""Module of each model of the demo."""
SYSTEMS: Mapping[str, str] = {"trevsnn": ".trevsnn.system", "orrc": ".orrc.system"}
"""Module of each published system."""


@dataclass(frozen=True)
class Model:
    """A network that can be built, trained and measured.

    Args:
        name: as the command line takes it.
        description: one line.
        build: the untrained network, always with the same weights.
        settings: of its training.
        target: test accuracy that training must reach, 0 to 1.
    """

    name: str
    description: str
    build: Callable[[], nn.Module]
    settings: Settings
    target: float

    @property
    def steps(self) -> int:
        """Time steps of a sample."""
        return self.settings.steps

    @property
    def dt(self) -> float:
        """Length of a step in seconds."""
        return self.settings.dt

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one step of one sample: channels, height, width."""
        from .digits import SHAPE

        return SHAPE

    def train(self, progress: Progress | None = None) -> Trained:
        """Train it; takes some tens of seconds on one core."""
        from .digits_training import train

        return train(self.build, self.settings, progress)

    def load(self, path: Path | str) -> Trained:
        """Read what `Trained.save` wrote; see `training.load` for the errors."""
        from .digits_training import load as read

        return read(self.build, path)

    def data(self, samples: int | None = None) -> Data:
        """The first ``samples`` test images (all 450 by default), encoded ``[time, batch, 1, 8, 8]``, and labels."""
        from .digits_training import encoded_test

        return encoded_test(self.settings, samples)

    def calibration(self, samples: int) -> Data:
        """The first ``samples`` training images, encoded as `data` is: for choosing number formats."""
        from .digits_training import encoded_training

        return encoded_training(self.settings, samples)


def load(name: str) -> Model:
    """The model called ``name``.

    Raises:
        InvalidInputError: there is no such model.
    """
    if name not in MODELS:
        raise InvalidInputError("unknown model", found=name, allowed=", ".join(MODELS))
    model = import_module(MODELS[name], __package__).MODEL
    assert isinstance(model, Model)
    return model


def system(name: str) -> System:
    """The system called ``name``.

    Raises:
        InvalidInputError: there is no such system.
    """
    if name not in SYSTEMS:
        raise InvalidInputError("unknown system", found=name, allowed=", ".join(SYSTEMS))
    found: System = import_module(SYSTEMS[name], __package__).SYSTEM
    return found


def preset(name: str) -> tuple[System, Preset]:
    """The preset called ``name``, and its system.

    Raises:
        InvalidInputError: there is no such preset.
    """
    names = []
    for each in SYSTEMS:
        found = system(each)
        if name in found.by_name:
            return found, found.by_name[name]
        names += list(found.by_name)
    raise InvalidInputError(f"unknown model {name!r}{did_you_mean(name, names)}", allowed=", ".join(names))
