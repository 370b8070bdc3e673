"""A gate as a number in a spike, multiplied on the chip, does what the same gate on the host does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy import backends
from neurodeploy.backends.lava.setup import setup
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile, limits_of
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Product, Source
from neurodeploy.passes import PassData
from neurodeploy.passes.gate_on_chip import GateOnChip
from neurodeploy.program.recording import Recording
from tests.conformance import engines, hybrids
from tests.conformance.cases import N, lif
from tests.conformance.compare import EVERYTHING, difference
from tests.conformance.hybrids import STEP, UNIT, graph, layer, source, synapses
from tests.networks import placed

TIMES = [("Mul", "x g", "y")]
BACKENDS = ["reference", *(n for n in engines.under_test() if n != "lava-stock")]


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> None:
    setup()


def times(nodes: list[Any] = TIMES, delay: int = 0, **inputs: list[Any]) -> HostStage:
    model = graph(nodes, {"x": STEP, "g": STEP, **inputs}, {"y": STEP})
    takes = (HostInput("x", "first"), HostInput("g", "opened"))
    return HostStage("times", model, takes, (HostOutput("y", "gated", delay),), "step")


def on_host(integer: bool, stage: HostStage | None = None, seed: int = 11) -> Network:
    """input -> first; the host opens gates of its spikes and multiplies both; -> second."""
    rng = np.random.default_rng(seed)
    parts = [
        source("gated", integer), source("opened", integer), layer("input", Source()),
        layer("first", lif(rng, integer)), layer("second", lif(rng, integer)),
        synapses(rng, integer, "input", "first"), synapses(rng, integer, "gated", "second", graded=True),
    ]  # fmt: skip
    return Network(
        "gated", tuple(p for p in parts if isinstance(p, Population)),
        tuple(p for p in parts if isinstance(p, Projection)), ("second",), 1e-3, "loihi" if integer else "float",
        stages=(hybrids.stage("gate", hybrids.gate(), "first", "opened", "step"), stage or times()),
    )  # fmt: skip


def spikes(seed: int = 0) -> dict[str, np.ndarray]:
    return {"input": (np.random.default_rng(seed).random((14, 3, N)) < 0.4).astype(np.uint8)}


def same(before: Recording, after: Recording, integer: bool) -> str:
    """Where they differ, but in gates, which were no messages before, and in how often integers left their range."""
    spikes = [{name: sent for name, sent in r.spikes.items() if name != "opened"} for r in (before, after)]
    shared = [replace(r, spikes=s, hosted={}, left=None) for r, s in zip((before, after), spikes, strict=True)]
    return difference(*shared, integer)


@pytest.mark.parametrize("integer", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gate_on_the_chip_does_what_it_does_on_the_host(backend: str, integer: bool) -> None:
    network = on_host(integer)
    moved = GateOnChip().apply(network)
    assert [s.name for s in moved.stages] == ["gate"]
    assert isinstance(moved.by_name["gated"].neuron, Product)
    assert "multiplies 'first' and 'opened'" in moved.notes["gate-on-chip times"]
    before, after = (backends.get(backend)(placed(n), spikes(), record=EVERYTHING) for n in (network, moved))
    assert same(before, after, integer) == ""
    sent = after.spikes["gated"]
    assert len(sent) > 20 and len(np.unique(sent.payload)) > 2 and len(after.spikes["second"]) > 20
    opened = GateOnChip().apply(on_host(integer, hybrids.stage("times", hybrids.gate(), "first", "gated", "step")))
    assert len(opened.stages) == 2, "a sigmoid stays on the host"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(0, 3), st.integers(0, 2), st.booleans())
def test_shapes_delays_and_loops(seed: int, delay: int, back: int, turned: bool) -> None:
    """Gates of channels or rows, sent later or not, in a loop that costs a step or more; the order of populations."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 4, 2))
    gate = tuple(1 if rng.random() < 0.4 else n for n in shape)
    size, gates = int(np.prod(shape)), int(np.prod(gate))
    wanted = {"x": ["batch", *shape], "g": ["batch", *gate]}
    nodes = [("Identity", "x", "same"), ("Mul", "g same" if turned else "same g", "y")]
    takes = (HostInput("x", "first"), HostInput("g", "gate"))
    stage = HostStage(
        "times", graph(nodes, wanted, {"y": ["batch", *shape]}), takes, (HostOutput("y", "gated", delay),), "step"
    )
    neurons = [replace(lif(rng, False), **parameters(rng, n)) for n in (size, gates, size)]
    wired = [("input", "first"), ("input", "gate"), ("gated", "second")]
    populations = [
        Population("gated", shape, Source()), Population("input", (5,), Source()),
        Population("first", shape, neurons[0]), Population("gate", gate, neurons[1]),
        Population("second", shape, neurons[2]),
    ]  # fmt: skip
    by_name = {p.name: p.size for p in populations}
    projections = [Projection(f"{a}-{b}", a, b, Dense(rng.normal(size=(by_name[b], by_name[a])))) for a, b in wired]
    if delay + back:
        projections.append(Projection("back", "gated", "first", Dense(rng.normal(size=(size, size))), delay=back))
    network = Network("n", tuple(populations), tuple(projections), ("second",), 1e-3, stages=(stage,))
    moved = GateOnChip().apply(network)
    assert moved.stages == ()
    x = {"input": (rng.random((9, 2, 5)) < 0.5).astype(np.uint8)}
    before, after = run_network(network, x, record=EVERYTHING), run_network(moved, x, record=EVERYTHING)
    assert same(before, after, integer=False) == ""


