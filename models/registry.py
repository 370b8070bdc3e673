"""The ready models by name; a model's file is imported when it is asked for, not before.

To add one, write ``models/my_model.py`` with a ``MODEL`` (see `Model`) and list it in `MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.errors import InvalidInputError

if TYPE_CHECKING:
    from torch import nn

    from .digits import Data
    from .training import Progress, Settings, Trained

MODELS: Mapping[str, str] = {"digits-mlp": ".digits_mlp", "digits-conv": ".digits_conv"}
"""Module of each model."""


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
        from .training import train

        return train(self.build, self.settings, progress)

    def load(self, path: Path | str) -> Trained:
        """Read what `Trained.save` wrote; see `training.load` for the errors."""
        from .training import load as read

        return read(self.build, path)

    def data(self, samples: int | None = None) -> Data:
        """The first ``samples`` test images (all 450 by default), encoded ``[time, batch, 1, 8, 8]``, and labels."""
        from .training import encoded_test

        return encoded_test(self.settings, samples)

    def calibration(self, samples: int) -> Data:
        """The first ``samples`` training images, encoded as `data` is: for choosing number formats."""
        from .training import encoded_training

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
