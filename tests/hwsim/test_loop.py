"""The compiled loop at its edges: full buffers, wide populations, narrow numbers, single precision, threads."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy.backends.reference import run as reference
from neurodeploy.errors import Interrupted, InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.function import layout
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from tests.networks import placed, random_network, random_spikes

ALL = Record(states=("u", "v"))


def same(expected, found) -> None:
    for name, events in expected.spikes.items():
        for column in ("time", "sample", "neuron"):
            np.testing.assert_array_equal(getattr(found.spikes[name], column), getattr(events, column), err_msg=name)
    for key, states in expected.states.items():
        for name, values in states.items():
            np.testing.assert_array_equal(found.states[key][name], values, err_msg=f"{key} of {name}")


@pytest.mark.parametrize("seed", range(8))
def test_a_full_buffer_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delayed events outlive the buffer's emptying."""
    program = placed(random_network(seed, "loihi"))
    x = {"input": random_spikes(program.network, seed, steps=20, samples=3)}
    whole = engine.run(program, x, record=ALL)
    monkeypatch.setattr(engine, "BUFFER", 1)
    same(whole, engine.run(program, x, record=ALL))


def integers(size: int, threshold: int = 64) -> Lif:
    ones = np.ones(size, np.int32)
    return Lif(
        du=ones * 4095, dv=ones * 400, bias=ones * 0, threshold=ones * threshold, reset_to=ones * 0, initial=ones * 0
    )


@pytest.mark.parametrize(("size", "reach", "form"), [
    (1000, 100, layout.SPARSE), (1000, 1000, layout.SPARSE),
    (70_000, 100, layout.PACKED), (70_000, 1000, layout.SPARSE),
])  # fmt: skip
def test_listed_synapses_in_every_width(size: int, reach: int, form: int) -> None:
    """Targets of 16 bits, packed with their weights into 32, and apart: all the same network."""
    rng = np.random.default_rng(size + reach)
    rows = np.concatenate([[0], np.cumsum(rng.integers(0, 40, 60))])
    targets = rng.integers(0, size, rows[-1]).astype(np.int32)
    weights = (2 * rng.integers(-reach // 2, reach // 2, rows[-1])).astype(np.int16)
    populations = (Population("input", (60,), Source()), Population("wide", (size,), integers(size)))
    network = Network(
        "wide", populations, (Projection("p", "input", "wide", Sparse(weights, targets, rows, size)),), ("wide",), 1e-3,
        "loihi",
    )  # fmt: skip
    program = Program(network, "none", {"wide": np.zeros(size, np.int32)})
    simulator = engine.Simulator(program)
    assert simulator.flat.projections[0, layout.FORM] == form
    x = {"": (rng.random((5, 2, 60)) < 0.5).astype(np.uint8)}
    run = simulator.run(x, record=ALL)
    assert len(run.spikes["wide"]) > 100
    same(reference.run(program, x, record=ALL), run)


@pytest.mark.parametrize("seed", range(20))
def test_convolutions_of_every_geometry(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 1, 2]))
    shape = (2 * groups, int(rng.integers(5, 10)), int(rng.integers(5, 10)))
    kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    kind = Conv2d(
        (2 * rng.integers(-60, 60, (3 * groups, 2, *kernel))).astype(np.int16), shape,
        stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        padding=tuple(int(rng.integers(0, k)) for k in kernel),
        dilation=(1, 1) if rng.random() < 0.7 else (1, 2) if kernel[1] < 3 else (1, 1), groups=groups,
    )  # fmt: skip
    size = kind.outputs
    after = Conv2d((2 * rng.integers(-60, 60, (4, 3 * groups, 1, 1))).astype(np.int16), kind.output_shape)
    populations = (
        Population("input", shape, Source()),
        Population("image", kind.output_shape, integers(size)),
        Population("next", after.output_shape, integers(after.outputs)),
    )
    projections = (Projection("c", "input", "image", kind), Projection("d", "image", "next", after))
    network = Network("conv", populations, projections, ("next",), 1e-3, "loihi")
    program = Program(network, "none", {p.name: np.zeros(p.size, np.int32) for p in populations[1:]})
    x = {"": (rng.random((6, 2, *shape)) < 0.3).astype(np.uint8)}
    same(reference.run(program, x, record=ALL), engine.run(program, x, record=ALL))


