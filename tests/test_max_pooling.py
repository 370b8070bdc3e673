"""Max pooling of currents from the file to the counts: what is exact, what is refused, what it takes of a chip."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.backends.lava.setup import setup
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import DoesNotFitError, InvalidInputError, UnsupportedError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.cost import cost
from neurodeploy.hwsim.counts.counts import count
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.join import Join
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import SigmaDelta, Source
from neurodeploy.network.plasticity import stdp
from neurodeploy.network.reach import reach
from neurodeploy.nir_graph.max_node import max_node
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from tests import nirgraphs
from tests.conformance.cases import lif
from tests.random_pooling import differences, windows

RNG = np.random.default_rng(3)
OPTIONS = {"dt": 1e-3, "reset": "hard", "comparison": ">"}


def conv(groups: int = 1, bias: float = 0.1) -> nir.Conv2d:
    weight = RNG.normal(size=(4, 2 // groups, 3, 3))
    return nir.Conv2d((6, 6), weight, 1, 1, 1, groups, bias * RNG.normal(size=4))


def tiles(kernel: int = 2, stride: int = 2, padding: int = 0) -> nir.NIRNode:
    sizes = ((kernel, kernel), (stride, stride), (padding, padding), (1, 1))
    return max_node(windows((4, 6, 6), *sizes), (4, 6, 6))


def written(tmp_path: Path, *nodes: nir.NIRNode, shape: tuple[int, ...] = (2, 6, 6)) -> Path:
    names = {f"{type(node).__name__.lower()}{index}": node for index, node in enumerate(nodes)}
    return nirgraphs.write(nirgraphs.sequence(shape, names), tmp_path / "net.nir")


def neuron(*shape: int) -> nir.LIF:
    return nirgraphs.lif(shape, r=5.0)


def network(path: Path, chip: str | None = None, integer: bool = False, **more: object) -> Program:
    arch = load_architecture(chip) if chip else None
    options = {**OPTIONS, **more}
    return compile(path, arch, CompileOptions(conventions=options, integer=integer)).program


@pytest.mark.parametrize("seed", [0, 3, 4, 17, 28])
def test_random_pooling(seed: int, tmp_path: Path) -> None:
    """Some of what ``benchmarks/fuzz_pooling.py`` runs."""
    setup()
    assert differences(seed, str(tmp_path / "net.nir")) == []


def test_tiling_windows_keep_the_kernel_and_equal_biases_move_to_the_neurons(tmp_path: Path) -> None:
    found = network(written(tmp_path, conv(), tiles(), neuron(4, 3, 3))).network
    (projection,) = found.projections
    assert isinstance(projection.connectivity, Conv2d) and projection.bias is None and projection.port == 1
    population = found.by_name["lif2"]
    assert population.join is not None and population.join.compartments == 144
    assert len(np.unique(population.neuron.bias)) == 4  # type: ignore[attr-defined]


def test_what_overlapping_windows_share_is_there_for_each(tmp_path: Path) -> None:
    found = network(written(tmp_path, conv(), tiles(3, 2), neuron(4, 2, 2))).network
    (projection,) = found.projections
    assert isinstance(projection.connectivity, Sparse)
    assert found.by_name["lif2"].join.compartments == 4 * 4 * 9  # type: ignore[union-attr]


def test_biases_of_each_compartment_and_gains_behind(tmp_path: Path) -> None:
    """By hand: max(1 s + 0.2, 2 s - 0.5) times 3, into a neuron that adds up without leak."""
    fc = nir.Affine(np.array([[1.0], [2.0]]), np.array([0.2, -0.5]))
    node = max_node(np.array([[0, 1]]), (2,))
    li = nir.I(np.array([1e3]))
    program = network(written(tmp_path, fc, node, nir.Scale(np.array([3.0])), li, shape=(1,)))
    x = np.array([0, 1, 0, 1], np.uint8).reshape(4, 1, 1)
    found = backends.get("reference")(program, {"input": x}).states["v"]["i3"].ravel()
    np.testing.assert_allclose(found, 3 * np.cumsum([0.2, 1.5, 0.2, 1.5]))


def cuba(*shape: int) -> nir.CubaLIF:
    values = {"tau_syn": 4e-3, "tau_mem": 8e-3, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.1, "w_in": 1.0}
    return nir.CubaLIF(**{key: np.full(shape, value) for key, value in values.items()})


REFUSED = {
    "filtered": ((conv(), tiles(), cuba(4, 3, 3)), "filter their current"),
    "negated": ((conv(), tiles(), nir.Scale(-np.ones((4, 3, 3))), neuron(4, 3, 3)), "turns the sign"),
    "summed": (
        (conv(), tiles(), nir.Conv2d((3, 3), RNG.normal(size=(4, 4, 2, 2)), 1, 0, 1, 1, np.zeros(4)), neuron(4, 2, 2)),
        "adds up what the Max",
    ),
    "averaged": (
        (conv(), tiles(), nir.AvgPool2d(np.array([3, 3]), np.array([3, 3]), np.array([0, 0])), neuron(4, 1, 1)),
        "adds up what the Max",
    ),
    "delayed": ((conv(), tiles(), nir.Delay(np.full((4, 3, 3), 2e-3)), neuron(4, 3, 3)), "which is no neuron"),
    "read": ((conv(), tiles()), "which is no neuron"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exact_is_refused(name: str, tmp_path: Path) -> None:
    nodes, words = REFUSED[name]
    with pytest.raises(UnsupportedError, match=words):
        network(written(tmp_path, *nodes))


def test_two_max_in_front_of_one_neuron_are_refused(tmp_path: Path) -> None:
    nodes = {"input": nir.Input(np.array([2, 6, 6])), "a": conv(), "b": conv(), "max a": tiles(), "max b": tiles(),
             "lif": neuron(4, 3, 3), "output": nir.Output(np.array([4, 3, 3]))}  # fmt: skip
    edges = [("input", "a"), ("input", "b"), ("a", "max a"), ("b", "max b"), ("max a", "lif"), ("max b", "lif"),
             ("lif", "output")]  # fmt: skip
    path = nirgraphs.write(nir.NIRGraph(nodes, edges, type_check=False), tmp_path / "net.nir")
    with pytest.raises(UnsupportedError, match="each a Max"):
        network(path)


@pytest.mark.parametrize(("reset", "each"), [("hard", 4), ("subtract", 5)])
def test_compartments_are_placed_and_counted(reset: str, each: int, tmp_path: Path) -> None:
    """36 neurons behind 2 x 2: four compartments each; one more where Loihi 1 resets by subtraction."""
    program = network(written(tmp_path, conv(), tiles(), neuron(4, 3, 3)), "loihi1", True, reset=reset)
    assert sum(use.neurons for use in program.use) == 36 * each
    assert f"take {36 * each} of" in program.network.notes["compartments lif2"]
    x = {"input": (RNG.random((6, 2, 2, 6, 6)) < 0.3).astype(np.uint8)}
    recording = engine.run(program, x)
    counts = count(program, recording, load_architecture("loihi1"))
    row = counts.populations.index("lif2")
    assert (counts.layer["updates"][row] == 36 * each).all()
    assert counts.core["updates"].sum() == 36 * each * 2 * (6 + 1)
    # Beside the soma: all compartments at which something arrived, but for the first of each neuron.
    (projection,) = program.network.projections
    kind, join = projection.connectivity, program.network.by_name["lif2"].join
    assert join is not None
    arrived = kind.apply(x["input"].reshape(12, -1).astype(np.int64)) != 0
    arrived[:, join.firsts] = False
    assert recording.reached["lif2"].sum() == arrived.sum()
    somas = recording.active["lif2"].sum() * (each - 3)
    assert counts.layer["active_updates"][row].sum() == somas + arrived.sum()
    synapses = kind.to_csr()
    walked = x["input"].reshape(12, -1).astype(np.int64) @ np.diff(synapses.indptr)
    assert counts.layer["sops"][row].sum() == walked.sum()


def test_what_else_arrives_at_the_soma_takes_one_more(tmp_path: Path) -> None:
    fc, node, out = nir.Linear(RNG.normal(size=(6, 4))), max_node(np.arange(6).reshape(3, 2), (6,)), neuron(3)
    nodes = {"input": nir.Input(np.array([4])), "fc": fc, "max": node, "skip": nir.Linear(RNG.normal(size=(3, 4))),
             "lif": out, "output": nir.Output(np.array([3]))}  # fmt: skip
    edges = [("input", "fc"), ("fc", "max"), ("max", "lif"), ("input", "skip"), ("skip", "lif"), ("lif", "output")]
    path = nirgraphs.write(nir.NIRGraph(nodes, edges, type_check=False), tmp_path / "net.nir")
    assert network(path, "loihi1", True).use[0].neurons == 9


def test_a_core_holds_the_compartments_of_its_neurons(tmp_path: Path) -> None:
    """256 neurons of four compartments fill the 1,024 of a core; 300 need a second one."""
    fc, node = nir.Linear(RNG.normal(size=(1200, 4))), max_node(np.arange(1200).reshape(300, 4), (1200,))
    program = network(written(tmp_path, fc, node, neuron(300), shape=(4,)), "loihi1", True)
    assert [use.neurons for use in program.use] == [1024, 176]
    largest = max_node(np.arange(1200).reshape(1, 1200), (1200,))
    with pytest.raises(DoesNotFitError, match="compartments for one neuron"):
        network(written(tmp_path, fc, largest, neuron(1), shape=(4,)), "loihi1", True)


def test_a_chip_without_it_says_so_and_what_trains_equally(tmp_path: Path) -> None:
    path = written(tmp_path, conv(bias=0.0), tiles(), nir.IF(*(np.full((4, 3, 3), v) for v in (1e3, 1.0, 0.0))))
    with pytest.raises(DoesNotFitError) as refused:
        network(path, "speck", True)
    text = str(refused.value)
    assert "MAX of compartments" in text and "loihi1" in text and "average pooling" in text


def test_programs_that_hold_one_are_of_a_version_of_their_own(tmp_path: Path) -> None:
    program = network(written(tmp_path, conv(), tiles(3, 2), neuron(4, 2, 2)), "loihi2", True)
    program.save(tmp_path / "a.ndp")
    with zipfile.ZipFile(tmp_path / "a.ndp") as archive:
        assert json.loads(archive.read("header.json"))["version"] == 4
    back = Program.load(tmp_path / "a.ndp")
    np.testing.assert_array_equal(
        back.network.by_name["lif2"].join.parent,  # type: ignore[union-attr]
        program.network.by_name["lif2"].join.parent,
    )  # type: ignore[union-attr]


def test_fine_tuning_computes_what_the_reference_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from neurodeploy.passes.fine_tune.trainable import Weights, run

    integers = network(written(tmp_path, conv(), tiles(3, 2), neuron(4, 2, 2)), None, True)
    x = (RNG.random((8, 3, 2, 6, 6)) < 0.4).astype(np.float64)
    judge = backends.get("reference")(integers, {"input": x.astype(np.uint8)})
    weights = Weights(integers.network)
    found = run(integers.network, weights.synapses, {"input": torch.from_numpy(x.reshape(8, 3, -1))})["lif2", "spikes"]
    np.testing.assert_array_equal(found.detach().numpy(), judge.spikes["lif2"].dense())
    assert weights.gradient(found.sum()).abs().sum() > 0


def test_the_script_for_lava_holds_it(tmp_path: Path) -> None:
    from neurodeploy.backends.lava.script import export

    program = network(written(tmp_path, conv(), tiles(), neuron(4, 3, 3)), "loihi2", True)
    text = export(program, tmp_path / "net.py")[0].read_text(encoding="utf-8")
    assert "max_of_lif2 = MaxCurrent(neurons=36" in text and "class MaxCurrent(" in text
    assert "net.join(max_of_lif2, MaxCurrentModelFixed, lif2.a_in)" in text


def test_energy_and_times_of_events_count_compartments(tmp_path: Path) -> None:
    program = network(written(tmp_path, conv(), tiles(), neuron(4, 3, 3)), "loihi1", True)
    x = {"input": (RNG.random((6, 1, 2, 6, 6)) < 0.3).astype(np.uint8)}
    found = cost(program, x, load_architecture("loihi1"), tier="event")
    assert found.mesh is not None and found.mesh.works.sum() == 144
    lines = {line.kind: line.count for line in found.bill.lines}
    assert lines["active_updates"] + lines["inactive_updates"] == 144 * (6 + 1)


def joined(parent: object, arithmetic: str = "loihi", **changed: object) -> Network:
    integer = arithmetic == "loihi"
    neurons = lif(np.random.default_rng(0), integer, 3, **changed)
    population = Population("n", (3,), neurons, join=Join(np.array(parent)))
    weights = np.full((len(population.join.parent), 2), 250, np.int16)  # type: ignore[union-attr]
    kind = Dense(weights, 7) if integer else Dense(weights / 250)
    projection = Projection("w", "in", "n", kind, port=1)
    return Network("n", (Population("in", (2,), Source()), population), (projection,), ("n",), 1e-3, arithmetic)  # type: ignore[arg-type]


def test_bounds_hold_compartments_too() -> None:
    """2 x 250 x 2^7 stays below 2^17, three times that does not: found by reach, and what a run counts."""
    assert reach(joined([0, 1, 1, 2]))["n"].u == pytest.approx(2 * 250 * 128 * 64 / (2**23), rel=1e-4)
    narrow = joined([0, 1, 1, 2])
    kind = narrow.projections[0].connectivity
    more = [Projection(name, "in", "n", kind, port=1) for name in ("second", "third")]
    wide = Network("n", narrow.populations, (*narrow.projections, *more), ("n",), 1e-3, "loihi")
    assert reach(wide)["n"].u > 1
    program = Program(wide, "none", {"n": np.zeros(3, np.int32)})
    x = {"in": np.ones((1, 1, 2), np.uint8)}
    for name in ("reference", "hwsim"):
        found = backends.get(name)(program, x, record=Record(("u",)))
        assert found.left["n"]["u_wraps"] == 4  # type: ignore[index]
        a = 3 * 2 * 250 * 128
        assert (found.states["u"]["n"] == (a - 2**18) * 64).all()


def test_bad_joins_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="parents of the compartments"):
        joined([0, 3])
    with pytest.raises(InvalidInputError, match="no compartments"):
        Join(np.zeros(0, np.int32))
    with pytest.raises(InvalidInputError, match="filter of the current"):
        joined([0, 1], "float", du=np.full(3, 0.5))
    one = np.ones(3)
    populations = (
        Population("in", (2,), Source()),
        Population("n", (3,), SigmaDelta(one, one), join=Join(np.arange(3))),
    )
    with pytest.raises(InvalidInputError, match="largest change is not the change"):
        Network("n", populations, (), ("n",), 1e-3)
    network = joined([0, 1, 2], "float")
    learns = Projection("w", "in", "n", Dense(np.ones((3, 2))), rule=stdp())
    with pytest.raises(InvalidInputError, match="MAX of compartments in front"):
        Network("n", network.populations, (learns,), ("n",), 1e-3)
