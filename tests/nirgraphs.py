"""NIR graphs for the tests, written to disk as other tools would."""

from __future__ import annotations

import itertools
from pathlib import Path

import nir
import numpy as np


def lif(shape, tau=5e-3, r=1.0, threshold=0.4, leak=0.0, reset=0.0) -> nir.LIF:
    full = np.full
    return nir.LIF(full(shape, tau), full(shape, r), full(shape, leak), full(shape, threshold), full(shape, reset))


def sequence(shape: tuple[int, ...], nodes: dict[str, nir.NIRNode]) -> nir.NIRGraph:
    names = ["input", *nodes, "output"]
    last = list(nodes.values())[-1]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(last.output_type["output"])}
    return nir.NIRGraph(
        {"input": ends["input"], **nodes, "output": ends["output"]},
        list(itertools.pairwise(names)),
        type_check=False,
    )


def write(graph: nir.NIRGraph, path: Path) -> Path:
    nir.write(path, graph)
    return path


def mlp(seed: int = 0, bias: float = 0.1) -> nir.NIRGraph:
    """12 -> 20 LIF -> 5 LIF."""
    rng = np.random.default_rng(seed)
    return sequence(
        (12,),
        {
            "fc1": nir.Affine(rng.normal(size=(20, 12)) * 0.8, rng.normal(size=20) * bias),
            "lif1": lif(20),
            "fc2": nir.Affine(rng.normal(size=(5, 20)) * 0.8, rng.normal(size=5) * bias),
            "lif2": lif(5),
        },
    )


def conv(seed: int = 0) -> nir.NIRGraph:
    """1x8x8 -> conv 4 -> LIF -> average pooling 2 -> conv 6 -> LIF -> sum pooling 2 -> flatten -> 10 LI."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape)

    return sequence(
        (1, 8, 8),
        {
            "conv1": nir.Conv2d((8, 8), normal(4, 1, 3, 3), 1, 1, 1, 1, normal(4) * 0.1),
            "lif1": lif((4, 8, 8)),
            "pool1": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "conv2": nir.Conv2d((4, 4), normal(6, 4, 3, 3), 1, 1, 1, 1, normal(6) * 0.1),
            "lif2": lif((6, 4, 4)),
            "pool2": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "flat": nir.Flatten({"input": np.array([6, 2, 2])}, 0, -1),
            "fc": nir.Affine(normal(10, 24) * 0.3, normal(10) * 0.1),
            "readout": nir.LI(np.full(10, 1e-2), np.full(10, 1.0), np.full(10, 0.0)),
        },
    )


def recurrent(seed: int = 0) -> nir.NIRGraph:
    """6 -> 8 CubaLIF with a recurrent Affine -> 3 LIF, and a skip from the input."""
    rng = np.random.default_rng(seed)
    full = np.full
    nodes = {
        "input": nir.Input(np.array([6])),
        "fc1": nir.Affine(rng.normal(size=(8, 6)), rng.normal(size=8) * 0.1),
        "hidden": nir.CubaLIF(
            full(8, 4e-3), full(8, 8e-3), full(8, 3.0), full(8, 0.05), full(8, 0.3), full(8, -0.1), full(8, 2.0)
        ),
        "rec": nir.Affine(rng.normal(size=(8, 8)) * 0.4, rng.normal(size=8) * 0.1),
        "fc2": nir.Linear(rng.normal(size=(3, 8))),
        "skip": nir.Linear(rng.normal(size=(3, 6)) * 0.5),
        "out": lif(3, threshold=0.3, leak=0.1, reset=-0.2),
        "output": nir.Output(np.array([3])),
    }
    edges = [
        ("input", "fc1"), ("fc1", "hidden"), ("hidden", "rec"), ("rec", "hidden"),
        ("hidden", "fc2"), ("fc2", "out"), ("input", "skip"), ("skip", "out"), ("out", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, type_check=False)
