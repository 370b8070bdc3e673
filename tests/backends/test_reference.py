"""The reference against figures that are not ours: Lava's golden vectors (stock runtime, 0.10.0), and arithmetic."""

import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.recording import Record


def driven(neuron: Lif, currents: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u, v and spikes, each ``[neurons][time]``, of neurons whose arriving currents are given ``[neurons][time]``.

    Each step has an input neuron of its own, whose weights are the currents of that step.
    """
    weights = np.array(currents)
    steps = weights.shape[1]
    network = Network(
        "driven",
        (Population("input", (steps,), Source()), Population("n", (len(weights),), neuron)),
        (Projection("p", "input", "n", Dense(weights)),),
        ("n",),
        1e-3,
        "loihi",
    )
    run = run_network(network, {"input": np.eye(steps, dtype=int)[:, None]}, record=Record(("u", "v")))
    return run.states["u"]["n"][:, 0].T, run.states["v"]["n"][:, 0].T, run.spikes["n"].dense()[:, 0].T.astype(int)


def lif(size: int, du: int, dv: int, vth: int, bias: list[int]) -> Lif:
    full = np.full
    return Lif(full(size, du), full(size, dv), np.array(bias), full(size, vth << 6), full(size, 0), full(size, 0))


def test_golden_decay_bias_and_strict_threshold() -> None:
    """Lava's G1: du 2047, dv 1024, vth 10, bias mantissa [0, 5], exponent [0, 5]."""
    u, v, s = driven(lif(2, 2047, 1024, 10, [0, 5 << 5]), [[10, 0, 0, -10, 0, 0, 3, 0], [0, 1, 1, 1, 1, 1, 1, 1]])
    assert u.tolist() == [[640, 320, 160, -560, -280, -140, 122, 61], [0, 64, 96, 112, 120, 124, 126, 127]]
    assert v.tolist() == [[640, 0, 160, -440, -610, -597, -325, -182], [160, 344, 514, 0, 280, 494, 0, 287]]
    assert s.tolist() == [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 1, 0]]


def test_golden_current_wraps_and_potential_saturates() -> None:
    """Lava's G2: du 0, dv 0, vth 2^17 - 1."""
    u, v, s = driven(
        lif(2, 0, 0, 131071, [0, 0]),
        [[131071, 131071, 1, 0, -131072, -131072, -131072, 0], [131072, 0, 0, 0, -131072, 0, 1, 0]],
    )
    assert u.tolist() == [
        [8388544, -2176, -2111, -2110, 8386499, -4157, 8384453, 8382406],
        [8388608, 8386560, 8384512, 8382465, -8190, -8188, -8122, -8120],
    ]
    assert v.tolist() == [
        [8388544, 8386368, 8384257, 8382147, 0, -4157, 8380296, 0],
        [0, 8386560, 0, 8382465, 8374275, 8366087, 8357965, 8349845],
    ]
    assert s.tolist() == [[0, 0, 0, 0, 1, 0, 0, 1], [1, 0, 1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("exponent", "expected"),
    # Lava's G3 with 8-bit inhibitory weights and exponent -3 rounds down: -255 >> 3 = -32, -7 >> 3 = -1.
    [(0, [-255, -7]), (1, [-510, -14]), (-3, [-32, -1])],
)
def test_exponent_acts_on_the_sum_and_rounds_down(exponent: int, expected: list[int]) -> None:
    neuron = lif(2, 4095, 0, 131071, [0, 0])
    network = Network(
        "n",
        (Population("input", (1,), Source()), Population("n", (2,), neuron)),
        (Projection("p", "input", "n", Dense(np.array([[-255], [-7]]), exponent)),),
        ("n",),
        1e-3,
        "loihi",
    )
    run = run_network(network, {"": np.ones((1, 1, 1), int)}, record=Record(("u",)))
    assert (run.states["u"]["n"][0, 0] >> 6).tolist() == expected


def float_lif(**changes) -> Lif:
    values = {"du": 1.0, "dv": 0.0, "bias": 0.0, "threshold": 1.0, "reset_to": 0.0, "initial": 0.0}
    options = {k: changes.pop(k) for k in ("reset", "comparison", "spiking") if k in changes}
    return Lif(**{k: np.array([float(v)]) for k, v in (values | changes).items()}, **options)


def one(neuron: Lif, weight: float, steps: int, delay: int = 0) -> list[list[float]]:
    network = Network(
        "n",
        (Population("input", (1,), Source()), Population("n", (1,), neuron)),
        (Projection("p", "input", "n", Dense(np.array([[weight]])), delay=delay),),
        ("n",),
        1e-3,
    )
    run = run_network(network, {"": np.ones((steps, 1, 1))}, record=Record(("v",)))
    spikes = run.spikes["n"].dense()[:, 0, 0].astype(int).tolist() if neuron.spiking else []
    return [np.round(run.states["v"]["n"][:, 0, 0], 12).tolist(), spikes]


def test_resets() -> None:
    # Weight 0.75: v = 0.75, 1.5 -> spike. Hard resets to 0.2; subtract leaves 0.5, then 1.25 -> 0.25; none stays.
    # In the fourth step of subtract v is exactly 1, which is not above the threshold.
    assert one(float_lif(reset_to=0.2), 0.75, 4) == [[0.75, 0.2, 0.95, 0.2], [0, 1, 0, 1]]
    assert one(float_lif(reset="subtract"), 0.75, 4) == [[0.75, 0.5, 0.25, 1.0], [0, 1, 1, 0]]
    assert one(float_lif(reset="none"), 0.75, 3) == [[0.75, 1.5, 2.25], [0, 1, 1]]


def test_threshold_equality_is_a_convention() -> None:
    assert one(float_lif(comparison=">"), 0.5, 3)[1] == [0, 0, 1]
    assert one(float_lif(comparison=">="), 0.5, 3)[1] == [0, 1, 0]


def test_delay_decay_and_readout() -> None:
    # du 0.5: u = 1, 1.5, 1.75; dv 0.25: v = 1, 0.75 + 1.5 = 2.25, 1.6875 + 1.75 = 3.4375; one step later with delay 1.
    assert one(float_lif(du=0.5, dv=0.25, spiking=False), 1.0, 3)[0] == [1.0, 2.25, 3.4375]
    assert one(float_lif(du=0.5, dv=0.25, spiking=False), 1.0, 4, delay=1)[0] == [0.0, 1.0, 2.25, 3.4375]


def test_wrong_inputs_are_named() -> None:
    network = Network(
        "n",
        (Population("x", (2, 3), Source()), Population("n", (1,), lif(1, 0, 0, 1, [0]))),
        (Projection("p", "x", "n", Dense(np.ones((1, 6), int))),),
        ("n",),
        1e-3,
        "loihi",
    )
    with pytest.raises(InvalidInputError) as caught:
        run_network(network, {"": np.ones((4, 2, 5))})
    assert str(caught.value) == (
        "input 'x' has the wrong shape\n  found:   [4, 2, 5]\n  allowed: [time, batch, 2, 3]\n"
        "  to do:   put time first, then the batch (use one sample as a batch of 1)"
    )
    with pytest.raises(InvalidInputError, match="is not binary"):
        run_network(network, {"": np.full((4, 2, 2, 3), 0.5)})
    with pytest.raises(InvalidInputError, match="do not match the network"):
        run_network(network, {"y": np.ones((4, 2, 2, 3))})
    with pytest.raises(InvalidInputError, match="is empty"):
        run_network(network, {"": np.ones((0, 2, 2, 3))})
