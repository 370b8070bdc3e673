"""Quantisation: what the integers may hold, how far they are from the floats, and refusals."""

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.lowering.lower import lower
from neurodeploy.network import loihi_ranges
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.recording import Record
from tests import nirgraphs


def network_of(graph, tmp_path: Path, **options) -> Network:
    file = nir_file.read(nirgraphs.write(graph, tmp_path / "net.nir"))
    return lower(file, resolve(file, **({"dt": 1e-3} | options)))


def spikes(shape: tuple[int, ...], steps: int = 40) -> np.ndarray:
    return (np.random.default_rng(0).random((steps, 4, *shape)) < 0.3).astype(np.uint8)


@pytest.mark.parametrize(("graph", "shape"), [(nirgraphs.mlp(), (12,)), (nirgraphs.conv(), (1, 8, 8))])
def test_everything_is_in_the_chips_range(graph, shape, tmp_path: Path) -> None:
    network = Quantise().apply(network_of(graph, tmp_path), PassData({"": spikes(shape)}))
    assert network.arithmetic == "loihi"
    for projection in network.projections:
        w = projection.connectivity.weights
        assert w.dtype == np.int16
        mixed = w.min() < 0 < w.max()
        assert w.min() >= (-256 if mixed else -255)
        assert w.max() <= (254 if mixed else 255)
        assert not mixed or (w % 2 == 0).all(), "weights of mixed sign keep only even values"
        assert np.abs(w).max() >= 126, "at least half of the 8 bits are used"
        assert -8 <= projection.connectivity.exponent <= 7
    for population in network.populations:
        if isinstance(population.neuron, Lif):
            n = population.neuron
            assert 0 <= n.du.min() <= n.du.max() <= 4095
            assert 0 <= n.dv.min() <= n.dv.max() <= 4095
            assert (n.threshold % 64 == 0).all()
            assert (n.reset_to == 0).all()
            if population.spiking:
                assert n.threshold.max() <= loihi_ranges.THRESHOLD_MAX << 6
            exponent = next(k for k in range(8) if (n.bias % 2**k == 0).all() and np.abs(n.bias).max() >> k <= 4095)
            assert exponent <= 7


def test_the_scale_by_hand(tmp_path: Path) -> None:
    """Largest weight 0.8, alpha 0.2, one sign: S <= 64 * 255 / 0.16 = 102000, where the threshold is 637.5 in units of
    64; S = 637 * 64 / 0.4 = 101920 makes it whole. Weight 0.16 S / 64 = 254.8."""
    import nir

    graph = nirgraphs.sequence((1,), {"fc": nir.Affine(np.array([[0.8]]), np.array([0.05])), "lif": nirgraphs.lif(1)})
    network = Quantise().apply(network_of(graph, tmp_path))
    population, (projection,) = network.by_name["lif"], network.projections
    assert population.scale == pytest.approx(101920)
    assert projection.connectivity.weights.tolist() == [[255]]
    assert projection.connectivity.exponent == 0
    neuron = population.neuron
    assert neuron.threshold.tolist() == [637 << 6]
    assert neuron.dv.tolist() == [round(4096 * 0.2)]
    assert neuron.du.tolist() == [4095]
    assert neuron.bias.tolist() == [1019]  # 0.05 * 0.2 * 101920


@pytest.mark.parametrize(("graph", "shape"), [(nirgraphs.mlp(), (12,)), (nirgraphs.conv(), (1, 8, 8))])
def test_potentials_stay_near_the_floats(graph, shape, tmp_path: Path) -> None:
    """Every rounding is bounded, so with the same spikes coming in the first layer's potential stays close: per step
    half a weight step for each input (9 or 12 of them), and the membrane forgets a fifth in every step."""
    network = network_of(graph, tmp_path)
    first = network.populations[1]
    alone = Network("first", network.populations[:2], network.projections[:1], (first.name,), 1e-3)
    alone = replace(
        alone, populations=(alone.populations[0], replace(first, neuron=replace(first.neuron, spiking=False)))
    )
    x = spikes(shape)
    integer = Quantise().apply(alone, PassData({"": x}))
    v = run_network(alone, {"": x}).states["v"][first.name]
    w = run_network(integer, {"": x}).states["v"][first.name] / integer.by_name[first.name].scale
    half_step = 64 / integer.by_name[first.name].scale
    assert np.abs(v - w).max() < 12 * half_step / 0.2
    assert np.abs(v).max() > 100 * np.abs(v - w).mean()