def test_single_precision_follows_double_precision() -> None:
    equal = total = 0
    for seed in range(10):
        program = placed(random_network(seed, "float", slow=False))
        x = {"input": random_spikes(program.network, seed, steps=8)}
        double = engine.Simulator(program).run(x)
        single = engine.Simulator(program, np.float32).run(x)
        for name, events in double.spikes.items():
            equal += int((events.dense() == single.spikes[name].dense()).sum())
            total += events.dense().size
    assert equal / total > 0.999


def test_threads_and_samples_are_independent() -> None:
    program = placed(random_network(4, "loihi"))
    x = {"input": random_spikes(program.network, 4, steps=10, samples=9)}
    one = engine.Simulator(program, threads=1).run(x, record=ALL)
    same(one, engine.Simulator(program, threads=4).run(x, record=ALL))
    for sample in range(9):
        alone = engine.run(program, {"input": x["input"][:, sample : sample + 1]}, record=ALL)
        for name, values in alone.states["v"].items():
            np.testing.assert_array_equal(values[:, 0], one.states["v"][name][:, sample])


def test_a_float_neuron_is_active_where_arrivals_cancel() -> None:
    """Two spikes whose weights add up to 0 are work all the same."""
    neuron = Lif(
        du=np.ones(2), dv=np.zeros(2), bias=np.zeros(2), threshold=np.ones(2), reset_to=np.zeros(2), initial=np.zeros(2)
    )
    synapses = Sparse(np.array([0.5, -0.5]), np.array([0, 0], np.int32), np.array([0, 1, 2]), 2)
    populations = (Population("input", (2,), Source()), Population("pop", (2,), neuron))
    network = Network("cancel", populations, (Projection("p", "input", "pop", synapses),), ("pop",), 1e-3)
    run = engine.run(Program(network, "none", {"pop": np.zeros(2, np.int32)}), {"": np.ones((3, 1, 2), np.uint8)})
    assert run.active["pop"][:, 0, 0].tolist() == [1, 1, 1], "the neuron that hears both, and not the other one"


@pytest.mark.parametrize(("steps", "samples"), [(2_000_000, 1), (200_000, 16)])
def test_ctrl_c_keeps_what_was_simulated(steps: int, samples: int) -> None:
    program = placed(random_network(4, "loihi"))
    x = np.zeros((steps, samples, 60), np.uint8)
    x[::3] = 1

    def stop(done: int, total: int) -> None:
        assert total == steps * samples
        if done:
            raise KeyboardInterrupt

    simulator = engine.Simulator(program, threads=1)
    with pytest.raises(Interrupted) as caught:
        simulator.run({"input": x}, progress=stop)
    kept = caught.value.recording
    assert kept is not None
    assert 0 < kept.steps * kept.samples < steps * samples
    same(simulator.run({"input": x[: kept.steps, : kept.samples]}), kept)


def test_a_recording_beyond_memory_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    program = placed(random_network(4, "loihi"))
    simulator = engine.Simulator(program)
    x = {"input": random_spikes(program.network, 4, steps=10)}
    needed = simulator.needs_bytes(10, x["input"].shape[1], ALL)
    monkeypatch.setattr(engine, "physical_memory", lambda: needed)
    simulator.run(x, record=ALL)
    monkeypatch.setattr(engine, "physical_memory", lambda: needed - 1)
    with pytest.raises(InvalidInputError, match="does not fit into memory") as caught:
        simulator.run(x, record=ALL)
    assert "do not record u, v" in str(caught.value)


