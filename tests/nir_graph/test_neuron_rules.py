"""What NIR cannot say - time of the reset, several spikes, floor - by hand, and equal in every interpreter."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lower import lower
from neurodeploy.network.neurons import UNLIMITED
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve, rules_of
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.placement.place import Limits, Place
from neurodeploy.program.recording import Record
from neurodeploy.verify.compare import compare
from tests import nirgraphs

BETA = 0.5
"""Of the neuron by hand: v <- v / 2 + I (+ what the reset does), threshold 1."""


def one_neuron(tmp_path: Path, **rules) -> nir_file.NirFile:
    dt = 1e-3
    tau = dt / (1 - BETA)
    node = nir.LIF(np.array([tau]), np.array([tau / dt]), np.zeros(1), np.ones(1), np.zeros(1))
    node.metadata = {"neurodeploy": rules}
    graph = nirgraphs.sequence((3,), {"w": nir.Linear(np.array([[1.5, 3.25, -2.0]])), "n": node})
    graph.metadata = {"neurodeploy": {"dt": dt}}
    return nir_file.read(nirgraphs.write(graph, tmp_path / "one.nir"))


INPUT = np.zeros((6, 1, 3), np.uint8)
for step, which in ((0, 0), (1, 0), (2, 1), (4, 2)):
    INPUT[step, 0, which] = 1  # currents 1.5, 1.5, 3.25, 0, -2, 0


@pytest.mark.parametrize(
    ("rules", "potentials", "spikes"),
    [
        # now: 1.5 -> 0; 1.5 -> 0; 3.25 -> 0; 0; -2; -1
        ({}, [0, 0, 0, 0, -2, -1], [1, 1, 1, 0, 0, 0]),
        # subtract, now: 1.5 -> .5; .25 + 1.5 = 1.75 -> .75; .375 + 3.25 = 3.625 -> 2.625; 1.3125 -> .3125; ...
        ({"reset": "subtract"}, [0.5, 0.75, 2.625, 0.3125, -1.84375, -0.921875], [1, 1, 1, 1, 0, 0]),
        # subtract, next: 1.5; .75 + 1.5 - 1 = 1.25; .625 + 3.25 - 1 = 2.875; 1.4375 - 1 = .4375; -1.78125; ...
        ({"reset": "subtract", "reset_time": "next"}, [1.5, 1.25, 2.875, 0.4375, -1.78125, -0.890625],
         [1, 1, 1, 0, 0, 0]),
        # the same from 2, which is above 1 and so is taken down in step 0: 1 + 1.5 - 1 = 1.5
        ({"reset": "subtract", "reset_time": "next", "v_initial": 2.0},
         [1.5, 1.25, 2.875, 0.4375, -1.78125, -0.890625], [1, 1, 1, 0, 0, 0]),
        ({"reset_time": "next", "v_initial": 2.0}, [1.5, 1.5, 3.25, 0, -2, -1], [1, 1, 1, 0, 0, 0]),
        ({"reset_time": "gate", "v_initial": 2.0}, [0, 1.5, 0, 0, -2, -1], [0, 1, 0, 0, 0, 0]),
        # hard, next: 1.5; 0 + 1.5; 0 + 3.25; 0; -2; -1
        ({"reset_time": "next"}, [1.5, 1.5, 3.25, 0, -2, -1], [1, 1, 1, 0, 0, 0]),
        # hard, gate: 1.5; gated to 0; 3.25; gated to 0; -2; -1
        ({"reset_time": "gate"}, [1.5, 0, 3.25, 0, -2, -1], [1, 0, 1, 0, 0, 0]),
        # once: 1.5 -> .5; 1.75 -> .75; 3.625 -> 2.625 (still above 1); 1.3125 - 1 = .3125, no spike, gets it back:
        # .3125 - (0 - 1) = 1.3125; it is above 1, so 1.3125 / 2 - 2 - 1 = -2.34375, back to -1.34375; -.671875
        ({"reset": "subtract", "reset_time": "once"}, [0.5, 0.75, 2.625, 1.3125, -1.34375, -0.671875],
         [1, 1, 1, 0, 0, 0]),
        # several: 1.5 -> .5; 1.75 -> .75; 3.625 -> .625 after three; .3125; -1.84375; ...
        ({"reset": "subtract", "max_spikes": UNLIMITED}, [0.5, 0.75, 0.625, 0.3125, -1.84375, -0.921875],
         [1, 1, 3, 0, 0, 0]),
        ({"reset": "subtract", "max_spikes": 2}, [0.5, 0.75, 1.625, 0.8125, -1.59375, -0.796875], [1, 1, 2, 0, 0, 0]),
        # floor: -1.84375 is held at -0.25, which decays to -0.125
        ({"reset": "subtract", "max_spikes": UNLIMITED, "v_floor": -0.25}, [0.5, 0.75, 0.625, 0.3125, -0.25, -0.125],
         [1, 1, 3, 0, 0, 0]),
        # refractory for two steps: 1.5 -> 0; held at 0 twice; 0; -2; -1
        ({"refractory": 2}, [0, 0, 0, 0, -2, -1], [1, 0, 0, 0, 0, 0]),
        # refractory for one step with a soft reset: 1.5 -> .5; held (1.5 lost); .25 + 3.25 = 3.5 -> 2.5; held; ...
        ({"reset": "subtract", "refractory": 1}, [0.5, 0.5, 2.5, 2.5, -0.75, -0.375], [1, 0, 1, 0, 0, 0]),
        # adaptive: threshold 1 + a; a = 0, 1, .5, 1.25, .625 in turn (halved in every step, 1 more for a spike):
        # 1.5 > 1 -> 0; 1.5 < 2; .75 + 3.25 = 4 > 1.5 -> 0; 0; -2; -1
        ({"threshold_decay": 0.5, "threshold_jump": 1.0}, [0, 1.5, 0, 0, -2, -1], [1, 0, 1, 0, 0, 0]),
        # the same with a soft reset, which subtracts 1 + a: .5; 1.75 < 2; 4.125 - 1.5 = 2.625; 1.3125 > 2.25? no; ...
        ({"reset": "subtract", "threshold_decay": 0.5, "threshold_jump": 1.0},
         [0.5, 1.75, 2.625, 1.3125, -1.34375, -0.671875], [1, 0, 1, 0, 0, 0]),
        # equality: starting at 2, 2 / 2 = 1 would be a spike
        ({"comparison": ">=", "v_initial": -1.0}, [1.0 - 1.0, 0, 0, 0, -2, -1], [1, 1, 1, 0, 0, 0]),
    ],
)  # fmt: skip
def test_by_hand(tmp_path: Path, rules: dict, potentials: list[float], spikes: list[int]) -> None:
    file = one_neuron(tmp_path, **rules)
    conventions = resolve(file)
    network = lower(file, conventions)
    program = Place(Limits("loihi1", 128, 1024)).apply(network)
    everything = Record(("v",))
    for found in (
        nir_reference.run(file, {"": INPUT}, conventions),
        run_network(network, {"": INPUT}, record=everything),
        engine.run(program, {"": INPUT}, record=everything),
    ):
        np.testing.assert_allclose(found.states["v"]["n"][:, 0, 0], potentials, atol=1e-12, err_msg=found.backend)
        assert found.spikes["n"].dense()[:, 0, 0].astype(int).tolist() == spikes, found.backend


@pytest.mark.parametrize(
    "rules",
    [
        {"reset": "subtract", "reset_time": "next"},
        {"reset_time": "gate"},
        {"reset": "subtract", "reset_time": "once"},
        {"reset": "subtract", "max_spikes": UNLIMITED, "v_floor": -0.3},
        {"reset_time": "next", "comparison": ">="},
    ],
)
@pytest.mark.parametrize("graph", [nirgraphs.mlp, nirgraphs.recurrent])
def test_every_interpreter_agrees_on_networks(graph, rules: dict, tmp_path: Path) -> None:
    built = graph()
    for node in built.nodes.values():
        if hasattr(node, "v_threshold"):
            node.metadata = {"neurodeploy": rules}
    file = nir_file.read(nirgraphs.write(built, tmp_path / "net.nir"))
    conventions = resolve(file, dt=1e-3)
    network = lower(file, conventions)
    x = (np.random.default_rng(0).random((40, 3, *network.inputs[0].shape)) < 0.4).astype(np.uint8)
    nir_run = nir_reference.run(file, {"": x}, conventions)
    float_run = run_network(network, {"": x}, record=Record(("v",)))
    pair = compare(nir_run, float_run, network, tolerance=1e-9)
    assert pair.verdict == "equal", pair
    integer = Quantise().apply(network, PassData({"": x}))
    placed = Place(Limits("loihi1", 128, 1024)).apply(integer)
    a, b = run_network(integer, {"": x}, record=Record(("v",))), engine.run(placed, {"": x}, record=Record(("v",)))
    assert compare(a, b, integer, integer=(True, True)).verdict == "equal"
    if graph is nirgraphs.recurrent and "max_spikes" in rules:
        return  # its graded spikes feed on themselves: the float network explodes, the integers wrap
    for name, events in float_run.spikes.items():
        assert abs(len(events) - len(a.spikes.get(name, events))) <= 0.2 * len(events) + 10


def test_options_override_the_metadata_of_nodes(tmp_path: Path) -> None:
    file = one_neuron(tmp_path, reset="subtract", reset_time="next", comparison=">=")
    node = file.graph.nodes["n"]
    assert rules_of("n", node, resolve(file)).reset_time == "next"
    rules = rules_of("n", node, resolve(file, reset="hard"))
    assert (rules.reset, rules.reset_time, rules.comparison) == ("hard", "now", ">=")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"reset": "soft"}, "node 'n': unknown reset in its metadata"),
        ({"reset_time": "later"}, "node 'n': unknown reset_time in its metadata"),
        ({"reset": "subtract", "reset_time": "gate"}, "reset_time 'gate' does not go with its reset"),
        ({"reset": "hard", "reset_time": "once"}, "reset_time 'once' does not go with its reset"),
        ({"max_spikes": 0}, "node 'n': max_spikes cannot be used"),
        ({"max_spikes": 3, "reset_time": "next"}, "node 'n': max_spikes cannot be used"),
        ({"refractory": -1}, "node 'n': refractory cannot be used"),
        ({"refractory": "long"}, "node 'n': refractory cannot be used"),
        ({"refractory": 1, "reset_time": "next"}, "refractory does not go with its reset_time"),
        ({"threshold_decay": 0.5}, "an adaptive threshold needs threshold_decay and threshold_jump"),
        ({"threshold_decay": 1.5, "threshold_jump": 1.0}, "node 'n': threshold_decay cannot be used"),
    ],
)
def test_rules_that_make_no_sense_are_refused(tmp_path: Path, rules: dict, message: str) -> None:
    file = one_neuron(tmp_path, **rules)
    with pytest.raises(InvalidInputError) as caught:
        lower(file, resolve(file))
    assert message in str(caught.value)