def test_a_reset_potential_is_shifted_away(tmp_path: Path) -> None:
    graph = nirgraphs.mlp()
    for name, size in (("lif1", 20), ("lif2", 5)):
        graph.nodes[name] = nirgraphs.lif(size, leak=0.05, reset=-0.3)
    network = network_of(graph, tmp_path)
    integer = Quantise().apply(network, PassData({"": spikes((12,))}))
    a = run_network(network, {"": spikes((12,))}, record=Record(("v",)))
    b = run_network(integer, {"": spikes((12,))}, record=Record(("v",)))
    assert (integer.by_name["lif1"].neuron.initial > 0).all(), "it starts at 0, which is 0.3 above the reset"
    differ = (a.spikes["lif1"].dense() != b.spikes["lif1"].dense()).mean()
    assert a.spikes["lif1"].dense().mean() > 0.02
    assert differ < 0.02


def test_biases_of_currents_become_axons(tmp_path: Path) -> None:
    network = network_of(nirgraphs.recurrent(), tmp_path, recurrent_bias="after-delay")
    integer = Quantise().apply(network, PassData({"": spikes((6,))}))
    axons = [p for p in integer.populations if isinstance(p.neuron, Source) and p.neuron.always_on]
    assert sorted(axon.neuron.start for axon in axons) == [0, 1], "the recurrent bias starts one step later"
    assert all(p.bias is None for p in integer.projections)
    a, b = (run_network(n, {"": spikes((6,))}).spikes["hidden"] for n in (network, integer))
    assert len(a) > 100
    assert abs(len(a) - len(b)) < 0.1 * len(a)


def test_calibration_keeps_a_readout_from_saturating(tmp_path: Path) -> None:
    """A read-out that hardly leaks sums 400 steps of full input; only calibration knows that."""
    import nir

    graph = nirgraphs.sequence(
        (8,), {"fc": nir.Linear(np.ones((1, 8))), "li": nir.LI(np.full(1, 1.0), np.full(1, 1e3), np.zeros(1))}
    )
    network = network_of(graph, tmp_path)
    x = np.ones((400, 1, 8), np.uint8)
    blind = run_network(Quantise().apply(network), {"": x}).states["v"]["li"]
    seeing = run_network(Quantise().apply(network, PassData({"": x})), {"": x}).states["v"]["li"]
    assert np.abs(blind).max() == loihi_ranges.STATE_MAX
    assert np.abs(seeing).max() < loihi_ranges.STATE_MAX


def test_a_leak_that_vanishes_is_said(tmp_path: Path) -> None:
    """1 ms of 10 s is a ten-thousandth, less than half of 1/4096."""
    graph = nirgraphs.mlp()
    graph.nodes["lif1"] = nirgraphs.lif(20, tau=10.0, r=10000.0)
    notes = Quantise().apply(network_of(graph, tmp_path)).notes
    assert "the leak of 20 neurons, 0.0001 a step at most, rounds to none" in notes["quantise lif1"]
    assert "leak" not in notes["quantise lif2"]


def test_long_calibration_is_cut_to_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neurodeploy.passes.quantise import calibration

    network = network_of(nirgraphs.mlp(), tmp_path)
    monkeypatch.setattr(calibration, "LARGEST", 40 * 37 * 2 + 1)  # two samples of 40 steps of 37 neurons
    seen = calibration.Calibration.of(network, {"": spikes((12,))})
    assert seen.recording is not None
    assert seen.recording.samples == 2


