"""Kernels compiled before they are needed: what the image of a container holds, so that no run in it has to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import nir
import numpy as np

from neurodeploy.compiler import CompileOptions

from .model import Model, load


def warm() -> None:
    """Compile what `compile`, `run` and `cost` use, by a small network (10 to 60 s); numba keeps it."""
    size = np.ones(3, np.float32)
    neurons = nir.LIF(tau=0.01 * size, r=size, v_leak=0 * size, v_threshold=size)
    nodes = {
        "input": nir.Input(np.array([2])),
        "weight": nir.Affine(np.full((3, 2), 7, np.float32), 0 * size),
        "neurons": neurons,
        "between": nir.Affine(np.full((3, 3), 7, np.float32), 0 * size),
        "others": neurons,
        "output": nir.Output(np.array([3])),
    }
    names = list(nodes)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "warm.nir"
        nir.write(path, nir.NIRGraph(nodes, list(pairwise(names))))
        model = load(path)
        assert isinstance(model, Model)
        program = model.compile("loihi1", CompileOptions(conventions={"dt": 1e-3}))
        x = (np.arange(24).reshape(6, 2, 2) % 3 == 0).astype(np.uint8)
        program.run(x)
        program.cost(x, "core")
        program.cost(x, "event")
