"""Shared fixtures."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from neurodeploy.models.digits_training import Trained

MODELS = Path(__file__).parent.parent / "models"


@pytest.fixture(autouse=True)
def no_unfinished_neurons() -> Iterator[None]:
    """snnTorch resets every neuron that was ever made, and fails at one that has no membrane yet; it forgets those."""
    yield
    module = sys.modules.get("snntorch._neurons.neurons")
    if module is not None:
        made = module.SpikingNeuron.instances
        made[:] = [neuron for neuron in made if getattr(neuron, "mem", 0) is not None]


@pytest.fixture(scope="session")
def trained(request: pytest.FixtureRequest) -> Callable[[str], Trained]:
    """``trained("digits-mlp")``: the trained model, trained once per checkout and version of ``models/``."""
    sources = b"".join(path.read_bytes() for path in sorted(MODELS.glob("*.py")))
    folder = request.config.cache.mkdir(f"trained-{hashlib.sha256(sources).hexdigest()[:12]}")

    @cache
    def get(name: str) -> Trained:
        from neurodeploy.models import registry

        model, path = registry.load(name), folder / f"{name}.safetensors"
        if not path.exists():
            model.train().save(path)
        return model.load(path)

    return get
