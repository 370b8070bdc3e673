"""What is proven about the range of integers holds for every input, and what leaves it is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.hwsim.engine import run
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.reach import Reach, reach
from neurodeploy.program import overflow
from tests.conformance.programs import random_case
from tests.networks import placed

M = (1 << 23) - 1
BIAS = 4095 << 7


def lif(size: int, **rules: object) -> Lif:
    given = {
        "du": 4095, "dv": 4095, "bias": 0, "threshold": 64, "reset_to": 0, "initial": 0, **rules
    }  # fmt: skip
    arrays = ("du", "dv", "bias", "threshold", "reset_to", "initial", "floor", "refractory", "threshold_jump",
              "threshold_decay")  # fmt: skip
    return Lif(**{k: np.full(size, v, np.int32) if k in arrays else v for k, v in given.items()})  # type: ignore[arg-type]


def one(weights: list[int], neuron: Lif, exponent: int = 0) -> Network:
    kind = Dense(np.array([weights], np.int16), exponent)
    return Network(
        "one",
        (Population("in", (len(weights),), Source()), Population("l", (1,), neuron)),
        (Projection("p", "in", "l", kind),),
        ("l",),
        1e-3,
        "loihi",
    )


def counted(network: Network, steps: int = 12) -> overflow.Left:
    """What leaves its range with all inputs busy; both back-ends must say the same."""
    inputs = {"in": np.ones((steps, 2, network.by_name["in"].size), np.uint8)}
    judge, found = run_network(network, inputs).left, run(placed(network), inputs).left
    assert judge == found
    assert judge is not None
    return judge


def test_current_that_wraps() -> None:
    network = one([254] * 10, lif(1), exponent=6)
    assert reach(network)["l"].u == 10 * 254 * 64 * 64 / M
    assert counted(network) == {"l": {"u_wraps": 24}}
    assert reach(one([254] * 8, lif(1), exponent=6))["l"].bounded
    assert counted(one([254] * 8, lif(1), exponent=6)) == {}


def test_current_that_is_kept_adds_up() -> None:
    """10,000 a step, of which 4095 - 95 of 4096 are kept: 10,000 x 4096 / 96 in the end."""
    assert reach(one([100], lif(1, du=95)))["l"].u == pytest.approx(6400 * 4096 / 96 / M)


@pytest.mark.parametrize("sign", [1, -1])
def test_potential_that_saturates(sign: int) -> None:
    rules = {"reset": "subtract"} if sign > 0 else {}
    network = one([sign * 200], lif(1, dv=0, **rules), exponent=6)
    assert reach(network)["l"] == Reach(200 * 4096 / M, np.inf)
    assert counted(network, 30) == {"l": {"v_saturates": 40}}


def test_saturation_that_costs_nothing_is_not_counted() -> None:
    """Above the threshold a hard reset takes the potential anyway; a floor holds it; a refractory neuron waits."""
    strong = lif(1, bias=BIAS)
    assert counted(one([255] * 8, strong, exponent=6)) == {}
    assert reach(one([255] * 8, strong, exponent=6))["l"].bounded
    floored = lif(1, dv=0, floor=-64)
    assert counted(one([-200], floored, exponent=6), 30) == {}
    assert counted(one([255] * 8, lif(1, bias=BIAS, reset="subtract"), exponent=6)) == {"l": {"v_saturates": 24}}


def test_threshold_that_saturates() -> None:
    network = one([255], lif(1, threshold_decay=0, threshold_jump=M, threshold=64), exponent=6)
    assert reach(network)["l"].v == np.inf
    assert "threshold_saturates" not in counted(network)
    strong = lif(1, threshold_decay=0, threshold_jump=M // 3 * 2, threshold=64, bias=BIAS)
    assert "threshold_saturates" in counted(one([255] * 8, strong, exponent=6))["l"]


def test_a_shared_kernel() -> None:
    kind = Conv2d(np.full((1, 1, 3, 3), 120, np.int16), (1, 6, 6), exponent=7)
    network = Network(
        "conv",
        (Population("in", (1, 6, 6), Source()), Population("l", (1, 4, 4), lif(16))),
        (Projection("p", "in", "l", kind),),
        ("l",),
        1e-3,
        "loihi",
    )
    assert reach(network)["l"].u == pytest.approx(9 * 120 * 128 * 64 / M)
    assert counted(network) == {"l": {"u_wraps": 16 * 24}}


def test_proven_bounds_hold() -> None:
    """No population of a random program leaves a range that was proven."""
    left = bounded = 0
    for seed in range(150):
        case = random_case(seed, "loihi")
        network = case.program.network
        proven = reach(network)
        found = run_network(network, case.inputs).left
        assert found is not None
        for name, row in found.items():
            left += 1
            assert proven[name].u > 1 or "u_wraps" not in row, (seed, name)
            assert proven[name].v > 1 or set(row) == {"u_wraps"}, (seed, name)
        bounded += sum(r.bounded for r in proven.values())
    assert left > 20
    assert bounded > 20


def test_said() -> None:
    network = one([254] * 10, lif(1), exponent=6)
    lines = overflow.said(counted(network), network, 12, 2)
    assert len(lines) == 1
    assert lines[0].startswith(
        "integers left their range in 'l': of 24 neuron-steps its current wrapped in 24 (100.00 %); compile with"
    )
    assert overflow.said({}, network, 12, 2) == []
    assert "does not count" in overflow.said(None, network, 12, 2)[0]
    assert overflow.said(None, one([254] * 8, lif(1), exponent=6), 12, 2) == []


@pytest.mark.parametrize("decay", [127, 100])
def test_narrow_arrays_count_as_the_numbers_they_hold(decay: int) -> None:
    """A file may keep small registers in 8 bits."""
    wide = one([100] * 4, lif(1, du=decay, dv=decay))
    small = replace(wide.populations[1].neuron, du=np.full(1, decay, np.int8), dv=np.full(1, decay, np.int8))
    narrow = replace(wide, populations=(wide.populations[0], replace(wide.populations[1], neuron=small)))
    assert reach(narrow) == reach(wide)
    inputs = {"in": np.ones((40, 1, 4), np.uint8)}
    runs = [r for n in (wide, narrow) for r in (run_network(n, inputs), run(placed(n), inputs))]
    assert len({tuple(r.spikes["l"].time) for r in runs}) == 1
