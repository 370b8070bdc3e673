"""Six recordings of lava-nc 0.10.0 that others made with its own runtime, reproduced by every back-end in integers.

Two of LIF neurons and one of weights are in ``tests/backends/test_lava_golden.py`` with the numbers; here they and the
other three (delays with recurrence, a convolution, learning) run on all back-ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.backends.lava.setup import setup
from neurodeploy.errors import UnsupportedError
from neurodeploy.network import loihi_ranges
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.plasticity import LearningRule, Trace
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording
from tests.backends.lava_networks import lif, program
from tests.backends.test_lava_golden import G1, G2, G3, with_currents
from tests.conformance import engines

EVERYTHING = Record(("u", "v"), learning=True)
NAMES = (engines.JUDGE, *engines.under_test())
every_backend = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> None:
    setup()


def run(name: str, which: Program, inputs: dict[str, np.ndarray]) -> Recording:
    try:
        return engines.run_of(name)(which, inputs, record=EVERYTHING)
    except UnsupportedError as refused:  # one that is installed as a plug-in may refuse what it likes
        if name in backends.BUILTIN:
            raise
        pytest.skip(str(refused))


@every_backend
@pytest.mark.parametrize(
    ("golden", "neuron"),
    [
        (G1, lif(2, du=2047, dv=1024, threshold=10 << 6, bias=[0, 5 << 5])),
        (G2, lif(2, du=0, dv=0, threshold=131071 << 6)),
    ],
    ids=["G1", "G2"],
)
def test_neurons(name: str, golden: dict[str, list[list[int]]], neuron: Lif) -> None:
    """Decay, bias, the strict threshold; wrapping of u, saturation of v."""
    found = run(name, *with_currents(golden["a"], neuron))
    assert found.states["u"]["n"][:, 0].T.tolist() == golden["u"]
    assert found.states["v"]["n"][:, 0].T.tolist() == golden["v"]
    assert found.spikes["n"].dense()[:, 0].T.astype(int).tolist() == golden["s"]


@every_backend
@pytest.mark.parametrize("kind", G3)
def test_weights(name: str, kind: str) -> None:
    """Truncation by sign mode and number of bits, and the shift of the sum; u without memory is the current."""
    raw, bits, exponent, effective, currents = G3[kind]
    weights = loihi_ranges.effective_weights(np.array(raw), bits)
    assert weights.tolist() == effective
    populations = [Population("in", (4,), Source()), Population("n", (2,), lif(2, du=4095))]
    which = program(populations, [Projection("w", "in", "n", Dense(weights, exponent))])
    found = run(name, which, {"in": np.eye(4, dtype=bool)[:, None]})
    assert (found.states["u"]["n"][:, 0].T // 64).tolist() == currents


@every_backend
def test_delays_and_recurrence(name: str) -> None:
    """G4: DelayDense with a delay for each synapse, a loop. Lava's first step is the hop before network step 0."""
    s_in = np.array([[1, 0, 0, 0, 0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]])
    weights, delays = np.array([[100, 50], [-60, 120]]), np.array([[0, 2], [1, 0]])
    populations = [Population("in", (2,), Source()), Population("n", (2,), lif(2, du=4095, dv=0, threshold=90 << 6))]
    projections = [
        Projection(f"d{d}", "in", "n", Dense(np.where(delays == d, weights, 0).astype(np.int16)), d) for d in range(3)
    ]
    projections.append(Projection("loop", "n", "n", Dense(np.array([[0, 80], [-40, 0]], np.int16), 1), 1))
    found = run(name, program(populations, projections), {"in": s_in.T[:, None]})
    u = [[0, 6400, 0, 0, 3200, 0, 0, 6400, 0, 0], [0, 0, -1280, 0, 0, 0, 0, 0, -8960, 0]]
    v = [[0, 0, 0, 0, 3200, 3200, 3200, 0, 0, 0], [0, 0] + [-1280] * 6 + [-10240] * 2]
    s = [[0, 1, 0, 0, 0, 0, 0, 1, 0, 0], [0] * 10]
    for expected, values in ((u, found.states["u"]["n"]), (v, found.states["v"]["n"])):
        assert values[:9, 0].T.tolist() == [row[1:] for row in expected]
    assert found.spikes["n"].dense()[:9, 0].T.astype(int).tolist() == [row[1:] for row in s]


