"""Networks and tables for the page that fits them on a chip."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np

from tests.nirgraphs import sequence, write


def large(folder: Path) -> None:
    """``large.nir``: too many axons onto a neuron, too many neurons, too long a delay."""
    nodes: dict[str, nir.NIRNode] = {
        "fc1": nir.Linear(np.full((5, 5_000), 0.1)),
        "lif1": _neurons(5),
        "wait": nir.Delay(np.full(5, 0.2)),
        "fc2": nir.Linear(np.full((3, 5), 0.1)),
        "lif2": _neurons(3),
        "fc3": nir.Linear(np.full((140_000, 3), 0.1)),
        "lif3": _neurons(140_000),
    }
    write(sequence((5_000,), nodes), folder / "large.nir")


def images(folder: Path) -> None:
    """``images.nir``: two convolutions on 12 x 12 images of two channels, ten neurons behind them."""
    kernels = np.random.default_rng(0).normal(size=(8, 8, 3, 3))
    nodes: dict[str, nir.NIRNode] = {
        "conv1": nir.Conv2d((12, 12), kernels[:, :2], 1, 1, 1, 1, np.zeros(8)),
        "lif1": _neurons(8, 12, 12),
        "conv2": nir.Conv2d((12, 12), kernels, 1, 1, 1, 1, np.zeros(8)),
        "lif2": _neurons(8, 12, 12),
        "flatten": nir.Flatten({"input": np.array([8, 12, 12])}, 0),
        "fc": nir.Linear(np.full((10, 1152), 0.1)),
        "lif3": _neurons(10),
    }
    write(sequence((2, 12, 12), nodes), folder / "images.nir")


def _neurons(*shape: int) -> nir.IF:
    return nir.IF(np.ones(shape), np.ones(shape), np.zeros(shape))
