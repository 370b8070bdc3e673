"""Shortcuts that do nothing: populations below their threshold for ever, and host stages that nobody hears."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy.backends.reference.run import run_network
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.unreachable import surely_silent
from neurodeploy.passes.prune import Prune
from tests.conformance import hybrids
from tests.conformance.hybrids import STEP, graph

N = 4


def lif(rng: np.random.Generator, threshold: float, **changed: object) -> Lif:
    one = np.ones(N)
    values = {
        "du": rng.choice([0.3, 1.0]) * one, "dv": rng.choice([0.2, 0.7]) * one, "bias": 0.05 * rng.normal(size=N),
        "threshold": threshold * one, "reset_to": 0 * one, "initial": 0.1 * rng.normal(size=N),
    }  # fmt: skip
    return Lif(**{**values, **changed})  # type: ignore[arg-type]


def with_shortcut(rng: np.random.Generator, threshold: float, **changed: object) -> Network:
    """input -> first -> last, and a shortcut first -> short -> last."""
    neurons = [lif(rng, 1.0), lif(rng, threshold, **changed), lif(rng, 1.0)]
    named = [Population(n, (N,), m) for n, m in zip(("first", "short", "last"), neurons, strict=True)]
    wired = [("input", "first"), ("first", "short"), ("short", "last"), ("first", "last")]
    projections = [
        Projection(f"{a}-{b}", a, b, Dense(rng.normal(size=(N, N)) + 0.3), bias=0.05 * rng.normal(size=N))
        for a, b in wired
    ]
    parts = (Population("input", (N,), Source()), *named)
    return Network("n", parts, tuple(projections), ("last",), 1e-3)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0), st.sampled_from(["hard", "subtract"]))
def test_what_is_below_its_threshold_for_ever_never_spikes(seed: int, near: float, reset: str) -> None:
    """A threshold at ``near`` times the bound: above 1 it is proven, below never; and where it is, nothing changes."""
    rng = np.random.default_rng(seed)
    network = with_shortcut(rng, 1.0, reset=reset)
    neuron, into = network.by_name["short"].neuron, network.into("short")[0]
    assert isinstance(neuron, Lif) and into.bias is not None
    most = np.abs(into.connectivity.weights).sum(axis=1).max() + np.abs(into.bias).max()
    bound = ((most / neuron.du + np.abs(neuron.bias)) / neuron.dv).max()
    short = replace(network.by_name["short"], neuron=replace(neuron, threshold=np.full(N, near * bound)))
    network = replace(network, populations=tuple(short if p.name == "short" else p for p in network.populations))
    if near > 1.001:
        assert surely_silent(network, "short")
    if near < 0.999:
        assert not surely_silent(network, "short")
    pruned = Prune().apply(network)
    x = {"input": (rng.random((40, 3, N)) < 0.9).astype(np.uint8)}
    before, after = run_network(network, x), run_network(pruned, x)
    np.testing.assert_array_equal(before.spikes["last"].dense(), after.spikes["last"].dense())
    if surely_silent(network, "short"):
        assert len(before.spikes["short"]) == 0
        # The bias of a projection is a current of its own, so that it stays.
        assert "short" in pruned.by_name
        plain = replace(network, projections=tuple(replace(p, bias=None) for p in network.projections))
        gone = Prune().apply(plain)
        assert "short" not in gone.by_name
        assert "all that can arrive leaves it below its threshold" in gone.notes["prune short-last"]
        before, after = run_network(plain, x), run_network(gone, x)
        np.testing.assert_array_equal(before.spikes["last"].dense(), after.spikes["last"].dense())


@pytest.mark.parametrize(
    "changed",
    [{"floor": np.full(N, 9.0)}, {"du": np.full(N, 1.9)}, {"dv": np.full(N, 1.9)}, {"dv": np.zeros(N)},
     {"initial": np.full(N, 1e4)}],
)  # fmt: skip
def test_what_could_lift_a_potential_is_never_silent(changed: dict[str, np.ndarray]) -> None:
    """A floor above the threshold, decays that overshoot, no leak, a start above the threshold."""
    threshold = 8.0 if "floor" in changed else 1e3
    network = with_shortcut(np.random.default_rng(1), threshold, **changed)
    assert not surely_silent(network, "short")
    assert "short" in Prune().apply(network).by_name


def test_numbers_of_unknown_size_prove_nothing() -> None:
    network = with_shortcut(np.random.default_rng(1), 1e6)
    assert surely_silent(network, "short")
    more = Projection("numbers", "input", "short", Dense(np.full((N, N), 1e-3)))
    assert not surely_silent(replace(network, projections=(*network.projections, more)), "short")


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_what_is_heard_stays(name: str) -> None:
    network = hybrids.build(name, "float").program.network
    assert len(Prune().apply(network).stages) == len(network.stages)


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
def test_a_stage_that_nobody_hears_goes_with_what_it_feeds(arithmetic: str) -> None:
    case = hybrids.build("two phases, a gate, and a reader behind", arithmetic)
    network, x = case.program.network, case.inputs
    weights = {p.name: p.connectivity for p in network.projections}
    kind = weights["opened-third"]
    zero = replace(kind, weights=0 * kind.weights)  # type: ignore[type-var]
    deaf = replace(
        network, projections=tuple(replace(p, connectivity=zero) if p.name == "opened-third" else p
                                   for p in network.projections),
    )  # fmt: skip
    pruned = Prune().apply(deaf)
    assert [s.name for s in pruned.stages] == ["votes", "late", "early"]
    assert "opened" not in pruned.by_name and "nothing depends on" in pruned.notes["prune gate"]
    before, after = run_network(deaf, x), run_network(pruned, x)
    np.testing.assert_array_equal(before.hosted["y"], after.hosted["y"])
    np.testing.assert_array_equal(before.spikes["third"].dense(), after.spikes["third"].dense())


def test_of_a_stage_that_feeds_two_only_what_is_heard_stays() -> None:
    case = hybrids.build("attention between two phases", "float")
    network = case.program.network
    both = graph([("Sigmoid", "x", "y"), ("Tanh", "x", "z")], {"x": STEP}, {"y": STEP, "z": STEP})
    gives = (HostOutput("y", "seen"), HostOutput("z", "vain"))
    stage = HostStage("both", both, (HostInput("x", "first"),), gives, "step")
    vain = Population("vain", (hybrids.N,), Source())
    network = replace(network, populations=(vain, *network.populations), stages=(stage,))
    pruned = Prune().apply(network)
    assert [g.target for g in pruned.stages[0].gives] == ["seen"] and "vain" not in pruned.by_name
    before, after = (run_network(n, case.inputs).spikes["second"].dense() for n in (network, pruned))
    np.testing.assert_array_equal(before, after)


def test_a_chain_of_stages_goes_together() -> None:
    case = hybrids.build("attention between two phases", "float")
    network = case.program.network
    ends = tuple(Population(name, (hybrids.N,), Source()) for name in ("a", "b"))
    chain = (
        hybrids.stage("one", hybrids.gate(), "second", "a", "step"),
        hybrids.stage("two", hybrids.gate(), "a", "b", "step"),
    )
    pruned = Prune().apply(
        replace(network, populations=(*ends, *network.populations), stages=(*network.stages, *chain))
    )
    assert [s.name for s in pruned.stages] == ["attention"]
    assert not {"a", "b"} & set(pruned.by_name)
