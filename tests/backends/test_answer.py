"""Every back-end records the potentials that an answer reads, unasked, and so gives the same answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.backends import get, lava
from neurodeploy.backends.lava import script
from neurodeploy.backends.lava.setup import setup
from neurodeploy.backends.onnx.run import run_network as run_onnx
from neurodeploy.network.answer import Answer, OverTime, Returned, Series
from neurodeploy.network.network import Network
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, returned
from tests.answers import Drawn
from tests.networks import placed, random_network

REFERENCE = get("reference")


def answered(seed: int, arithmetic: str) -> tuple[Program, dict[str, np.ndarray]]:
    """A random network with a random answer over all its populations, and an input."""
    rng = np.random.default_rng(seed)
    network = random_network(seed, arithmetic, slow=False)
    neurons = [p for p in network.populations if not p.external]
    leaves = [Series(p.name, "potential", (p.size,)) for p in neurons]
    leaves += [Series(p.name, "spikes", p.shape) for p in neurons if p.spiking]
    drawn = Drawn(rng, leaves, 7).answer()
    answer = Answer((*drawn.returned, Returned(OverTime(leaves[0], "max")), Returned(leaves[-1])))
    scaled = tuple(replace(p, scale=1 + rng.random(p.size)) if p in neurons else p for p in network.populations)
    network = replace(network, answer=answer, populations=scaled)
    return placed(network), {p.name: (rng.random((7, 3, p.size)) < 0.4).astype(np.uint8) for p in network.inputs}


def assert_answer(network: Network, found, expected, tolerance: float = 0.0) -> None:
    shown = {p.name for p in network.populations if network.shows(p.name)}
    assert set(found.states["v"]) == shown and shown >= {network.populations[1].name} - {"always"}
    for a, b in zip(returned(network, found), returned(network, expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize("seed", range(12))
def test_hwsim_gives_the_answer_of_the_reference(seed: int, arithmetic: str) -> None:
    program, x = answered(seed, arithmetic)
    found, expected = get("hwsim")(program, x), REFERENCE(program, x)
    assert_answer(program.network, found, expected, 1e-9 if arithmetic == "float" else 0.0)
    everything = REFERENCE(program, x, record=Record(("u", "v")))
    for a, b in zip(returned(program.network, expected), returned(program.network, everything), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_onnxruntime_gives_the_answer_of_the_reference(seed: int, scan: bool) -> None:
    program, x = answered(seed, "float")
    found = run_onnx(program.network, x, scan=scan)
    assert_answer(program.network, found, REFERENCE(program, x), 1e-6)


@pytest.mark.parametrize("arithmetic", ["loihi", "float"])
@pytest.mark.parametrize("seed", range(2))
def test_lava_gives_the_answer_of_the_reference(seed: int, arithmetic: str) -> None:
    setup()
    program, x = answered(seed, arithmetic)
    assert_answer(program.network, lava.run(program, x), REFERENCE(program, x), 1e-9)


def test_the_script_for_lava_writes_potentials_that_are_read_beside_spikes(tmp_path: Path) -> None:
    from tests.backends.test_lava_script import ran

    setup()
    program, x = answered(1, "loihi")
    script.export(program, tmp_path / "net.py")
    found, expected = ran(tmp_path, x), REFERENCE(program, x)
    for name, values in expected.states["v"].items():
        np.testing.assert_array_equal(found[f"v of {name}"], values)
        if name in expected.spikes:
            np.testing.assert_array_equal(found[f"spikes of {name}"], expected.spikes[name].dense())