@every_backend
def test_convolution(name: str) -> None:
    """G5: Lava's Conv ignores ``weight_exp`` and ``num_weight_bits``; width, height, channel; flipped kernels."""
    weight = np.array([[[[6], [12]], [[-20], [12]]], [[[-2], [0]], [[5], [-9]]]])
    s_in = np.array([[[1, 1], [1, 1], [1, 0]], [[0, 1], [1, 0], [0, 0]], [[1, 1], [0, 1], [1, 1]]])  # width, height, t
    a_out = np.array(
        [[[[0, -2, 4], [0, -6, -4]], [[0, 4, 12], [0, -4, -9]]],
         [[[0, -8, 30], [0, 5, -11]], [[0, 18, 18], [0, -11, -2]]]]
    )  # fmt: skip
    if not (weight[1] % 2 == 0).all():  # our integers have even weights of both signs: twice the kernel, twice the sum
        weight, a_out = 2 * weight, 2 * a_out
    ours = weight.transpose(0, 3, 2, 1)[:, :, ::-1, ::-1].astype(np.int16)
    kind = Conv2d(np.ascontiguousarray(ours), (1, 3, 3))
    populations = [Population("in", (1, 3, 3), Source()), Population("n", (2, 2, 2), lif(8, du=4095))]
    image = s_in.transpose(2, 1, 0)[:, None, None]  # time, batch, channel, height, width
    found = run(name, program(populations, [Projection("k", "in", "n", kind)]), {"in": image})
    u = found.states["u"]["n"][:, 0].reshape(2, 2, 2, 2)  # time, channel, height, width
    np.testing.assert_array_equal(u // 64, a_out[..., 1:].transpose(3, 2, 1, 0))


@every_backend
@pytest.mark.parametrize(
    "dw", ["(1) * (-1) * x0 * y1 +(1) * (1) * y0 * x1", "-1*x0*y1 + 2^0*y0*x1"], ids=["as Lava has it", "as we do"]
)
def test_learning(name: str, dw: str) -> None:
    """G6: pairwise STDP with stochastic rounding. The targets are made to spike when the recording's did."""
    pre = np.array([[1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0], [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]])
    post = np.array([0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0])
    rule = LearningRule(dw, x1=Trace(16, 10), y1=Trace(20, 10), epoch=2, seed=42)
    drive = np.append(post[1:], 0)  # a target hears its input one step before its synapse hears of its spike
    populations = [
        Population("pre", (2,), Source()),
        Population("drive", (1,), Source()),
        Population("post", (1,), lif(1, du=4095, dv=4095, threshold=1000 << 6)),
    ]
    projections = [
        Projection("learns", "pre", "post", Dense(np.array([[60, 60]], np.int16)), rule=rule),
        Projection("drives", "drive", "post", Dense(np.array([[254]], np.int16), 3)),
    ]
    inputs = {"pre": pre.T[:, None], "drive": drive[:, None, None]}
    found = run(name, program(populations, projections), inputs)
    learned: Any = {key: value[:, 0] for key, value in found.learned["learns"].items()}
    first = [60, 75, 75, 59, 59, 59, 59, 80, 80, 84, 84, 44]
    second = [60, 60, 60, 42, 42, 30, 30, 55, 55, 74, 74, 38]
    assert learned["weights"][:, 0].T.tolist() == [first, second]
    x1 = [[0, 15, 15, 29, 29, 23, 23, 19, 19, 30, 30, 39], [0, 0, 0, 15, 15, 28, 28, 23, 23, 19, 19, 31]]
    assert learned["x1"].T.tolist() == x1
    assert learned["y1"][:, 0].tolist() == [0, 20, 20, 16, 16, 12, 12, 28, 28, 44, 44, 36]
    current = found.states["u"]["post"][:, 0, 0] // 64 - 8 * 254 * drive
    assert current[:11].tolist() == [60, 0, 60, 75, 0, 42, 0, 0, 80, 0, 84]  # Lava's a_out, a step later there