def test_refusals(tmp_path: Path) -> None:
    network = network_of(nirgraphs.mlp(), tmp_path)
    with pytest.raises(InvalidInputError, match="already quantised"):
        Quantise().apply(Quantise().apply(network))
    graph = with_readout()
    graph.nodes["back"] = nir.Linear(np.ones((4, 3)))
    graph.nodes["first"] = nirgraphs.lif(4)
    graph.edges = [("input", "first"), ("first", "fc"), ("fc", "li"), ("li", "fc2"), ("fc2", "lif"), ("lif", "output")]
    graph.edges += [("li", "back"), ("back", "first")]
    with pytest.raises(UnsupportedError, match="the read-out 'li' feeds back on a population before it"):
        Quantise().apply(network_of(graph, tmp_path))
    graph = nirgraphs.mlp()
    graph.nodes["lif1"] = nirgraphs.lif(20, threshold=1e-5)
    with pytest.raises(UnsupportedError) as caught:
        Quantise().apply(network_of(graph, tmp_path))
    assert "population 'lif1': a threshold rounds to 0" in str(caught.value)
    assert "train with a larger threshold" in str(caught.value)


def with_readout() -> nir.NIRGraph:
    """in -> leaky integrators -> LIF."""
    rng = np.random.default_rng(3)
    return nirgraphs.sequence(
        (4,),
        {
            "fc": nir.Linear(rng.normal(size=(3, 4))), "li": nir.LI(np.full(3, 5e-3), np.ones(3), np.zeros(3)),
            "fc2": nir.Linear(rng.normal(size=(20, 3)) + 0.8), "lif": nirgraphs.lif(20),
        },
    )  # fmt: skip


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_readout_that_feeds_on_sends_its_potential_in_few_bits(tmp_path: Path, calibrated: bool) -> None:
    network = network_of(with_readout(), tmp_path)
    x = {"": (np.random.default_rng(0).random((60, 4, 4)) < 0.5).astype(np.uint8)}
    whole = Quantise().apply(network, PassData(x if calibrated else None))
    li = whole.by_name["li"]
    assert li.neuron.send_shift > 0
    a, b = run_network(network, x, record=Record(("v",))), run_network(whole, x, record=Record(("v",)))
    assert np.abs(b.states["v"]["li"] >> li.neuron.send_shift).max() < 2**11
    np.testing.assert_allclose(b.states["v"]["li"] / li.scales, a.states["v"]["li"], atol=0.02)
    spikes = [r.spikes["lif"].dense() for r in (a, b)]
    assert 0.05 < spikes[0].mean() < 0.9
    assert (spikes[0] != spikes[1]).mean() < (0.03 if calibrated else 0.15)  # without, most bits are kept for peaks


