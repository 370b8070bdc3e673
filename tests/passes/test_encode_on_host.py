"""First spikes that the host makes are those that the chip would have made, exactly; and what stays says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from neurodeploy.backends.host.work import host_work
from neurodeploy.backends.onnx import encoder
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import count
from neurodeploy.hwsim.hybrid import chip_side
from neurodeploy.network.answer import Answer, Returned, Series
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.expressions import OverTime
from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.network.join import Join
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import UNLIMITED, Lif, Relu, Source
from neurodeploy.network.plasticity import stdp
from neurodeploy.passes import PassData
from neurodeploy.passes.encode_on_host import EncodeOnHost
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording
from tests.conformance import hybrids
from tests.networks import placed, random_network

IMAGE, T, B = (2, 6, 5), 8, 3
BACKENDS = ["reference", "hwsim", "onnxruntime"]
Values = Mapping[str, np.ndarray]


def neuron(size: int, **changed: Any) -> Lif:
    one = np.ones(size)
    values = {"du": one, "dv": 0.2 * one, "bias": 0 * one, "threshold": one, "reset_to": 0 * one, "initial": 0 * one}
    return Lif(**{**values, **changed})


def conv(rng: np.random.Generator, channels: int = 4, **how: Any) -> Conv2d:
    groups = how.get("groups", 1)
    return Conv2d(rng.normal(size=(channels, IMAGE[0] // groups, 3, 3)), IMAGE, padding=(1, 1), **how)


def network(
    first: Callable[[int], Lif], kind: Connectivity | None = None, delay: int = 0, bias_start: int = 0
) -> Network:
    """image -> first -> last (the output), which hears the first population again, two steps later."""
    rng = np.random.default_rng(3)
    kind = kind or Dense(rng.normal(size=(7, int(np.prod(IMAGE)))) * 0.4)
    shape = kind.output_shape if isinstance(kind, Conv2d) else (kind.outputs,)
    size = kind.outputs
    bias = 0.1 * rng.normal(size=size)
    return Network(
        "direct",
        (Population("image", IMAGE, Source()), Population("first", shape, first(size)),
         Population("last", (5,), neuron(5))),
        (Projection("in", "image", "first", kind, delay, bias, bias_start),
         Projection("out", "first", "last", Dense(rng.normal(size=(5, size)))),
         Projection("again", "first", "last", Dense(rng.normal(size=(5, size))), delay=2)),
        ("last",), 1e-3,
    )  # fmt: skip


def pixels(net: Network, seed: int = 0, steps: int = T) -> dict[str, np.ndarray]:
    """The same real numbers in every step, as direct coding has it, and a little noise."""
    rng = np.random.default_rng(seed)
    images = {p.name: rng.normal(size=(1, B, *p.shape)) for p in net.inputs}
    return {name: x + 0.1 * rng.normal(size=(steps, *x.shape[1:])) for name, x in images.items()}


def differing(before: Recording, after: Recording) -> list[str]:
    """Populations of which a spike, or the potential of a read-out, is another."""
    sent = [n for n, e in before.spikes.items() if not np.array_equal(e.dense(), after.spikes[n].dense())]
    potentials = [
        n for n, v in before.states.get("v", {}).items() if not np.array_equal(v, after.states["v"].get(n, v))
    ]  # fmt: skip
    return sent + potentials


def check(net: Network, moved: Network, inputs: Values, names: list[str] = BACKENDS) -> Recording:
    """The last back-end's recording, when all spikes are the same on each."""
    for name in names:
        before, after = (backends.get(name)(placed(n), inputs) for n in (net, moved))
        assert differing(before, after) == [], name
        assert set(before.spikes) == set(after.spikes)
    return after


NEURONS: dict[str, Callable[[int], Lif]] = {
    "LIF, hard reset": lambda n: neuron(n, initial=np.linspace(-0.5, 0.9, n), reset_to=np.full(n, -0.1)),
    "LIF, subtract": lambda n: neuron(n, reset="subtract", comparison=">="),
    "IF": lambda n: neuron(n, dv=np.zeros(n), reset="subtract"),
    "CubaLIF": lambda n: neuron(n, du=np.full(n, 0.4), dv=np.full(n, 0.1)),
    "CubaLIF that clears its current": lambda n: neuron(n, du=np.full(n, 0.4), reset_current=True),
    "threshold": lambda n: neuron(n, dv=np.ones(n), reset="none", threshold=np.full(n, 0.3)),
    "reset in the next step": lambda n: neuron(n, reset_time="next"),
    "several spikes": lambda n: neuron(n, reset="subtract", max_spikes=UNLIMITED, floor=np.full(n, -1.0)),
    "biased": lambda n: neuron(n, bias=np.linspace(-0.2, 0.3, n)),
}


