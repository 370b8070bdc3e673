"""Against recordings that nobody here made: chips and other people's simulators. Skipped where the data are absent."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.backends import lava
from neurodeploy.backends.lava.lower import Runtime
from neurodeploy.backends.lava.setup import setup
from neurodeploy.backends.reference import run as reference
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import Counter, count
from neurodeploy.hwsim.timing.event_tier import Mesh
from neurodeploy.hwsim.timing.tiers import core_timing
from neurodeploy.lowering.lower import lower
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.placement.place import Limits, Place
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, scores
from neurodeploy.program.schedule import schedule
from neurodeploy.verify.after_passes import moved
from neurodeploy.verify.compare import compare

DATA = Path(__file__).parents[2] / "shared" / "data"
SINGLE, BRAILLE, COUNTS = DATA / "nir" / "single-lif", DATA / "nir" / "braille", DATA / "op-counts"
NO_LIMITS = Limits("loihi1", 128, 1024)

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not part of the product")
pytestmark = needs_data


def columns(name: str) -> np.ndarray:
    """Input, v, spike."""
    return np.loadtxt(SINGLE / name, delimiter=",")


def single_lif() -> Program:
    """The task's neuron in registers: w = 10, du = 4095, dv = 163, vth = 25."""
    one = np.ones(1, np.int32)
    neuron = Lif(4095 * one, 163 * one, 0 * one, (25 << 6) * one, 0 * one, 0 * one)
    network = Network(
        "single",
        (Population("input", (1,), Source()), Population("lif", (1,), neuron)),
        (Projection("p", "input", "lif", Dense(np.array([[10]], np.int16))),),
        ("lif",),
        1e-4,
        "loihi",
    )
    return Place(NO_LIMITS).apply(network)


@pytest.mark.parametrize(
    "run", [reference.run, engine.run, lava.run, lava.run_stock], ids=["reference", "hwsim", "lava", "lava-stock"]
)
def test_single_neuron_equals_lava_and_the_loihi_2_chip(run) -> None:
    setup()
    program = single_lif()
    theirs, chip = columns("lif_lava_cpu_fixed.csv"), columns("lif_lava_loihi_fixed.csv")
    x = columns("lif_norse.csv")[:, 0]
    found = run(program, {"": x[:, None, None].astype(int)}, record=Record(("v",)))
    # The recordings are in chip time; the neuron's network step k is chip step k + 1.
    lag = schedule(program.network).lag["lif"]
    v = np.concatenate([np.zeros(lag), found.states["v"]["lif"][:, 0, 0]])[:1000]
    s = np.concatenate([np.zeros(lag), found.spikes["lif"].dense()[:, 0, 0]])[:1000]
    assert s.sum() == 4
    np.testing.assert_array_equal(s, theirs[:, 2])
    np.testing.assert_array_equal(v, theirs[:, 1])
    np.testing.assert_array_equal(s, chip[:, 2])
    differs = np.flatnonzero(v != chip[:, 1])
    np.testing.assert_array_equal(differs, np.flatnonzero(s), "v differs where the chip spikes, and only there")
    assert (chip[differs, 1] == 128).all(), "there the chip's register shows its refractory code"


def test_single_neuron_equals_norse() -> None:
    file = nir_file.read(SINGLE / "lif_norse.nir")
    recorded = columns("lif_norse.csv")
    conventions = resolve(file, dt=1e-4)
    x = {"": recorded[:, :1, None]}
    for found, name in (
        (nir_reference.run(file, x, conventions), "1"),
        (run_network(lower(file, conventions), x, record=Record(("v",))), "1"),
    ):
        np.testing.assert_array_equal(found.spikes[name].dense()[:, 0, 0], recorded[:, 2] > 0)
        np.testing.assert_allclose(found.states["v"][name][:, 0, 0], recorded[:, 1], atol=1e-6)  # recorded in float32


