"""Frozen stages: the network does what it would with a host that always gives the mean; the notes say what changed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy import backends
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Product, Source
from neurodeploy.passes import PassData
from neurodeploy.passes.constants import Constant, with_constants
from neurodeploy.passes.freeze_attention import FreezeAttention
from neurodeploy.program.recording import Record, Recording
from tests.conformance import hybrids

STEPS, SAMPLES = 9, 2
V = Record(("v",))


def lif(rng: np.random.Generator, size: int, du: float) -> Lif:
    one = np.ones(size)
    return Lif(du=du * one, dv=0.2 * one, bias=0.1 * rng.normal(size=size), threshold=one, reset_to=0 * one,
               initial=0 * one)  # fmt: skip


def random_kind(rng: np.random.Generator, choice: int, channels: int) -> Connectivity:
    """From images of 3 x 3 to the same: dense, one by one, or a convolution."""
    size = channels * 9
    if choice == 0:
        return Dense(rng.normal(size=(size, size)))
    if choice == 1:
        return Sparse.from_csr(Dense(np.diag(rng.normal(size=size))).to_csr())
    groups = 1 if choice == 2 else channels
    return Conv2d(
        rng.normal(size=(channels, channels // groups, 3, 3)), (channels, 3, 3), padding=(1, 1), groups=groups
    )


def close(before: Recording, after: Recording, network: Network) -> None:
    """Spikes and potentials of all neurons that are left."""
    names = [p.name for p in network.populations if not p.external]
    assert names
    for name in names:
        np.testing.assert_allclose(
            after.spikes[name].dense().astype(float), before.spikes[name].dense().astype(float), atol=1e-9
        )
    for name, values in after.states["v"].items():
        np.testing.assert_allclose(values, before.states["v"][name], atol=1e-9)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.integers(0, 10_000), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2),
    st.sampled_from([1.0, 0.4]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_constants_are_folded_exactly(
    seed: int, into: int, behind: int, late: int, start: int, du: float, flat: bool, threshold: bool
) -> None:
    """One source gates products and drives neurons; the other way round, it is an input that always gives the same."""
    rng = np.random.default_rng(seed)
    channels = int(rng.integers(1, 3))
    size, shape = channels * 9, (channels, 3, 3)
    values = np.repeat(rng.normal(size=channels), 9) if flat else rng.normal(size=size)
    least = np.full(size, 0.3 if threshold else 0.0)
    populations = (
        Population("x", shape, Source()), Population("c", shape, Source()), Population("times", shape, Product(least)),
        Population("heard", shape, lif(rng, size, du)), Population("driven", shape, lif(rng, size, du)),
    )  # fmt: skip
    port = int(rng.integers(0, 2))
    projections = (
        Projection("xt", "x", "times", random_kind(rng, into, channels), delay=int(rng.integers(0, 2)), port=port),
        Projection("ct", "c", "times", random_kind(rng, 1, channels), delay=late, port=1 - port),
        Projection("th", "times", "heard", random_kind(rng, behind, channels), delay=int(rng.integers(0, 2))),
        Projection("cd", "c", "driven", Dense(rng.normal(size=(size, size))), delay=late, bias=0.1 * values),
        Projection("hd", "heard", "driven", Dense(rng.normal(size=(size, size)))),
    )  # fmt: skip
    network = Network("n", populations, projections, ("driven",), 1e-3)
    changed, said = with_constants(network, {"c": Constant(values, start)})
    x = (rng.random((STEPS, SAMPLES, size)) < 0.4).astype(np.uint8)
    always = np.broadcast_to(values, (STEPS, SAMPLES, size)).copy()
    always[:start] = 0
    before, after = run_network(network, {"x": x, "c": always}, record=V), run_network(changed, {"x": x}, record=V)
    close(before, after, changed)
    assert [p.name for p in changed.inputs] == ["x"]
    gone = "times" not in changed.by_name
    assert gone == ("whose products are gone" in said)
    if start + late or threshold:
        assert not gone
    elif into == 1 and (behind < 2 or (flat and _same_in_channels(projections[0], channels))):
        assert gone
    assert (du == 1 and not start + late) == (not any("always on" in s and "driven" in s for s in said.split("; ")))


def _same_in_channels(projection: Projection, channels: int) -> bool:
    diagonal = projection.connectivity.to_csr().diagonal().reshape(channels, -1)
    return bool((diagonal == diagonal[:, :1]).all())


@pytest.mark.parametrize("name", ["attention between two phases", "a gate in every step", "a loop through the host"])
def test_a_frozen_stage_gives_its_mean(name: str) -> None:
    case = hybrids.build(name, "float")
    network = case.program.network
    before = run_network(network, case.inputs)
    frozen = FreezeAttention().apply(network, PassData(case.inputs))
    assert frozen.stages == ()
    (stage,) = network.stages
    (out,) = stage.gives
    made = before.hosted[out.target]
    mean: Array = np.zeros_like(made)
    mean[out.delay :] = made[out.delay :].mean(axis=(0, 1))
    found = run_network(frozen, case.inputs, record=V)
    fed = {p.name: case.inputs[p.name] for p in network.inputs}
    expected = run_network(network.chip_part, {**fed, out.target: mean}, record=V)
    close(expected, found, frozen)
    said = frozen.notes["freeze-attention"]
    names = [p.name for p in frozen.populations if not p.external]
    differ = sum(int(((before.spikes[n].dense() != 0) != (found.spikes[n].dense() != 0)).sum()) for n in names)
    assert f"on 3 samples, {differ:,} neuron-steps differ" in said
    counts = [r.spikes[network.outputs[0]].dense().sum(axis=0, dtype=float) for r in (before, found)]
    off = np.sqrt(np.mean((counts[0] - counts[1]) ** 2))
    assert f"scores are off by {off:.4g} (root mean square) where they were {counts[0].min():.4g}" in said
    assert re.search(r"\d of 3 samples get another class", said)
    off = np.sqrt(np.mean((made[out.delay :] - mean[out.delay :]) ** 2))
    assert f"is off by {off:.4g} (root mean square)" in frozen.notes[f"freeze-attention {stage.name}"]


def test_a_gate_that_is_frozen_is_in_the_weights() -> None:
    """The product has a threshold of 0.1 there, which is not linear, and stays; without it, it goes."""
    case = hybrids.build("a gate in every step", "float")
    network = case.program.network
    assert "gated" in FreezeAttention().apply(network, PassData(case.inputs)).by_name
    plain = replace(network.by_name["gated"], neuron=Product(np.zeros(hybrids.N)))
    network = replace(network, populations=tuple(plain if p.name == "gated" else p for p in network.populations))
    frozen = FreezeAttention().apply(network, PassData(case.inputs))
    assert [p.name for p in frozen.populations] == ["input", "first", "second"]
    mean = run_network(network, case.inputs).hosted["opened"].mean(axis=(0, 1))
    before, after = (next(p for p in n.into("second")).connectivity.weights for n in (network, frozen))
    np.testing.assert_allclose(after, before * mean)


def test_one_by_its_name_and_what_stays() -> None:
    case = hybrids.build("two phases, a gate, and a reader behind", "float")
    network, data = case.program.network, PassData(case.inputs)
    one = FreezeAttention(stage="early").apply(network, data)
    assert [s.name for s in one.stages] == ["votes", "late", "gate"]
    assert [s.name for s in FreezeAttention().apply(network, data).stages] == ["votes"], "what the user reads stays"
    shown = replace(network, outputs=("seen",))
    kept = FreezeAttention().apply(shown, data)
    assert "left: the user reads 'seen'" in kept.notes["freeze-attention early"]
    between = Population("between", (hybrids.N,), Source())
    early = next(s for s in network.stages if s.name == "early")
    chain = hybrids.stage("chain", hybrids.gate(), "seen", "between", "step")
    more = replace(network, populations=(between, *network.populations), stages=(*network.stages, chain))
    kept = FreezeAttention(stage="early").apply(more, data)
    assert "left: the host stage 'chain' reads 'seen'" in kept.notes["freeze-attention early"]
    assert early in kept.stages
    assert [s.name for s in FreezeAttention().apply(more, data).stages] == ["votes"], "both go together"


def test_refusals() -> None:
    case = hybrids.build("attention between two phases", "float")
    network = case.program.network
    with pytest.raises(InvalidInputError, match="no such host stage to freeze") as caught:
        FreezeAttention(stage="atention").apply(network, PassData(case.inputs))
    assert "did you mean attention" in str(caught.value.found)
    with pytest.raises(InvalidInputError, match="needs samples"):
        FreezeAttention().apply(network)
    with pytest.raises(InvalidInputError, match="before quantisation"):
        FreezeAttention().apply(hybrids.build("attention between two phases", "loihi").program.network)
    alone = network.chip_part
    assert FreezeAttention().apply(alone) is alone


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_frozen_it_fits_a_chip_without_graded_spikes(chip: str, tmp_path: Path) -> None:
    """What the refusal of a chip without graded spikes says."""
    case = hybrids.build("attention between two phases", "float")
    case.program.save(tmp_path / "a.ndp")
    options = CompileOptions(calibration=case.inputs, passes="prune,freeze-attention,encode,quantise")
    made = compile(tmp_path / "a.ndp", load_architecture(chip), options).program
    assert made.network.stages == ()
    reference, hwsim = (backends.get(name)(made, case.inputs) for name in ("reference", "hwsim"))
    np.testing.assert_array_equal(reference.spikes["second"].dense(), hwsim.spikes["second"].dense())
    assert len(hwsim.spikes["second"]) > 20