def sparse(rng: np.random.Generator) -> Sparse:
    matrix = rng.normal(size=(9, int(np.prod(IMAGE)))) * (rng.random((9, int(np.prod(IMAGE)))) < 0.3)
    return Sparse.from_csr(Dense(matrix).to_csr())


KINDS: dict[str, Callable[[np.random.Generator], Connectivity | None]] = {
    "dense": lambda rng: None,
    "convolution": conv,
    "convolution in groups": lambda rng: conv(rng, groups=2, stride=(2, 1), dilation=(1, 2)),
    "sparse": sparse,
    "diagonal": lambda rng: Sparse.from_csr(Dense(np.diag(rng.normal(size=int(np.prod(IMAGE))))).to_csr()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", NEURONS)
def test_the_host_makes_the_spikes_that_the_chip_made(first: str, kind: str) -> None:
    net = network(NEURONS[first], KINDS[kind](np.random.default_rng(1)))
    moved = EncodeOnHost().apply(net)
    assert [type(p.neuron) for p in moved.populations] == [Source, Source, Lif]
    assert [p.name for p in moved.inputs] == ["image"] and [s.when for s in moved.stages] == ["before"]
    assert moved.by_name["first"].shape == net.by_name["first"].shape
    assert moved.by_name["first"].handle == net.by_name["first"].handle
    assert [p.name for p in moved.projections] == ["out", "again"]
    found = check(net, moved, pixels(net))
    assert 0.02 < (found.spikes["first"].dense() != 0).mean() < 0.98 and len(found.spikes["last"]) > 5


@pytest.mark.parametrize(("delay", "start"), [(1, 0), (3, 2), (T + 2, 1)])
def test_delays_and_biases_that_start_late(delay: int, start: int) -> None:
    """Also a delay that is longer than the run."""
    net = network(lambda n: neuron(n, bias=np.full(n, 0.3)), conv(np.random.default_rng(1)), delay, start)
    found = check(net, EncodeOnHost().apply(net), pixels(net))
    assert len(found.spikes["first"]) > 20


def test_one_step_of_one_sample() -> None:
    net = network(NEURONS["LIF, hard reset"])
    check(net, EncodeOnHost().apply(net), {"image": pixels(net)["image"][:1, :1]})


def several() -> Network:
    """Two inputs and two first populations, one of both inputs at other delays; last also hears an input itself."""
    rng = np.random.default_rng(5)
    sizes = {"a": 4, "b": 6, "left": 8, "both": 7, "last": 5}
    wired = [("a", "left", 0), ("a", "both", 0), ("b", "both", 2), ("left", "last", 0), ("both", "last", 1),
             ("b", "last", 0)]  # fmt: skip
    populations = [Population(n, (s,), Source() if n in "ab" else neuron(s)) for n, s in sizes.items()]
    projections = [
        Projection(f"{x}-{y}", x, y, Dense(rng.normal(size=(sizes[y], sizes[x]))), delay) for x, y, delay in wired
    ]
    return Network("several", tuple(populations), tuple(projections), ("last",), 1e-3)


def test_two_inputs_and_two_first_populations() -> None:
    net = several()
    moved = EncodeOnHost().apply(net)
    assert [[t.source for t in s.takes] for s in moved.stages] == [["a"], ["a", "b"]]
    assert "from 'a', 'b'" in moved.notes["encode-on-host both"]
    assert moved.notes["encode-on-host last"] == "left on the chip: the user reads it"
    found = check(net, moved, pixels(net))
    assert all(len(found.spikes[name]) > 10 for name in ("left", "both", "last"))
    assert [p.name for p in moved.chip_part.inputs] == ["b", "left", "both"]
    assert differing(*(run_network(n, pixels(net)) for n in (moved, EncodeOnHost().apply(moved)))) == []


def test_a_max_of_compartments_in_front() -> None:
    """Pooled currents: each neuron takes the largest of its own; one has none, and one hears the image itself, too."""
    rng = np.random.default_rng(2)
    join = Join(np.array([0, 0, 1, 1, 1, 2], np.int32))
    net = Network(
        "pooled",
        (Population("image", IMAGE, Source()), Population("first", (4,), neuron(4), join=join),
         Population("last", (5,), neuron(5))),
        (Projection("pool", "image", "first", Dense(rng.normal(size=(6, 60)) * 0.3), port=1, bias=np.full(6, 0.1)),
         Projection("plain", "image", "first", Dense(rng.normal(size=(4, 60)) * 0.2), delay=1),
         Projection("out", "first", "last", Dense(rng.normal(size=(5, 4)) + 1))),
        ("last",), 1e-3,
    )  # fmt: skip
    moved = EncodeOnHost().apply(net)
    assert moved.by_name["first"].join is None
    assert len(check(net, moved, pixels(net)).spikes["first"]) > 10


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 100_000), st.booleans())
def test_random_networks_stay_as_they_are(seed: int, slow: bool) -> None:
    net = random_network(seed, "float", slow)
    moved = EncodeOnHost().apply(net)
    notes = [note for topic, note in moved.notes.items() if topic.startswith("encode-on-host ")]
    hears = {p.target for p in net.projections if p.source == "input"}
    assert len(notes) == len(hears)
    assert len(moved.stages) == sum("the host computes" in note for note in notes)
    before, after = (run_network(n, pixels(net, seed)) for n in (net, moved))
    heard = {name: sent for name, sent in before.spikes.items() if name in after.spikes}
    assert set(before.spikes) - set(heard) <= {"always"}, "only a bias axon that nobody hears is not recorded"
    assert differing(replace(before, spikes=heard), after) == []