@pytest.mark.parametrize(("who", "recurrent_bias"), [("norse", "after-delay"), ("snntorch", "from-start")])
def test_braille_equals_both_frameworks_under_their_own_convention(who: str, recurrent_bias: str) -> None:
    file = nir_file.read(BRAILLE / "braille_noDelay_bias_zero.nir")
    recorded = np.load(BRAILLE / f"{who}_activity_noDelay_bias_zero.npy") > 0
    x = {"": np.load(BRAILLE / "ds_test_0_input_recovered_256x12.npy")[:, None]}
    assert recorded.sum() in (118, 119)
    conventions = resolve(file, dt=1e-4, recurrent_bias=recurrent_bias)
    network = lower(file, conventions)
    placed = Place(NO_LIMITS).apply(network)
    for found in (nir_reference.run(file, x, conventions), run_network(network, x), engine.run(placed, x)):
        mismatches = int((found.spikes["lif1.lif"].dense()[:, 0] != recorded).sum())
        assert mismatches == 0, f"{found.backend} against {who}"


def test_braille_conventions_are_not_interchangeable() -> None:
    file = nir_file.read(BRAILLE / "braille_noDelay_bias_zero.nir")
    recorded = np.load(BRAILLE / "norse_activity_noDelay_bias_zero.npy") > 0
    x = {"": np.load(BRAILLE / "ds_test_0_input_recovered_256x12.npy")[:, None]}
    found = run_network(lower(file, resolve(file, dt=1e-4, recurrent_bias="from-start")), x)
    assert (found.spikes["lif1.lif"].dense()[:, 0] != recorded).any()


