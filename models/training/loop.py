"""Training of a classifier of any system, epoch by epoch; the same seed gives the same weights, resumed or not.

Samples come in an order drawn from the seed and the epoch. The learning rate grows linearly for `Recipe.warm_up`
epochs, then follows a cosine to 0, step by step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import NeurodeployError

from ..data.dataset import DataSet, Part
from ..losses import LOSSES
from ..system import Recipe

SHIFT, TURN = 1 / 16, 10.0
"""Most of an augmentation: in widths and heights, and in degrees."""
EVALUATED = 256
"""Samples at once when nothing is learnt."""


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave.

    Args:
        number: from 1 on.
        loss: mean over the samples, while training.
        accuracy: on the samples that it trained with, while training, 0 to 1.
        seconds: that it took.
    """

    number: int
    loss: float
    accuracy: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


@dataclass(frozen=True)
class Machine:
    """Where it is computed.

    Args:
        device: as torch names it.
        mixed: whether layers compute in 16 bits where that is safe (CUDA: float16 with a scaled loss; else bfloat16).
        threads: of the processor; None for torch's own choice.
    """

    device: str = "cpu"
    mixed: bool = False
    threads: int | None = None

    @property
    def half(self) -> torch.dtype:
        """Of layers, where mixed."""
        return torch.float16 if self.device.startswith("cuda") else torch.bfloat16


class DivergedError(NeurodeployError, ArithmeticError):
    """The loss is no number any more."""


class Trainer:
    """A module in training.

    Args:
        module: in place.
        recipe, data, seed, machine: see there; the seed is of the order of samples, of augmentation and of what layers
            draw in training.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, data: DataSet, seed: int, machine: Machine) -> None:
        self.loss = LOSSES[recipe.loss]
        self.module, self.recipe, self.machine, self.seed = module.to(machine.device), recipe, machine, seed
        self.x = torch.from_numpy(np.array(data.train.x))
        self.y = torch.from_numpy(np.array(data.train.y))
        self.optimiser = _optimiser(module, recipe)
        steps = -(-len(self.y) // recipe.batch)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, _rates(recipe, steps))
        self.scaler = torch.amp.GradScaler(enabled=machine.mixed and machine.half is torch.float16)
        self.history: list[Epoch] = []

    def epochs(self) -> Iterator[Epoch]:
        """Train on from where it stands; yields what each epoch gave, after it.

        Raises:
            DivergedError: the loss is no number.
        """
        with threads(self.machine.threads):
            while len(self.history) < self.recipe.epochs:
                self.history.append(self._epoch(len(self.history)))
                yield self.history[-1]
        self.module.eval()

    def _epoch(self, number: int) -> Epoch:
        started, recipe = time.perf_counter(), self.recipe
        drawn = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        self.module.train()
        total, right = 0.0, 0
        with torch.random.fork_rng():
            torch.manual_seed(self.seed * 1_000_003 + number)
            for chosen in torch.split(torch.randperm(len(self.y), generator=drawn), recipe.batch):
                x = augmented(self.x[chosen], recipe.augment, drawn)
                y = self.y[chosen].to(self.machine.device)
                loss, scores = self._step(x.to(self.machine.device), y)
                total += loss * len(y)
                right += int((scores.argmax(1) == y).sum())
        if not math.isfinite(total):
            raise DivergedError(
                f"the loss of epoch {number + 1} is no number", found=total, allowed="a finite loss",
                hint="a smaller --learning-rate, or a longer warm-up",
            )  # fmt: skip
        return Epoch(number + 1, total / len(self.y), right / len(self.y), time.perf_counter() - started)

    def _step(self, x: Tensor, y: Tensor) -> tuple[float, Tensor]:
        device = torch.device(self.machine.device).type
        with torch.autocast(device, self.machine.half, enabled=self.machine.mixed):
            loss, scores = self.loss(self.module, x, y)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        return float(loss.detach()), scores.detach()

    def state(self) -> dict[str, Any]:
        """Everything that going on needs; tensors and plain numbers alone."""
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "scaler": self.scaler.state_dict(),
            "history": [epoch.as_json() for epoch in self.history],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.last_epoch = state["schedule"]["last_epoch"]
        self.schedule._last_lr = [group["lr"] for group in self.optimiser.param_groups]
        self.scaler.load_state_dict(state["scaler"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]


def scores(module: nn.Module, part: Part, machine: Machine = Machine()) -> Tensor:
    """Scores of all samples, ``[samples, classes]``, in evaluation."""
    module.eval()
    found = []
    with torch.no_grad(), threads(machine.threads):
        for x in torch.split(torch.from_numpy(np.array(part.x)), EVALUATED):
            found.append(module(x.to(machine.device).float()).float().cpu())
    return torch.cat(found)


def accuracy(module: nn.Module, part: Part, machine: Machine = Machine()) -> float:
    """Share of samples whose highest score is at their label."""
    found = scores(module, part, machine).argmax(1).numpy()
    return float((found == part.y).mean())


def augmented(x: Tensor, kinds: tuple[str, ...], drawn: torch.Generator) -> Tensor:
    """Samples ``[batch, ..., height, width]`` as float32, each flipped, shifted or turned by itself.

    Between pixels values are interpolated; outside they are 0.
    """
    if not kinds:
        return x.float()
    count = len(x)
    draw = torch.rand(4, count, generator=drawn) * 2 - 1
    angle = draw[0] * math.radians(TURN) if "turn" in kinds else torch.zeros(count)
    mirror = torch.where(draw[1] < 0, -1.0, 1.0) if "flip" in kinds else torch.ones(count)
    # The sides of an image are 2 long here.
    moves = draw[2:] * 2 * SHIFT if "shift" in kinds else torch.zeros(2, count)
    rows = torch.stack([
        torch.stack([mirror * angle.cos(), -angle.sin(), moves[0]], 1),
        torch.stack([mirror * angle.sin(), angle.cos(), moves[1]], 1),
    ], 1)  # fmt: skip
    flat = x.float().flatten(1, -3)
    grid = nn.functional.affine_grid(rows, list(flat.shape), align_corners=False)
    return nn.functional.grid_sample(flat, grid, align_corners=False).view(x.shape)


def _optimiser(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = list(module.parameters())
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)


def _rates(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Share of the highest learning rate in each step."""
    warm, all_of_them = recipe.warm_up * steps, recipe.epochs * steps

    def rate(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(all_of_them - warm, 1)))

    return rate


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many of torch's threads; theirs are back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