@pytest.mark.parametrize(
    "rules", [{"refractory": 3}, {"threshold_decay": 0.2, "threshold_jump": 0.5}], ids=["refractory", "adaptive"]
)
def test_slow_neurons_are_quantised(tmp_path: Path, rules: dict) -> None:
    graph = nirgraphs.mlp()
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF):
            node.metadata = {"neurodeploy": rules}
    network = network_of(graph, tmp_path)
    x = {"": (np.random.default_rng(0).random((60, 4, *network.inputs[0].shape)) < 0.4).astype(np.uint8)}
    whole = Quantise().apply(network, PassData(x))
    runs = [run_network(n, x).spikes for n in (network, whole)]
    without = run_network(Quantise().apply(network_of(nirgraphs.mlp(), tmp_path), PassData(x)), x).spikes
    for population in network.populations[1:]:
        a, b, plain = (r[population.name].dense() for r in (*runs, without))
        assert a.mean() < plain.mean()
        assert (a != b).mean() < 0.2 * (a != plain).mean() + 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"du": np.full(20, 1e-5)}, "the decay of the current of 20 neurons, 1e-05 a step at most, rounds to 1/4096"),
        ({"floor": np.full(20, -5e4)}, "the lowest potential of 20 neurons is held at"),
        ({"threshold_decay": np.full(20, 1e-6), "threshold_jump": np.full(20, 1e5)}, "rise of the threshold of 20 neu"),
        ({"threshold_decay": np.full(20, 1e-6), "threshold_jump": np.full(20, 0.1)}, "decay of the threshold of 20 n"),
    ],
)  # fmt: skip
def test_what_the_registers_cannot_hold_is_said(change: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    network = network_of(nirgraphs.mlp(), tmp_path)
    populations = tuple(
        replace(p, neuron=replace(p.neuron, **change)) if p.name == "lif1" else p for p in network.populations
    )
    made = Quantise().apply(replace(network, populations=populations), PassData({"": spikes((12,))}))
    assert said in made.notes["quantise lif1"]
    untouched = Quantise().apply(network, PassData({"": spikes((12,))})).notes["quantise lif1"]
    assert "held at" not in untouched and "rounds to" not in untouched


def test_one_inhibited_neuron_does_not_coarsen_the_others(tmp_path: Path) -> None:
    """Its potential goes to -2,000 thresholds: what holds that leaves the others no resolution."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(8, 900)) * 0.03
    weights[0] = -np.abs(weights).max()
    graph = nirgraphs.sequence((900,), {"fc": nir.Linear(weights), "lif": nirgraphs.lif(8, tau=50e-3, r=10.0)})
    network = network_of(graph, tmp_path)
    x = {"": (rng.random((50, 4, 900)) < 0.5).astype(np.uint8)}
    floats = run_network(network, x, record=Record(("v",)))
    integer = Quantise().apply(network, PassData(x))
    found = run_network(integer, x)
    a, b = floats.spikes["lif"].dense(), found.spikes["lif"].dense()
    assert -floats.states["v"]["lif"].min() > 100 * network.by_name["lif"].neuron.threshold.max()
    assert a.sum() > 50
    assert (a != b).sum() < 0.1 * a.sum()
    assert set(found.left or {}) == {"lif"}, "its potential saturates, and that is counted"


def test_without_samples_no_current_wraps_where_that_costs_little(tmp_path: Path) -> None:
    rng, full = np.random.default_rng(6), np.full
    cuba = nir.CubaLIF(
        full(5, 1e-2), full(5, 2e-2), full(5, 1.0), full(5, 0.0), full(5, 1.0), full(5, 0.0), full(5, 1.0)
    )
    graph = nirgraphs.sequence((400,), {"fc": nir.Linear(np.abs(rng.normal(size=(5, 400)))), "lif": cuba})
    network = network_of(graph, tmp_path)
    x = {"": np.ones((60, 2, 400), np.uint8)}
    integer = Quantise().apply(network)
    found = run_network(integer, x)
    assert all("u_wraps" not in row for row in (found.left or {}).values())
    assert len(found.spikes["lif"]) == len(run_network(network, x).spikes["lif"]) > 100


def test_an_answer_reads_potentials_as_the_float_network_has_them(tmp_path: Path) -> None:
    """The last layer resets to -0.2, from which its integers are counted; its potentials are returned from 0."""
    from neurodeploy.network.answer import Answer, OverTime, Returned, Series
    from neurodeploy.program.recording import returned

    whole, halves = Series("out", "potential", (3,)), Series("hidden", "potential", (4, 2))
    answer = Answer((Returned(whole), Returned(OverTime(halves, "last")), Returned(Series("out", "spikes", (3,)))))
    network = replace(network_of(nirgraphs.recurrent(), tmp_path), answer=answer)
    integer = Quantise().apply(network, PassData({"": spikes((6,))}))
    assert network.by_name["out"].neuron.reset_to.max() < -0.1
    x = {"": spikes((6,))[:6]}
    floats, integers = (returned(n, run_network(n, x)) for n in (network, integer))
    assert [a.shape for a in integers] == [a.shape for a in floats]
    off = np.abs(floats[0] - integers[0])
    assert np.median(off) < 0.01, "to a rounding, where the spikes are the same"
    assert np.median(np.abs(floats[1] - integers[1])) < 0.02
    np.testing.assert_allclose(integers[0][(integers[2] > 0)], -0.2, atol=1e-9)