def test_names_that_collide_with_those_of_the_graph() -> None:
    """Populations and projections called as the encoder calls its own values, and as the stage."""
    net = network(NEURONS["CubaLIF"], delay=1)
    called = {"image": "y", "first": "x0", "last": "encode x0", "in": "x0", "out": "t0.reshape", "again": "x0.v"}
    net = replace(
        net, outputs=("encode x0",), populations=tuple(replace(p, name=called[p.name]) for p in net.populations),
        projections=tuple(
            replace(p, name=called[p.name], source=called[p.source], target=called[p.target]) for p in net.projections
        ),
    )  # fmt: skip
    moved = EncodeOnHost().apply(net)
    assert [s.name for s in moved.stages] == ["encode x0'"]
    check(net, moved, pixels(net))


def edited(net: Network, name: str, **changed: Any) -> Network:
    populations = [replace(p, **changed) if p.name == name else p for p in net.populations]
    return replace(net, populations=tuple(populations))


def first(**changed: Any) -> Network:
    return network(lambda n: neuron(n, **{key: np.full(n, value) for key, value in changed.items()}))


def with_projection(net: Network, source: str, **how: Any) -> Network:
    kind = Dense(np.ones((net.by_name["first"].size, net.by_name[source].size)))
    return replace(net, projections=(*net.projections, Projection("more", source, "first", kind, **how)))


def with_bias_axon() -> Network:
    net = first()
    axon = Population("on", (1,), Source(always_on=True))
    return with_projection(replace(net, populations=(axon, *net.populations)), "on")


def with_reader() -> Network:
    stage = HostStage(
        "reader", hybrids.graph([("Identity", "x", "y")], {"x": ["time", "batch", 7]}, {"y": ["time", "batch", 7]}),
        (HostInput("x", "first", "potential"),), (HostOutput("y"),), "behind",
    )  # fmt: skip
    return replace(first(), stages=(stage,))


def answered() -> Network:
    series = Series("first", "potential", (7,), "the potential of 'first'")
    return replace(first(), answer=Answer((series,), Returned(OverTime("mean", Returned.series(0)))))  # type: ignore


def rectified() -> Network:
    net = first()
    return edited(net, "first", neuron=Relu(np.zeros(7), np.zeros(7)))


def loop() -> Network:
    """fast -> a -> b -> a: with 'fast' on the host, a runs a step earlier and b, behind 'slow', does not."""
    sizes = dict.fromkeys(("image", "fast", "slow", "between", "a", "b"), 4)
    wired = [("image", "fast", 0), ("image", "slow", 0), ("slow", "between", 0), ("fast", "a", 0),
             ("between", "b", 0), ("a", "b", 0), ("b", "a", 2)]  # fmt: skip
    waits = neuron(4, refractory=np.ones(4, np.int32))
    return Network(
        "loop", tuple(Population(n, (s,), Source() if n == "image" else waits if n == "slow" else neuron(s))
                      for n, s in sizes.items()),
        tuple(Projection(f"{x}-{y}", x, y, Dense(np.eye(4)), delay) for x, y, delay in wired), ("b",), 1e-3,
    )  # fmt: skip


