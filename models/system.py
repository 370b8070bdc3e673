"""What a published system tells: its networks, the sizes of them, and how each is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import InvalidInputError

from .losses import LOSSES

if TYPE_CHECKING:
    from torch import Tensor, nn

LARGEST = 1e30
"""Of a number in a recipe; float32 ends at 3.4e38."""
OPTIMISERS = ("adam", "adamw", "sgd")
AUGMENTATIONS = ("flip", "shift", "turn")


@dataclass(frozen=True)
class Recipe:
    """What a training depends on, beside the network and the data.

    Args:
        epochs: over the training set.
        loss: of `neurodeploy.models.losses`.
        batch: samples a step.
        learning_rate: at its highest.
        optimiser: with its usual constants.
        weight_decay: of the optimiser.
        warm_up: epochs in which the learning rate grows to its highest; then it sinks to 0 by a cosine.
        clip: largest norm of a step's gradient; None for any.
        augment: ``flip`` left to right, ``shift`` by up to a sixteenth of the sides, ``turn`` by up to 10 degrees.
    """

    epochs: int
    loss: str = "cross-entropy"
    batch: int = 32
    learning_rate: float = 1e-3
    optimiser: str = "adam"
    weight_decay: float = 0.0
    warm_up: float = 0.0
    clip: float | None = None
    augment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises InvalidInputError for what no training can have."""
        for what, chosen, allowed in (
            ("loss", (self.loss,), LOSSES), ("optimiser", (self.optimiser,), OPTIMISERS),
            ("augmentation", self.augment, AUGMENTATIONS),
        ):  # fmt: skip
            if wrong := [one for one in chosen if one not in allowed]:
                raise InvalidInputError(f"{what} of a training", found=wrong[0], allowed=", ".join(allowed))
        for name in ("epochs", "batch", "learning_rate", "weight_decay", "warm_up", "clip"):
            value, above = getattr(self, name), name in ("epochs", "batch", "learning_rate", "clip")
            if value is not None and not (0 <= value <= LARGEST and (value or not above)):
                least = f"a number above 0, {LARGEST:g} at most" if above else f"0 to {LARGEST:g}"
                raise InvalidInputError(f"{name.replace('_', ' ')} of a training", found=value, allowed=least)


@dataclass(frozen=True)
class Preset:
    """A network of some size.

    Args:
        name: as the command line takes it.
        description: one line.
        shape: its sizes, the ``Shape`` of its system.
        data: the data set that it is sized for (`neurodeploy.models.data`); empty where that is not to be had here.
        recipe: of its training; None for a size that is published but not trained here.
    """

    name: str
    description: str
    shape: Any
    data: str = ""
    recipe: Recipe | None = None


@dataclass(frozen=True, eq=False)
class System:
    """A published system. Its networks take samples of whole numbers as float32, images or events, batch first.

    Args:
        name: as the command line takes it.
        title: for people.
        source: where it is published.
        shape: the dataclass of sizes, among them ``inputs``, ``classes``, ``largest`` and ``events``.
        build: ``shape -> module``, untrained; torch's seed decides its weights.
        presets: by name.
        deployed: parameters that inference needs, where these are fewer; None for all.
        renamed: tensors of a checkpoint of the authors' code under our names; None where there is no code.
        shape_of: the sizes of such a checkpoint, ``(renamed, original) -> shape``.
    """

    name: str
    title: str
    source: str
    shape: type
    build: Callable[[Any], nn.Module]
    presets: tuple[Preset, ...]
    deployed: Callable[[nn.Module], int] | None = None
    renamed: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None
    shape_of: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Any] | None = None
    by_name: Mapping[str, Preset] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {preset.name: preset for preset in self.presets})


def parameters(module: nn.Module) -> int:
    """How many numbers training moves; one that several layers share counts once."""
    return sum(p.numel() for p in module.parameters())
