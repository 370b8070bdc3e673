"""What a reader of a page has already: a network that is trained, samples, files of other tools.

Everything is trained here, in double precision and on one thread, so that every machine gets the same figures.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import blocks
from .session import Session
from .setups_converted import ann as ann
from .setups_converted import digits_ann as digits_ann
from .setups_converted import lava_dl as lava_dl
from .setups_export import *  # noqa: F403
from .setups_fit import images as images
from .setups_fit import large as large
from .setups_plugins import installed as installed
from .setups_plugins import izhikevich as izhikevich

TEST = 297
"""The last samples of scikit-learn's digits are those of the pages; the 1,500 before them are trained with."""


def tutorial(folder: Path) -> None:
    """The files of docs/tutorial-your-network.md, as it makes them.

    my_model.py, train.py, best.safetensors, x.npy, y.npy, net.nir, net.ndp.
    """
    for path in _tutorial().iterdir():
        if path.is_file():
            shutil.copy(path, folder)


@cache
def _tutorial() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tutorial"))
    session = Session(folder)
    page = blocks.read(blocks.DOCS / "tutorial-your-network.md")
    made = (["python", "train.py"], ["neurodeploy", "export"], ["neurodeploy", "compile"])
    for block in page.blocks:
        if block.kind == "file":
            session.file(block.title, block.text)
        elif block.kind == "console":
            for command in blocks.commands(block.text):
                if command.line.split()[:2] in made:
                    session.command(command.line)
                    assert session.code == 0
    return folder


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 8 x 8 digits: images from 0 to 1, `[1797, 64]`, and their classes."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    return images / 16, classes


def loaded(path: Path) -> ModuleType:
    """A module from a file that stays importable by nobody else."""
    spec = spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(
    module: Any, x: np.ndarray, scores: Callable[[Any], Any], epochs: int, rate: float, batch_axis: int = 0
) -> dict[str, Any]:
    """Train a module by cross-entropy of its scores on the first 1,500 digits; its state dict, in float32.

    Args:
        module: what is trained.
        x: what it takes, `[samples, ...]`, or samples along `batch_axis`.
        scores: from what `forward` returns to `[batch, classes]`.
        epochs: passes.
        rate: Adam's.
        batch_axis: where the samples of x are.
    """
    import torch

    classes = torch.tensor(digits()[1][:1500])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.tensor(x, dtype=torch.float64)
    module = module.double().train()
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    for _ in range(epochs):
        for batch in torch.randperm(1500).split(50):
            loss = torch.nn.functional.cross_entropy(scores(module(x.index_select(batch_axis, batch))), classes[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    torch.set_num_threads(threads)
    return {name: value.detach().float() for name, value in module.state_dict().items()}
