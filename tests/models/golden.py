"""Recordings of the authors' code, where they are at hand: not a part of the product, and tests skip without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neurodeploy.models.system import System

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "seeds-golden"


class Case:
    """A recorded network or module: its arrays, and what is said of it."""

    def __init__(self, system: str, name: str) -> None:
        path = FOLDER / system / f"{name}.npz"
        if not path.is_file():
            pytest.skip("the recordings of the authors' code are not here")
        with np.load(path) as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}
        self.said: dict[str, Any] = json.loads((FOLDER / system / "cases.json").read_text())["cases"][name]

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Arrays under a prefix, without it."""
        return {key.removeprefix(prefix): self[key] for key in self.arrays if key.startswith(prefix)}

    @property
    def state(self) -> dict[str, Tensor]:
        """The state dict, shared tensors under each of their names."""
        found = self.group("state/")
        return found | {other: found[name] for other, name in self.said.get("aliases", {}).items()}


def published(system: str) -> dict[str, Any]:
    """Names and shapes of the published networks' state dicts."""
    path = FOLDER / system / "published_state_dict.json"
    if not path.is_file():
        pytest.skip("the recordings of the authors' code are not here")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def places(system: System, key: str) -> None:
    """Every tensor of a published state dict has its place in our network of its sizes, in its shape."""
    assert system.renamed is not None and system.shape_of is not None
    with torch.device("meta"):
        theirs = {name: torch.empty(shape) for name, shape, _ in published(system.name)[key]["state_dict"]}
        ours = system.renamed(theirs)
        own = system.build(system.shape_of(ours, theirs)).state_dict()
    assert {n: tuple(t.shape) for n, t in ours.items()} == {n: tuple(t.shape) for n, t in own.items()}


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal to so many parts of the largest value."""
    scale = max(float(expected.abs().max()), 1e-12)
    assert float((found.detach() - expected).abs().max()) <= tolerance * scale


def same_direction(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Gradients: the length of the difference, in lengths of what is expected."""
    length = float(expected.norm())
    assert float((found - expected).norm()) <= tolerance * (length if length else 1.0)
