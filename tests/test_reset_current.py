"""A spike that resets the synaptic current too: by hand, equal in every interpreter, in files, refused elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.backends.lava.registers import neurons
from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main
from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lower import lower
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve, rules_of
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from neurodeploy.verify.ambiguity import ambiguities
from tests import nirgraphs
from tests.networks import placed

DT = 1e-3
STATES = Record(("u", "v"))


def cuba(tmp_path: Path, **rules: object) -> nir_file.NirFile:
    """i <- i / 2 + I, v <- v / 2 + i, threshold 3; its input is 2 for a spike."""
    tau, one = np.array([2 * DT]), np.ones(1)
    node = nir.CubaLIF(tau, tau, 2 * one, 0 * one, 3 * one, 0 * one, 2 * one)
    node.metadata = {"neurodeploy": rules}
    graph = nirgraphs.sequence((1,), {"w": nir.Linear(np.array([[2.0]])), "n": node})
    graph.metadata = {"neurodeploy": {"dt": DT}}
    return nir_file.read(nirgraphs.write(graph, tmp_path / "one.nir"))


# Currents 2, 2, 0, 2, 0, 2, 2, 2.
INPUT = np.array([1, 1, 0, 1, 0, 1, 1, 1], np.uint8)[:, None, None]


@pytest.mark.parametrize(
    ("rules", "currents", "potentials", "spikes"),
    [
        # i: 2; 1 + 2 = 3, 0 after the spike; 0; 2; 1; .5 + 2, 0 after the spike; 2; 1 + 2, 0
        # v: 2; 1 + 3 = 4 > 3; 0; 2; 1 + 1; 1 + 2.5 = 3.5 > 3; 2; 1 + 3 = 4 > 3
        ({"reset_current": True}, [2, 0, 0, 2, 1, 0, 2, 0], [2, 0, 0, 2, 2, 0, 2, 0], [0, 1, 0, 0, 0, 1, 0, 1]),
        # i: 2; 3; 1.5; 2.75; 1.375; 2.6875; 3.34375; 3.671875
        # v: 2; 4 > 3; 1.5; .75 + 2.75 = 3.5 > 3; 1.375; .6875 + 2.6875 = 3.375 > 3; 3.34375 > 3; 3.671875 > 3
        ({}, [2, 3, 1.5, 2.75, 1.375, 2.6875, 3.34375, 3.671875], [2, 0, 1.5, 0, 1.375, 0, 0, 0],
         [0, 1, 0, 1, 0, 1, 1, 1]),
        # held for two steps after the spike, in which the current goes on from 0: i: 2; 0; 0; 2; 1; 2.5; 3.25, 0; 2
        # v: 2; 0; held; held; 1; .5 + 2.5 = 3, not above 3; 1.5 + 3.25 = 4.75 > 3; held
        ({"reset_current": True, "refractory": 2}, [2, 0, 0, 2, 1, 2.5, 0, 2], [2, 0, 0, 0, 1, 3, 0, 0],
         [0, 1, 0, 0, 0, 0, 1, 0]),
    ],
    ids=["with", "without", "refractory"],
)  # fmt: skip
def test_floats_by_hand(
    tmp_path: Path, rules: dict, currents: list[float], potentials: list[float], spikes: list[int]
) -> None:
    file = cuba(tmp_path, **rules)
    conventions = resolve(file)
    network = lower(file, conventions)
    assert network.by_name["n"].neuron.reset_current == ("reset_current" in rules)
    for found in (
        nir_reference.run(file, {"": INPUT}, conventions),
        run_network(network, {"": INPUT}, record=STATES),
        engine.run(placed(network, 1), {"": INPUT}, record=STATES),
    ):
        np.testing.assert_allclose(found.states["v"]["n"][:, 0, 0], potentials, atol=1e-12, err_msg=found.backend)
        assert found.spikes["n"].dense()[:, 0, 0].astype(int).tolist() == spikes, found.backend
        if "u" in found.states:  # r dt / tau_mem is 1, so the current is NIR's i
            np.testing.assert_allclose(found.states["u"]["n"][:, 0, 0], currents, atol=1e-12, err_msg=found.backend)


def integers(**changed: object) -> Program:
    """u <- u / 2 + 64 I, v <- v / 2 + u (2048 of 4096 decay in a step; Loihi adds 1 to du), threshold 192."""
    zero = np.zeros(1, np.int32)
    neuron = Lif(zero + 2047, zero + 2048, zero, zero + 192, zero, zero, **changed)  # type: ignore[arg-type]
    populations = Population("in", (2,), Source()), Population("n", (1,), neuron)
    projection = Projection("w", "in", "n", Dense(np.array([[2, 2]], np.int16)))
    return placed(Network("one", populations, (projection,), ("n",), DT, "loihi"), 1)


def test_integers_and_marks_by_hand() -> None:
    program = integers(reset_current=True)
    given = np.zeros((8, 2, 2), np.uint8)
    given[:, 0, 0] = INPUT[:, 0, 0]
    given[0, 1] = 1
    expected = {
        # the float case times 64: 128; 64 + 128 = 192, 0 after the spike; 0; 128; 64; 32 + 128 = 160, 0; 128; 192, 0
        "u": [128, 0, 0, 128, 64, 0, 128, 0],
        # 128; 64 + 192 = 256 > 192; 0; 128; 64 + 64; 64 + 160 = 224 > 192; 128; 64 + 192 = 256 > 192
        "v": [128, 0, 0, 128, 128, 0, 128, 0],
    }
    for run in (run_network(program.network, {"in": given}, record=STATES),
                engine.run(program, {"in": given}, record=STATES)):  # fmt: skip
        for name, values in expected.items():
            assert run.states[name]["n"][:, 0, 0].tolist() == values, (run.backend, name)
        assert run.spikes["n"].dense()[:, 0, 0].tolist() == [0, 1, 0, 0, 0, 1, 0, 1]
        # Both inputs at once: 256 > 192 fires, and all is 0 as it was before.
        assert run.spikes["n"].dense()[:, 1, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
        assert not run.states["u"]["n"][:, 1].any()
    # One neuron on one core: at rest where nothing is stored and nothing arrives, which is the step after a spike.
    assert run.active["n"][:, 0, 0].tolist() == [1, 1, 0, 1, 1, 1, 1, 1]
    assert run.changed["n"][:, 0, 0].tolist() == [1, 1, 0, 1, 1, 1, 1, 1]
    assert run.active["n"][:, 1, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert run.touched["n"][:, 1, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert not run.changed["n"][:, 1].any()


@pytest.mark.parametrize("graph", [nirgraphs.mlp, nirgraphs.recurrent])
def test_every_interpreter_agrees_on_networks(graph, tmp_path: Path) -> None:
    built = graph()
    changed = 0
    for name, node in list(built.nodes.items()):
        if isinstance(node, (nir.LIF, nir.CubaLIF)):
            if isinstance(node, nir.LIF):
                tau = np.full_like(node.tau, 4e-3)
                node = nir.CubaLIF(tau, node.tau, node.r, node.v_leak, node.v_threshold, node.v_reset, 0 * tau + 2)
            node.metadata = {"neurodeploy": {"reset_current": True}}
            built.nodes[name], changed = node, changed + 1
    assert changed
    file = nir_file.read(nirgraphs.write(built, tmp_path / "net.nir"))
    conventions = resolve(file, dt=DT)
    network = lower(file, conventions)
    inputs = {"": (np.random.default_rng(0).random((40, 3, *network.inputs[0].shape)) < 0.4).astype(np.uint8)}
    one, two = nir_reference.run(file, inputs, conventions), run_network(network, inputs, record=STATES)
    three = engine.run(placed(network), inputs, record=STATES)
    other = lower(file, resolve(file, dt=DT, reset="hard"))
    assert not any(getattr(p.neuron, "reset_current", False) for p in other.populations)
    without = run_network(other, inputs)
    whole = Quantise().apply(network, PassData(inputs))
    rounded, again = run_network(whole, inputs, record=STATES), engine.run(placed(whole), inputs, record=STATES)
    for population in network.populations[1:]:
        name = population.name
        if not population.spiking:
            continue
        assert whole.by_name[name].neuron.reset_current == population.neuron.reset_current
        a, b, c, plain, d, e = (r.spikes[name].dense() for r in (one, two, three, without, rounded, again))
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, c)
        np.testing.assert_array_equal(d, e)
        np.testing.assert_array_equal(rounded.states["u"][name], again.states["u"][name])
        assert 0 < a.sum() < plain.sum()
        assert (a != d).mean() < 0.25 * (a != plain).mean() + 0.01


def test_files_keep_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = cuba(tmp_path, reset_current=True)
    node = nir.read(tmp_path / "one.nir").nodes["n"]
    assert bool(node.metadata["neurodeploy"]["reset_current"]) is True
    assert rules_of("n", file.graph.nodes["n"], resolve(file)).reset_current is True
    assert rules_of("n", file.graph.nodes["n"], resolve(file, reset="subtract")).reset_current is False
    whole = Quantise().apply(lower(file, resolve(file)))
    placed(whole).save(tmp_path / "one.ndp")
    assert Program.load(tmp_path / "one.ndp").network.by_name["n"].neuron.reset_current is True
    assert main(["inspect", str(tmp_path / "one.nir")]) == 0
    assert "LIF, hard reset of potential and current" in " ".join(capsys.readouterr().out.split())


def test_another_reading_of_the_reset_is_not_possible(tmp_path: Path) -> None:
    file = cuba(tmp_path, reset_current=True)
    found = {a.convention: a for a in ambiguities(file, resolve(file))}
    assert found["reset"].effect.startswith("cannot be: node 'n': reset_current does not go with")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"reset_current": "yes"}, "node 'n': reset_current cannot be used"),
        ({"reset_current": 1}, "node 'n': reset_current cannot be used"),
        ({"reset_current": True, "reset": "subtract"}, "node 'n': reset_current does not go with its model or reset"),
        ({"reset_current": True, "reset": "none"}, "CubaLIF, reset 'none', reset_time 'now'"),
        ({"reset_current": True, "reset_time": "next"}, "CubaLIF, reset 'hard', reset_time 'next'"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(tmp_path: Path, rules: dict, message: str) -> None:
    file = cuba(tmp_path, **rules)
    with pytest.raises(InvalidInputError) as caught:
        lower(file, resolve(file))
    assert message in str(caught.value)


def test_a_neuron_without_a_current_is_refused(tmp_path: Path) -> None:
    graph = nirgraphs.mlp()
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF):
            node.metadata = {"neurodeploy": {"reset_current": True}}
    file = nir_file.read(nirgraphs.write(graph, tmp_path / "net.nir"))
    with pytest.raises(InvalidInputError, match="LIF, reset 'hard', reset_time 'now'"):
        lower(file, resolve(file, dt=DT))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"reset": "subtract"}, "reset 'subtract', reset_time 'now'"),
        ({"reset": "none"}, "reset 'none', reset_time 'now'"),
        ({"reset_time": "gate"}, "reset 'hard', reset_time 'gate'"),
        ({"spiking": False}, "no spikes"),
    ],
)
def test_networks_that_make_no_sense_are_refused(changed: dict, found: str) -> None:
    with pytest.raises(InvalidInputError, match="population 'n': reset_current does not go with") as caught:
        integers(reset_current=True, **changed)
    assert found in str(caught.value)


@pytest.mark.parametrize("fixed", [True, False])
def test_lavas_own_neuron_does_not_run_it(fixed: bool) -> None:
    population = integers().network.by_name["n"]
    assert neurons(population, fixed, 4, True).kind == "LIF"
    clearing = replace(population, neuron=replace(population.neuron, reset_current=True))  # type: ignore[type-var]
    described = neurons(clearing, fixed, 4, True)
    assert described.kind == "Neuron"
    assert described.rules["reset_current"] is True


def test_the_torch_twin_of_fine_tuning_is_the_reference() -> None:
    torch = pytest.importorskip("torch")
    from neurodeploy.passes.fine_tune.trainable import Weights, run

    rng, one = np.random.default_rng(0), np.ones(8, np.int32)
    neuron = Lif(1000 * one, 300 * one, 0 * one, (100 << 6) * one, 0 * one, 0 * one, reset_current=True)
    kind = Dense((2 * np.rint(rng.normal(20, 30, (8, 5)))).astype(np.int16))
    populations = Population("in", (5,), Source()), Population("n", (8,), neuron)
    network = Network("twin", populations, (Projection("w", "in", "n", kind),), ("n",), DT, "loihi")
    given = (rng.random((30, 4, 5)) < 0.4).astype(np.int64)
    expected = run_network(network, {"in": given}).spikes["n"].dense()
    sent = run(network, Weights(network).synapses, {"in": torch.from_numpy(given).double()})
    found = sent["n", "spikes"].detach().numpy()
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(found, expected)
    kept = replace(
        network, populations=(populations[0], replace(populations[1], neuron=replace(neuron, reset_current=False)))
    )
    assert (run_network(kept, {"in": given}).spikes["n"].dense() != expected).any()