LEFT: dict[str, tuple[str, Callable[[], Network]]] = {
    "the user reads it": ("first", lambda: replace(first(), outputs=("first", "last"))),
    "a host stage reads its potential": ("first", with_reader),
    "it hears itself, too, which is no input": ("first", lambda: with_projection(first(), "first", delay=1)),
    "it hears 'last', too, which is no input": ("first", lambda: with_projection(first(), "last", delay=1)),
    "it hears 'on', too, which is no input": ("first", with_bias_axon),
    "no ONNX function computes its neurons (rectifier (graded))": ("first", rectified),
    "has a refractory time or an adaptive threshold, which the ONNX functions lack": (
        "first", lambda: first(threshold_decay=0.1, threshold_jump=0.2)
    ),
    "also sends negative spikes, which the ONNX functions lack": ("first", lambda: first(lower=-1.0)),
    "it sends its potential, not spikes": (
        "first", lambda: network(lambda n: neuron(n, spiking=False))
    ),
    "feeds back over 3 layers within 2 step(s)": ("fast", loop),
}  # fmt: skip


@pytest.mark.parametrize("said", LEFT)
def test_what_stays_on_the_chip_says_why(said: str) -> None:
    name, build = LEFT[said]
    net = build()
    left = EncodeOnHost().apply(net)
    assert left.notes[f"encode-on-host {name}"].startswith("left on the chip: ")
    assert said in left.notes[f"encode-on-host {name}"]
    assert left.populations == net.populations and left.projections == net.projections
    assert left.stages == net.stages


def test_synapses_too_large_for_a_graph_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "LARGEST_FILE", 100)
    said = EncodeOnHost().apply(first()).notes["encode-on-host first"]
    assert said == "left on the chip: the synapses of population 'first' are too large for one ONNX file"


def test_an_input_that_the_host_makes_is_left() -> None:
    net = hybrids.build("an encoder before the first step", "float").program.network
    left = EncodeOnHost().apply(net)
    assert left.stages == net.stages and not [n for n in left.notes if n.startswith("encode-on-host")]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Quantise().apply(first(), PassData(pixels(first()))), "run encode-on-host before quantise"),
        (
            lambda: replace(
                first(), projections=(*first().projections[:1], replace(first().projections[1], rule=stdp()))
            ),
            "its synapses learn",
        ),
    ],
)
def test_integers_and_networks_that_learn_are_left_alone(build: Callable[[], Network], said: str) -> None:
    net = build()
    left = EncodeOnHost().apply(net)
    assert said in left.notes["encode-on-host"]
    assert (left.populations, left.projections, left.stages) == (net.populations, net.projections, ())


def test_spikes_from_outside_stay_spikes_on_the_chip() -> None:
    """Where calibration says so; counts and real numbers do not."""
    net = several()
    rng = np.random.default_rng(0)
    x = {name: (rng.random((T, B, size)) < 0.4).astype(np.uint8) for name, size in (("a", 4), ("b", 6))}
    left = EncodeOnHost().apply(net, PassData(x))
    assert left.stages == () and "'a' are spikes already" in left.notes["encode-on-host left"]
    half = EncodeOnHost().apply(net, PassData({**x, "b": 2 * x["b"]}))
    assert [s.name for s in half.stages] == ["encode both"]
    assert "'a' are spikes already, 0 or 1 in calibration" in half.notes["encode-on-host left"]
    assert check(net, half, {**x, "b": 2 * x["b"]}) is not None


def test_a_stage_that_reads_its_spikes_reads_them_from_the_host() -> None:
    """Attention between two phases, over spikes of a first population that the host makes itself."""
    case = hybrids.build("attention between two phases", "float")
    moved = EncodeOnHost().apply(case.program.network)
    assert [(s.name, s.when) for s in moved.stages] == [("attention", "phase"), ("encode first", "before")]
    before, after = (backends.get("hwsim")(placed(n), case.inputs) for n in (case.program.network, moved))
    assert differing(before, after) == [] and len(after.spikes["second"]) > 20