def test_a_network_without_synapses_runs() -> None:
    populations = (Population("input", (3,), Source()), Population("pop", (4,), integers(4)))
    network = Network("apart", populations, (), ("pop",), 1e-3, "loihi")
    program = Program(network, "none", {"pop": np.zeros(4, np.int32)})
    x = {"": np.ones((5, 2, 3), np.uint8)}
    same(reference.run(program, x, record=ALL), engine.run(program, x, record=ALL))


def test_a_current_beyond_32_bits_is_computed_as_the_reference_does() -> None:
    """Sources that send large numbers: a single wrap does not bring u back into range."""
    populations = (
        Population("input", (4,), Source(payload_bits=24)),
        Population("pop", (3,), integers(3)),
    )
    kind = Dense(np.full((3, 4), 254, np.int16), 3)
    network = Network("wide", populations, (Projection("p", "input", "pop", kind),), ("pop",), 1e-3, "loihi")
    program = Program(network, "none", {"pop": np.zeros(3, np.int32)})
    x = {"": np.random.default_rng(0).integers(-(1 << 22), 1 << 22, (6, 2, 4))}
    expected = reference.run(program, x, record=ALL)
    assert np.abs(expected.states["u"]["pop"]).max() > 1 << 33
    same(expected, engine.run(program, x, record=ALL))


@pytest.mark.parametrize("size", [1000, 70_000])
def test_rows_beyond_a_core_s_own_cache(size: int) -> None:
    """So many synapses that the rows of the next events are asked for."""
    rng = np.random.default_rng(size)
    rows = np.concatenate([[0], np.cumsum(rng.integers(0, 100, 3000))])
    targets = rng.integers(0, size, rows[-1]).astype(np.int32)
    kind = Sparse(rng.integers(-60, 100, rows[-1]).astype(np.int16), targets, rows, size)
    populations = (Population("input", (3000,), Source()), Population("pop", (size,), integers(size, 1 << 12)))
    network = Network("far", populations, (Projection("p", "input", "pop", kind),), ("pop",), 1e-3, "loihi")
    program = Program(network, "none", {"pop": np.zeros(size, np.int32)})
    x = {"": (rng.random((4, 1, 3000)) < 0.1).astype(np.uint8)}
    simulator = engine.Simulator(program)
    assert len(simulator.flat.pools[2]) > layout.NEAR
    run = simulator.run(x, record=ALL)
    assert len(run.spikes["pop"]) > 100
    same(reference.run(program, x, record=ALL), run)


@pytest.mark.parametrize("most", [(1 << 28) - 1, (1 << 31) - 1])
@pytest.mark.parametrize("reset", ["hard", "subtract"])
def test_common_neurons_at_the_bounds_of_32_bits(most: int, reset: str) -> None:
    """Currents, biases and potentials as large as they may be; one more and other kernels take over."""
    rng, size = np.random.default_rng(most), 200
    ones = np.ones(size, np.int32)
    ends = rng.choice([-most, -1, 0, 1, most], (2, size)).astype(np.int32)
    neuron = Lif(ones * 100, ones * 50, ends[0], ones * (1 << 22), ones * -5, ends[1], reset=reset)  # type: ignore[arg-type]
    weights = (2 * rng.integers(-127, 127, (size, 60))).astype(np.int16)
    kind = Dense(weights, 9)
    populations = (Population("input", (60,), Source()), Population("pop", (size,), neuron))
    network = Network("ends", populations, (Projection("p", "input", "pop", kind),), ("pop",), 1e-3, "loihi")
    program = Program(network, "none", {"pop": np.zeros(size, np.int32)})
    simulator = engine.Simulator(program)
    assert bool(simulator.flat.populations[1, layout.FAST]) == (most < 1 << 28)
    x = {"": (rng.random((30, 2, 60)) < 0.6).astype(np.uint8)}
    run = simulator.run(x, record=ALL)
    assert len(run.spikes["pop"]) > 100
    same(reference.run(program, x, record=ALL), run)