def parameters(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    one = np.ones(size)
    return {"du": one, "dv": 0.2 * one, "bias": 0.1 * rng.normal(size=size), "threshold": one, "reset_to": 0 * one,
            "initial": 0 * one}  # fmt: skip


def test_both_as_spikes_are_a_spike_in_integers() -> None:
    """Two populations of neurons, multiplied: what a stage sends as spikes, products send as 1."""
    network = on_host(True)
    plain = Population("gated", (N,), Source())
    stage = replace(times(), takes=(HostInput("x", "first"), HostInput("g", "input")))
    kept = [plain if p.name == "gated" else p for p in network.populations if p.name != "opened"]
    network = replace(network, populations=tuple(kept), stages=(stage,))
    moved = GateOnChip().apply(network)
    before, after = (backends.get("hwsim")(placed(n), spikes(), record=EVERYTHING) for n in (network, moved))
    assert moved.stages == () and same(before, after, True) == ""


def other_scale(network: Network) -> Network:
    other = replace(network.by_name["opened"], scale=2.0 * UNIT)
    return replace(network, populations=tuple(other if p.name == "opened" else p for p in network.populations))


def from_image(network: Network) -> Network:
    stage = replace(network.stages[1], takes=(HostInput("x", "first"), HostInput("g", "opened")))
    return replace(network, stages=(stage,))


LEFT = {
    "more than a product": lambda: on_host(False, times([("Mul", "x g", "xg"), ("Sigmoid", "xg", "y")])),
    "than a product": lambda: on_host(False, times([("Mul", "x g", "xg"), ("Add", "xg x", "y")])),
    "before quantise": lambda: other_scale(on_host(True)),
    "only the host reads the input 'opened'": lambda: from_image(on_host(False)),
    "which no spike carries": lambda: on_host(
        False, replace(times(), takes=(HostInput("x", "first", "potential"), HostInput("g", "opened")))
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", LEFT)
def test_what_stays_on_the_host_says_why(said: str) -> None:
    network = LEFT[said]()
    moved = GateOnChip().apply(network)
    assert said in moved.notes["gate-on-chip times"]
    assert len(moved.stages) == len(network.stages)


def test_a_chip_without_products_leaves_them() -> None:
    limits = limits_of(load_architecture("loihi1"))
    assert "loihi1 has no products" in GateOnChip().apply(on_host(False), PassData(limits=limits)).notes[
        "gate-on-chip times"
    ]  # fmt: skip
    assert "chip multiplies" in GateOnChip().apply(
        on_host(False), PassData(limits=limits_of(load_architecture("loihi2")))
    ).notes["gate-on-chip times"]  # fmt: skip


def test_a_network_without_stages_is_left_as_it_is() -> None:
    network = on_host(False).chip_part
    assert GateOnChip().apply(network) is network


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_to_integers(backend: str, tmp_path: Path) -> None:
    """`quantise` gives the product the units of its gate: nothing is lost between them."""
    placed(on_host(False)).save(tmp_path / "a.ndp")
    options = CompileOptions(calibration=spikes(), passes="gate-on-chip,prune,encode,quantise")
    made = compile(tmp_path / "a.ndp", load_architecture("loihi2"), options)
    network = made.program.network
    gated, opened = network.by_name["gated"], network.by_name["opened"]
    assert (gated.scale, gated.neuron.shift) == (opened.scale, 0)  # type: ignore[attr-defined]
    judge, found = (backends.get(n)(made.program, spikes(1), record=EVERYTHING) for n in ("reference", backend))
    assert difference(judge, found, integer=True) == ""
    floats = run_network(made.floats, spikes(1))
    for name in ("first", "second"):
        a, b = (r.spikes[name].dense() for r in (floats, judge))
        assert (a != b).mean() < 0.02 and a.sum() > 20
