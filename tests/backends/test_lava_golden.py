"""Golden vectors of lava-nc 0.10.0 that others recorded (shared/reference/lava.md, section 4.9), run on the sidecar.

They were taken with Lava's stock runtime on six combinations of interpreter and NumPy, so they judge the shim, the
sidecar's versions, our lowering and the alignment of its results at once.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy.backends.lava as package
from neurodeploy.backends import lava
from neurodeploy.backends.lava.setup import setup, worker_command
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.recording import Record
from tests.backends.lava_networks import lif, program

G1 = {
    "a": [[10, 0, 0, -10, 0, 0, 3, 0], [0, 1, 1, 1, 1, 1, 1, 1]],
    "u": [[640, 320, 160, -560, -280, -140, 122, 61], [0, 64, 96, 112, 120, 124, 126, 127]],
    "v": [[640, 0, 160, -440, -610, -597, -325, -182], [160, 344, 514, 0, 280, 494, 0, 287]],
    "s": [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 1, 0]],
}
G2 = {
    "a": [[131071, 131071, 1, 0, -131072, -131072, -131072, 0], [131072, 0, 0, 0, -131072, 0, 1, 0]],
    "u": [
        [8388544, -2176, -2111, -2110, 8386499, -4157, 8384453, 8382406],
        [8388608, 8386560, 8384512, 8382465, -8190, -8188, -8122, -8120],
    ],
    "v": [
        [8388544, 8386368, 8384257, 8382147, 0, -4157, 8380296, 0],
        [0, 8386560, 0, 8382465, 8374275, 8366087, 8357965, 8349845],
    ],
    "s": [[0, 0, 0, 0, 1, 0, 0, 1], [1, 0, 1, 0, 0, 0, 0, 0]],
}
RAW = [[-300, -7, -1, 1], [5, 6, 255, 300]]
MAGNITUDE = [[300, 7, 1, 1], [5, 6, 255, 300]]
G3 = {
    # name: (raw weights, bits, exponent, effective weights, a_out of both neurons at t = 2 .. 5; at t = 1 it is 0)
    "mixed 8b e0": (RAW, 8, 0, [[-256, -8, -2, 0], [4, 6, 254, 254]], [[-256, -8, -2, 0], [4, 6, 254, 254]]),
    "mixed 6b e-1": (RAW, 6, -1, [[-256, -8, -8, 0], [0, 0, 248, 248]], [[-128, -4, -4, 0], [0, 0, 124, 124]]),
    "exc 8b e-2": (MAGNITUDE, 8, -2, [[255, 7, 1, 1], [5, 6, 255, 255]], [[63, 1, 0, 0], [1, 1, 63, 63]]),
    "exc 5b e1": (MAGNITUDE, 5, 1, [[248, 0, 0, 0], [0, 0, 248, 248]], [[496, 0, 0, 0], [0, 0, 496, 496]]),
    "inh 8b e0": (
        [[-300, -7, -1, -1], [-5, -6, -255, -300]],
        *(8, 0),
        [[-255, -7, -1, -1], [-5, -6, -255, -255]],
        [[-255, -7, -1, -1], [-5, -6, -255, -255]],
    ),
    "inh 7b e-3": (
        [[-300, -7, -1, -1], [-5, -6, -255, -300]],
        *(7, -3),
        [[-254, -6, 0, 0], [-4, -6, -254, -254]],
        [[-32, -1, 0, 0], [-1, -1, -32, -32]],
    ),
}


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> Path:
    return setup()


def with_currents(currents: list[list[int]], neuron: Lif) -> tuple[Any, dict[str, np.ndarray]]:
    """A network that gives a population exactly these currents ``[neuron][step]``.

    In step ``t`` the block ``t`` of five sources spikes; their weights are an amount's parts above 2^7, in up to five
    8-bit weights with exponent 7, and its last seven bits; once for each sign.
    """
    amounts = np.array(currents)
    neurons, steps = amounts.shape
    projections = []
    for sign in (1, -1):
        high, low = np.divmod(np.maximum(sign * amounts, 0), 128)
        coarse = np.clip(high[:, :, None] - 255 * np.arange(5), 0, 255)
        fine = np.zeros_like(coarse)
        fine[:, :, 0] = low
        for exponent, parts in ((7, coarse), (0, fine)):
            kind = Dense(sign * parts.reshape(neurons, -1).astype(np.int16), exponent)
            projections.append(Projection(f"{sign} {exponent}", "in", "n", kind))
    blocks = np.repeat(np.eye(steps, dtype=bool), 5, axis=1)[:, None]
    populations = [Population("in", (5 * steps,), Source()), Population("n", (neurons,), neuron)]
    return program(populations, projections), {"in": blocks}


@pytest.mark.parametrize(
    ("golden", "neuron"),
    [
        (G1, lif(2, du=2047, dv=1024, threshold=10 << 6, bias=[0, 5 << 5])),
        (G2, lif(2, du=0, dv=0, threshold=131071 << 6)),
    ],
)
def test_neurons(golden: dict[str, list[list[int]]], neuron: Lif) -> None:
    which, inputs = with_currents(golden["a"], neuron)
    got = lava.run(which, inputs, record=Record(("u", "v")))
    assert got.states["u"]["n"][:, 0].T.tolist() == golden["u"]
    assert got.states["v"]["n"][:, 0].T.tolist() == golden["v"]
    assert got.spikes["n"].dense()[:, 0].T.astype(int).tolist() == golden["s"]


@pytest.mark.parametrize("name", G3)
def test_effective_weights_pass_through_our_lowering(name: str) -> None:
    """``u`` without memory is the arriving current, times 64."""
    _, _, exponent, effective, currents = G3[name]
    populations = [Population("in", (4,), Source()), Population("n", (2,), lif(2, du=4095))]
    kind = Dense(np.array(effective, dtype=np.int16), exponent)
    which = program(populations, [Projection("w", "in", "n", kind)])
    got = lava.run(which, {"in": np.eye(4, dtype=bool)[:, None]}, record=Record(("u",)))
    assert (got.states["u"]["n"][:, 0].T // 64).tolist() == currents


DENSE = """
import json, sys
sys.path[0] = sys.argv[1]
from worker import shim
shim.install()
import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer
inputs = np.hstack([np.eye(4, dtype=int), np.ones((4, 1), dtype=int)])
source, sinks = RingBuffer(data=inputs), []
for weights, bits, exponent in json.loads(sys.argv[2]):
    dense = Dense(weights=np.array(weights), num_weight_bits=bits, weight_exp=exponent)
    sinks.append(Sink(shape=(2,), buffer=5))
    source.s_out.connect(dense.s_in)
    dense.a_out.connect(sinks[-1].a_in)
source.run(condition=RunSteps(num_steps=5), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
result = [sink.data.get().astype(int).tolist() for sink in sinks]
source.stop()
print(json.dumps(result))
"""


def test_truncation_of_weights() -> None:
    """Raw weights in Lava itself: the truncation that `registers.sign_mode` relies on."""
    raw = json.dumps([golden[:3] for golden in G3.values()])
    folder = str(Path(package.__file__).parent)
    done = subprocess.run(
        [*worker_command(), "-c", DENSE, folder, raw], capture_output=True, text=True, timeout=60, check=True
    )
    for golden, rows in zip(G3.values(), json.loads(done.stdout), strict=True):
        assert rows == [[0, *row] for row in golden[4]]
