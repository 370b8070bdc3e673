"""A network so small that everything about its run is worked out by hand here.

Neurons forget within a step (du = dv = 4095), so one spikes exactly when the weights of what arrives exceed 5::

    hidden 4 x 3   h0 hears i0 (6), h1 hears i1 (6), h2 hears i0 and i1 (4 each: it takes both), h3 hears i2 (6)
    out 2 x 4      o0 hears h0 (6) and h2 (4), o1 hears h1 (6) and h3 (6); all other weights of both matrices are 0
    skip           o0 hears i2 and o1 hears i1 (6), one step late; a list of two synapses

Spikes by step, three steps, and what follows::

    sample 0   input  i0     i0 i1     i0 i2       sample 1   input  -   i2   i1
               hidden h0     h0 h1 h2  h0 h3                  hidden -   h3   h1
               out    o0     o0 o1     o0 o1                  out    -   o1   o0 o1

(In step 2, o1 of sample 0 hears i1 of the step before, and o0 of sample 1 hears i2, which alone makes it spike.)
Neurons that are not at rest, because something arrives or something that was too little is still there::

    sample 0   hidden h0 h2  h0 h1 h2  h0 h2 h3    sample 1   hidden -   h3   h1 h2
               out    o0     o0 o1     o0 o1                  out    -   o1   o0 o1

h0 and h1 are on core 0, h2 and h3 on core 5, out on core 9: tiles 0, 1 and 2 in one row. What the network does in one
step, each layer does a chip step after the one before it: five chip steps in all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.network.connectivity import Dense, Sparse
from neurodeploy.network.network import Handle, Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import CoreUse, Program

STEPS, CHIP_STEPS, SAMPLES = 3, 5, 2
USE = (CoreUse(0, 2, 11, 3, 4), CoreUse(5, 2, 12, 5, 6), CoreUse(9, 2, 13, 7, 8))
FACTS = {
    "framework": "snntorch", "framework_version": "0.9.1", "nir": "1.0.6", "neurodeploy": "0.1.0", "source": "net.nir",
    "sha256": "abc",
}  # fmt: skip


def lif(neurons: int, spiking: bool = True) -> Lif:
    """Neurons that forget within a step and spike above 5."""
    values = (4095, 4095, 0, 5 << 6, 0, 0)
    return Lif(*(np.full(neurons, value, np.int32) for value in values), spiking=spiking)


def network() -> Network:
    hidden = np.array([[6, 0, 0], [0, 6, 0], [4, 4, 0], [0, 0, 6]], np.int16)
    out = np.array([[6, 0, 4, 0], [0, 6, 0, 6]], np.int16)
    skip = np.array([[0, 0, 6], [0, 6, 0]], np.int16)
    matrix = Dense(skip).to_csr()
    matrix.eliminate_zeros()
    return Network(
        "by hand",
        (
            Population("input", (3,), Source(), Handle(nodes=("input",))),
            Population("hidden", (2, 1, 2), lif(4), Handle("net.1")),
            Population("out", (2,), lif(2), Handle("net.3"), scale=2.0),
        ),
        (
            Projection("input-hidden", "input", "hidden", Dense(hidden)),
            Projection("hidden-out", "hidden", "out", Dense(out)),
            Projection("skip", "input", "out", Sparse.from_csr(matrix), delay=1),
        ),
        ("out",),
        2e-3,
        "loihi",
        {"pool1": "folded into the weights"},
    )


def program() -> Program:
    return Program(
        network(), "loihi1", {"hidden": np.array([0, 0, 5, 5], np.int32), "out": np.array([9, 9], np.int32)}, USE, FACTS
    )


def spikes() -> np.ndarray:
    """``[time, samples, inputs]``."""
    first, second = [[1, 0, 0], [1, 1, 0], [1, 0, 1]], [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    return np.array([first, second], np.uint8).transpose(1, 0, 2)


def chip(**changes: Any) -> Architecture:
    """Loihi 1 with limits that all differ."""
    content = load_architecture("loihi1").model_dump()
    for name, value in {"axons_in_per_core": 400, "axons_out_per_core": 500, **changes}.items():
        content["limits"][name] = None if value is None else {**content["limits"][name], "value": value}
    return Architecture.model_validate(content)