PASSES = "prune,encode-on-host,encode,quantise"


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_in_integers_the_first_spikes_are_those_of_the_float_network(chip: str, kind: str, tmp_path: Path) -> None:
    """On other samples than those of calibration, too; the chip hears plain spikes and multiplies with none."""
    net = network(NEURONS["LIF, hard reset"], KINDS[kind](np.random.default_rng(1)))
    placed(net).save(tmp_path / "a.ndp")
    arch = load_architecture(chip)
    program = compile(tmp_path / "a.ndp", arch, CompileOptions(calibration=pixels(net), passes=PASSES)).program
    x = pixels(net, seed=9)
    floats = run_network(net, x)
    for name in ("reference", "hwsim"):
        found = backends.get(name)(program, x)
        assert np.array_equal(found.spikes["first"].dense(), floats.spikes["first"].dense())
    assert "all that it made in calibration was 0 or 1" in program.network.notes["host first"]
    part, sent = chip_side(program, found)
    assert list(sent) == ["first"] and not part.network.by_name["first"].neuron.graded("loihi")
    assert found.spikes["first"].payload is None
    counts = count(part, backends.get("hwsim")(part, sent), arch)
    assert counts.populations == ("first", "last") and counts.layer["events_in"][0].sum() == 0
    # Each spike of 'first' walks a synapse onto each of 5 neurons, and again two steps later, within the run.
    spikes = found.spikes["first"].dense()
    assert counts.layer["sops"].sum() == 5 * (spikes.sum() + spikes[:-2].sum())
    with_pixels = compile(tmp_path / "a.ndp", arch, CompileOptions(calibration=pixels(net))).program
    with pytest.raises(ValueError, match="input 'image' is not binary"):
        backends.get("hwsim")(with_pixels, x)


def test_whole_numbers_of_the_input_ask_nothing_of_a_chip_without_graded_spikes(tmp_path: Path) -> None:
    """Pixels from 0 to 255: refused where the chip would have to take them, and taken where the host does."""
    net = first()
    inputs = {name: np.floor(255 * np.abs(x) / np.abs(x).max()) for name, x in pixels(net).items()}
    Program.unplaced(net, {}).save(tmp_path / "pixels.ndp")
    chip = load_architecture("loihi1")
    with pytest.raises(InvalidInputError):
        compile(tmp_path / "pixels.ndp", chip, CompileOptions(calibration=inputs))
    made = compile(tmp_path / "pixels.ndp", chip, CompileOptions(calibration=inputs, passes=PASSES)).program
    before, after = run_network(net, inputs), backends.get("hwsim")(made, inputs)
    np.testing.assert_array_equal(before.spikes["first"].dense(), after.spikes["first"].dense())


def test_several_spikes_become_graded_spikes_without_loss() -> None:
    """Whole numbers below 2^8 are sent as they are."""
    net = network(NEURONS["several spikes"])
    made = Quantise().apply(EncodeOnHost().apply(net), PassData(pixels(net)))
    found, floats = run_network(made, pixels(net, 9)), run_network(net, pixels(net, 9))
    assert floats.spikes["first"].dense().max() > 2
    assert np.array_equal(found.spikes["first"].dense(), floats.spikes["first"].dense())


def test_work_of_the_host_is_counted() -> None:
    """T steps of B samples: a convolution from 2 x 6 x 5 to 4 x 6 x 5 by kernels of 2 x 3 x 3, then the neurons."""
    net = network(NEURONS["LIF, hard reset"], conv(np.random.default_rng(1)), delay=1)
    program = placed(EncodeOnHost().apply(net))
    x = pixels(net)
    (work,) = host_work(program, x, backends.get("reference")(program, x, record=Record(("v",)))).stages
    outputs = 4 * 6 * 5
    steps = T * B * outputs
    assert (work.macs, work.runs, work.phase) == (steps * 2 * 3 * 3, 1, -1)
    assert work.operations == {
        "Concat": 3,  # where time and batch stand in a shape
        # The step that the delay puts in front, for each sample, and a zero behind each image for its edges.
        "Pad": (T + 1) * B * 60 + T * B * 61, "Slice": T * B * 60,
        "Gather": T * B * 18 * 30,  # windows of 2 x 3 x 3 at 6 x 5 positions
        "Expand": B * outputs,  # the potential before the first step
        # v <- keep v + I + bias, compared, as a number, reset; and the bias of the synapses, for all steps at once.
        "Mul": steps, "Add": 3 * steps, "Greater": steps, "CastLike": steps, "Where": steps,
    }  # fmt: skip


def test_a_file_keeps_it(tmp_path: Path) -> None:
    net = network(NEURONS["CubaLIF"], conv(np.random.default_rng(1)), delay=2)
    moved = EncodeOnHost().apply(net)
    Program.unplaced(moved, {}).save(tmp_path / "a.ndp")
    again = Program.load(tmp_path / "a.ndp")
    again.save(tmp_path / "b.ndp")
    assert (tmp_path / "a.ndp").read_bytes() == (tmp_path / "b.ndp").read_bytes()
    assert differing(run_network(net, pixels(net)), backends.get("hwsim")(again, pixels(net))) == []
    assert again.network.notes["encode-on-host first"].startswith("the host computes its 120 neurons from 'image'")
    again_made = EncodeOnHost().apply(net).stages[0].graph
    assert np.array_equal(again_made, again.network.stages[0].graph), "the same network gives the same bytes"