@pytest.mark.parametrize(
    ("case", "sops", "nonzero", "updates"),
    # expected.md, rows "fan-out SOP", "non-zero-weight SOP" and "neuron updates": per sample, the last layer's
    # output spikes cost nothing.
    [("A_poisson", 34730, 34730, 2760), ("B_pruned50", 34620, 17221, 2760), ("D_batch8", 35106, 35106, 2760),
     ("G_conv", 161998, 161998, 41160)],
)  # fmt: skip
def test_operation_counts_equal_the_agreed_ones(case: str, sops: int, nonzero: int, updates: int) -> None:
    with np.load(COUNTS / "cases.npz", allow_pickle=False) as arrays:
        w1, b1, w2, b2, x = (arrays[f"{case}/{key}"].astype(np.float64) for key in ("w1", "b1", "w2", "b2", "x"))
    x = x.reshape(*x.shape[:2], -1).transpose(1, 0, 2)
    first = Conv2d(w1, (2, 16, 16), padding=(1, 1)) if case == "G_conv" else Dense(w1)
    hidden, outputs = first.outputs, len(w2)
    network = Network(
        case,
        (
            Population("x", (first.inputs,), Source()),
            Population("hidden", (hidden,), neuron(hidden, np.repeat(b1, hidden // len(b1)))),
            Population("out", (outputs,), neuron(outputs, b2)),
        ),
        (Projection("1", "x", "hidden", first), Projection("2", "hidden", "out", Dense(w2))),
        ("out",),
        1e-3,
    )
    program = Place(Limits("loihi1", 128, 4096)).apply(network)
    run = engine.run(program, {"": x})
    counts = count(program, run, load_architecture("loihi1"))
    mean = {key: counts.layer[key].sum(axis=(0, 1)).mean() for key in ("sops", "nonzero_sops", "updates")}
    assert round(mean["sops"]) == sops
    assert round(mean["nonzero_sops"]) == nonzero
    assert round(mean["updates"]) == updates
    if case == "A_poisson":
        assert (len(run.spikes["hidden"]), len(run.spikes["out"])) == (337, 13)


def neuron(size: int, bias: np.ndarray) -> Lif:
    """u <- 0.9 u + I; spike if u > 1; u <- 0."""
    full = np.full
    return Lif(full(size, 1.0), full(size, 0.1), bias, full(size, 1.0), full(size, 0.0), full(size, 0.0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nmnist-cnn/cnn_sinabs.nir", {"dt": 1.0}),
        ("braille/braille_noDelay_bias_zero.nir", {"dt": 1e-4, "recurrent_bias": "after-delay"}),
    ],
)
def test_networks_of_others_run_on_hwsim_and_lava_with_equal_spikes(name: str, options: dict) -> None:
    setup()
    if name.startswith("braille"):
        x = np.load(BRAILLE / "ds_test_0_input_recovered_256x12.npy")[:, None]
    else:
        x = (np.random.default_rng(0).random((16, 3, 2, 34, 34)) < 0.1).astype(np.uint8)
    program = compile(
        DATA / "nir" / name, load_architecture("loihi1"), CompileOptions(conventions=options, calibration={"": x})
    ).program
    assert program.network.arithmetic == "loihi"
    runs = [backend(program, {"": x}, record=Record(("u", "v"))) for backend in (reference.run, engine.run, lava.run)]
    for other in runs[1:]:
        pair = compare(runs[0], other, program.network, integer=(True, True))
        assert pair.verdict == "equal", pair
        assert all(first > 0 for first, _, _ in pair.per_layer.values()), "every layer spikes"


@pytest.mark.parametrize("runtime", ["local", "stock"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nmnist-cnn/cnn_sinabs.nir", {"dt": 1.0}),
        ("braille/braille_noDelay_bias_zero.nir", {"dt": 1e-4, "recurrent_bias": "after-delay"}),
        ("braille/braille_noDelay_bias_zero.nir", {"dt": 1e-4, "recurrent_bias": "from-start"}),
    ],
)
def test_networks_of_others_run_on_lava_in_floats_as_the_nir_reference_does(
    name: str, options: dict, runtime: Runtime
) -> None:
    """All neurons, biases present; Lava's Conv for the convolutions in its own runtime, its Sparse in ours."""
    setup()
    if name.startswith("braille"):
        x = np.load(BRAILLE / "ds_test_0_input_recovered_256x12.npy")[:, None]
    else:
        x = (np.random.default_rng(0).random((12, 2, 2, 34, 34)) < 0.1).astype(np.uint8)
    file = nir_file.read(DATA / "nir" / name)
    conventions = resolve(file, **options)
    program = Place(NO_LIMITS).apply(lower(file, conventions))
    truth = nir_reference.run(file, {"": x}, conventions)
    states = Record(("v",))
    found = lava.run(program, {"": x}, record=states, runtime=runtime, expanded=0 if runtime == "stock" else 1 << 24)
    for layer in found.states["v"]:
        np.testing.assert_array_equal(found.spikes[layer].dense(), truth.spikes[layer].dense(), err_msg=layer)
        assert len(found.spikes[layer]), f"{layer} spikes"
        np.testing.assert_allclose(found.states["v"][layer], truth.states["v"][layer], atol=1e-5, err_msg=layer)


def test_braille_in_integers_keeps_its_class_and_its_spikes() -> None:
    """The sample's class, hidden spikes within 5 % of the float network's 118, output counts within 10 %."""
    x = {"": np.load(BRAILLE / "ds_test_0_input_recovered_256x12.npy")[:, None]}
    compiled = compile(
        BRAILLE / "braille_noDelay_bias_zero.nir",
        load_architecture("loihi1"),
        CompileOptions(conventions={"dt": 1e-4, "recurrent_bias": "after-delay"}, calibration=x),
    )
    floats, integers = run_network(compiled.float_network, x), engine.run(compiled.program, x)
    assert len(floats.spikes["lif1.lif"]) == 118
    assert abs(len(integers.spikes["lif1.lif"]) - 118) <= 0.05 * 118
    before, after = scores(compiled.float_network, floats)[0], scores(compiled.program.network, integers)[0]
    assert before.argmax() == after.argmax() == 1
    assert abs(before.sum() - after.sum()) <= 0.1 * before.sum()


def test_sign_split_and_thresholds_keep_braille_close() -> None:
    """At plain 8-bit rounding 120 of 9,728 neuron-steps differ. Calibrated on samples like the one it is judged by,
    neurons scaled apart and signs apart, at least a third fewer do, and every output count is within 10 % (or one).
    """
    sample = np.load(BRAILLE / "ds_test_0_input_recovered_256x12.npy")
    rng = np.random.default_rng(0)
    like = [np.roll(np.where(rng.random(sample.shape) < 0.05, 0, sample), shift, axis=0) for shift in range(8)]
    compiled = compile(
        BRAILLE / "braille_noDelay_bias_zero.nir",
        load_architecture("loihi1"),
        CompileOptions(
            conventions={"dt": 1e-4, "recurrent_bias": "after-delay"},
            calibration={"": np.stack(like, axis=1)},
            passes="split-signs,quantise",
        ),
    )
    x = {"": sample[:, None]}
    floats, integers = run_network(compiled.float_network, x), engine.run(compiled.program, x)
    a, b = floats.spikes["lif1.lif"].dense(), integers.spikes["lif1.lif"].dense()
    change = moved(a, b)
    assert change.different == int((a != b).sum()) <= 80
    assert change.shifted > change.appeared + change.vanished, "most that differs is a spike a step or three off"
    before, after = scores(compiled.float_network, floats)[0], scores(compiled.program.network, integers)[0]
    assert before.argmax() == after.argmax()
    assert (np.abs(after - before) <= np.maximum(0.1 * before, 1)).all()


def sanafe_dvs(steps: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """SANA-FE's recording, and hwsim's energies (J), times (s) by tier and counts of the same steps."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    try:
        import peer_cases
        import peer_sanafe
    finally:
        sys.path.pop(0)
    path = DATA / "sanafe-dvs" / "sanafe_2.2.9_tutorial5_mapping.csv"
    table = np.genfromtxt(path, delimiter=",", names=True)[:steps]
    program = peer_cases.program(peer_cases.dvs_case(DATA / "sanafe-dvs" / "dvs_challenge.npz"))
    simulator = engine.Simulator(program)
    counter = Counter(program, peer_sanafe.ARCH)
    recording = simulator.run({"": np.zeros((steps + 1, 1, 1), np.uint8)}, flags=True)
    counts = counter.count(recording)
    tiers = {
        "core": core_timing(counts, peer_sanafe.ARCH),
        "event": Mesh(simulator, counter).time(recording, counts),
    }
    times = {name: tier.step_ns[1 : steps + 1, 0] * 1e-9 for name, tier in tiers.items()}
    often = {name: values[:, 1 : steps + 1, 0].sum(axis=0) for name, values in counts.core.items()}
    return {name: table[name] for name in table.dtype.names}, peer_sanafe.energy_j(counts, steps), times, often


def test_sanafes_own_network_costs_what_sanafe_says() -> None:
    """Spikes, updates, messages, energy and latency of its `simple` model, in each of 128 steps."""
    theirs, energy, times, counts = sanafe_dvs(128)
    np.testing.assert_array_equal(counts["events_out"], theirs["fired"])
    np.testing.assert_array_equal(counts["active_updates"], theirs["updated"])
    np.testing.assert_array_equal(counts["sops"], theirs["synaptic_events"])
    np.testing.assert_allclose(energy, theirs["E_total_J"], rtol=1e-6)
    np.testing.assert_allclose(times["core"], theirs["latency_simple_s"], rtol=1e-9)
    # Beside its flit-level model, the event tier is nearer than its own `detailed` model.
    ours, detailed = (x / theirs["latency_cycle_s"] - 1 for x in (times["event"], theirs["latency_detailed_s"]))
    assert abs(ours.mean()) < 0.02
    assert np.abs(ours).mean() < 0.02 < np.abs(detailed).mean()


def test_pilotnet_on_loihi2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed comparison with the chip: operations per core, step times, energy."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    try:
        import silicon
    finally:
        sys.path.pop(0)
    monkeypatch.setattr(sys, "argv", ["silicon.py", str(DATA / "loihi2-pilotnet-lif")])
    silicon.main()
    lines = capsys.readouterr().out.splitlines()
    cores = [line.split() for line in lines if line.split()[1:2] and line.split()[1].startswith("conv") and "%" in line]
    assert len(cores) == 21
    edges = {16, 19, 35}
    for core, _, _, _, off, shifted in cores:
        assert abs(float(shifted.rstrip("%"))) <= 2.1
        if int(core) not in {*edges, 34}:
            assert abs(float(off.rstrip("%"))) <= 1.0
    held = [float(line.split("off by ")[1].split("%")[0]) for line in lines if "a fetch" in line]
    assert min(held) <= 1.0
    off = [float(part.split("(")[1].rstrip("%)")) for part in lines[-1].split("measured ")[1].split(", ")]
    assert max(map(abs, off)) <= 10
