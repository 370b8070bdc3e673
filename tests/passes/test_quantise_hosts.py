"""Networks with host stages in integers: what the host sends, products, what stages read, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from neurodeploy import backends
from neurodeploy.api.model import Model
from neurodeploy.backends.host.run import messages
from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main
from neurodeploy.compiler import CompileOptions, compile, limits_of
from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network import reach
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.host import HostInput, HostOutput, HostStage
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import UNLIMITED, Lif, Product, Source
from neurodeploy.passes import PassData
from neurodeploy.passes.quantise.hosts import _message
from neurodeploy.passes.quantise.quantise import Quantise
from neurodeploy.program import overflow
from neurodeploy.program.recording import Record, returned
from tests.conformance import hybrids
from tests.conformance.hybrids import STEP, graph

N = hybrids.N
STAGE = hybrids.stage("host", hybrids.gate(), "first", "fed", "step")


def spikes(seed: int = 0, steps: int = 14, rate: float = 0.4) -> np.ndarray:
    return (np.random.default_rng(seed).random((steps, 3, N)) < rate).astype(np.uint8)


def lif(**changed: object) -> Lif:
    one = np.ones(N)
    values = {"du": one, "dv": 0.2 * one, "bias": 0 * one, "threshold": one, "reset_to": 0 * one, "initial": 0 * one}
    return Lif(**{**values, **changed})  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8),
    st.sampled_from([1e-3, 0.1, 1.0, 30.0]), st.booleans(), st.integers(1, 16),
)  # fmt: skip
def test_a_message_is_the_value_to_half_a_unit(given: list[float], factor: float, whole: bool, bits: int) -> None:
    """Or to a whole one at the very top: 2^N / c is held at (2^N - 1) / c."""
    made = np.array(given)[None, None] * factor
    made = np.rint(made) if whole else made
    size = made.shape[2]
    sent = _message(Population("fed", (size,), Source()), STAGE, made, None, bits).population
    network = Network(
        "n", (sent, Population("read", (1,), lif_of(1))),
        (Projection("p", "fed", "read", Dense(np.zeros((1, size), np.int16))),), ("read",), 1e-3, "loihi",
    )  # fmt: skip
    found = messages(network, sent, made)
    if ((made == 0) | (made == 1)).all() and made.any():
        assert sent.neuron.payload_bits == 1 and np.array_equal(found, made)  # type: ignore[attr-defined]
        return
    scale, most = float(sent.scales[0]), (1 << bits) - 1
    assert sent.neuron.payload_bits == bits + 1 and np.abs(found).max() <= most  # type: ignore[attr-defined]
    np.testing.assert_array_less(np.abs(found / scale - made) * scale, 1 + 1e-9)
    inside = np.abs(made) * scale <= most
    np.testing.assert_array_less((np.abs(found / scale - made) * scale)[inside], 0.5 + 1e-9)
    if whole and np.abs(made).max() <= most:
        assert scale == 1, "whole numbers are sent as they are"
    elif made.any():
        assert most / 2 < np.abs(made).max() * scale <= most + 1, "the largest value fills its bits"


def lif_of(size: int) -> Lif:
    zero, most = np.zeros(size, np.int32), np.full(size, 4095, np.int32)
    return Lif(most, zero, zero, zero + 64, zero, zero)


def gated(w0: np.ndarray, w1: np.ndarray, threshold: float = 0.0) -> Network:
    """Two inputs and their product."""
    size = len(w0)
    parts = tuple(Population(name, (w.shape[1],), Source()) for name, w in (("a", w0), ("b", w1)))
    product = Population("product", (size,), Product(np.full(size, threshold)))
    wired = (Projection("wa", "a", "product", Dense(w0)), Projection("wb", "b", "product", Dense(w1), port=1))
    return Network("gated", (*parts, product), wired, ("product",), 1e-3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.booleans(), st.integers(4, 16), st.sampled_from([1.0, 0.01, 7.0]))
def test_products_follow_the_floats(seed: int, calibrated: bool, bits: int, factor: float) -> None:
    """Each factor is off by half a step for each spike, and the shift loses less than one unit of the message."""
    rng = np.random.default_rng(seed)
    w0, w1 = factor * rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    network = gated(w0, w1)
    x = {"a": (rng.random((6, 2, 4)) < 0.5).astype(np.uint8), "b": (rng.random((6, 2, 3)) < 0.5).astype(np.uint8)}
    integer = Quantise(payload=bits).apply(network, PassData(x if calibrated else None))
    before, after = (run_network(n, x).spikes["product"].dense().astype(float) for n in (network, integer))
    scale = float(integer.by_name["product"].scales[0])
    off = 2 * np.abs(w0).max() / 254, 2 * np.abs(w1).max() / 254  # weights of both signs are even numbers
    bound = off[0] * 4 * np.abs(w1).sum(1).max() + off[1] * 3 * np.abs(w0).sum(1).max() + 4 * 3 * off[0] * off[1]
    assert np.abs(after / scale - before).max() <= bound + 1 / scale
    if calibrated:
        assert np.abs(after).max() <= (1 << bits) * 1.02 + 1


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_gate_of_ones_is_exact(calibrated: bool) -> None:
    """Weights of 0.25 become 1, and both ports' products are whole numbers: nothing is lost, nothing shifted."""
    network = gated(0.25 * np.eye(4), 0.5 * np.eye(4))
    x = {name: (np.random.default_rng(3).random((9, 2, 4)) < 0.6).astype(np.uint8) for name in "ab"}
    integer = Quantise().apply(network, PassData(x if calibrated else None))
    product = integer.by_name["product"]
    assert (float(product.scale), product.neuron.shift) == (8.0, 0)  # type: ignore[attr-defined, arg-type]
    before, after = (run_network(n, x).spikes["product"].dense() for n in (network, integer))
    np.testing.assert_array_equal(before, after / 8)


def test_products_that_sent_nothing_in_calibration_are_made_for_the_worst() -> None:
    rng = np.random.default_rng(5)
    network = gated(rng.normal(size=(5, 4)), rng.normal(size=(5, 3)))
    quiet = {"a": np.zeros((4, 1, 4), np.uint8), "b": np.zeros((4, 1, 3), np.uint8)}
    integer = Quantise().apply(network, PassData(quiet))
    assert integer.by_name["product"].scales[0] == Quantise().apply(network).by_name["product"].scales[0]
    assert reach.messages(integer)["product"] <= 2 * 256
    never = replace(network.by_name["product"], neuron=Product(np.full(5, 1e12)))
    high = replace(network, populations=(*network.populations[:2], never))
    loud = {"a": np.ones((4, 1, 4), np.uint8), "b": np.ones((4, 1, 3), np.uint8)}
    assert len(run_network(Quantise().apply(high), loud).spikes["product"]) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(4, 16))
def test_no_product_is_larger_than_is_proven(seed: int, bits: int) -> None:
    """All inputs of one sign at once are the worst that there is; each sign is tried at each port."""
    rng = np.random.default_rng(seed)
    integer = Quantise(payload=bits).apply(gated(rng.normal(size=(5, 4)), rng.normal(size=(5, 3))))
    most = reach.messages(integer)["product"]
    worst = 0
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        x = {
            p.source: (sign * p.connectivity.weights > 0).astype(np.uint8)[:, None]  # a step for each product
            for p, sign in zip(integer.projections, signs, strict=True)
        }
        worst = max(worst, int(np.abs(run_network(integer, x).spikes["product"].dense().astype(np.int64)).max()))
    assert worst <= most <= 8 * worst + 8


@pytest.mark.parametrize("name", hybrids.HYBRIDS)
def test_the_integers_follow_the_floats(name: str) -> None:
    case = hybrids.build(name, "float")
    network = case.program.network
    integer = Quantise().apply(network, PassData(case.inputs))
    assert integer.arithmetic == "loihi" and len(integer.stages) == len(network.stages)
    before, after = run_network(network, case.inputs), run_network(integer, case.inputs)
    neurons = [p.name for p in network.populations if not p.external]
    sent = sum(len(before.spikes[n]) for n in neurons)
    differ = sum(((before.spikes[n].dense() != 0) != (after.spikes[n].dense() != 0)).sum() for n in neurons)
    assert sent > 100 and differ <= 0.05 * sent
    for stage in network.stages:
        for given_ in stage.gives:
            close = np.abs(before.hosted[given_.target or given_.name] - after.hosted[given_.target or given_.name])
            assert close.mean() < 0.05


def read_potential(**changed: object) -> Network:
    """A population whose potentials a stage behind hands to the user as they are."""
    same = graph([("Identity", "x", "y")], {"x": hybrids.SEQUENCE}, {"y": hybrids.SEQUENCE})
    stage = HostStage("reader", same, (HostInput("x", "first", "potential"),), (HostOutput("y"),), "behind")
    w = Dense(np.random.default_rng(1).normal(size=(N, N)) + 0.35)
    parts = (Population("input", (N,), Source()), Population("first", (N,), lif(**changed)))
    return Network("n", parts, (Projection("w", "input", "first", w),), ("first",), 1e-3, stages=(stage,))


def test_potentials_that_stages_read_are_those_of_the_model(tmp_path: Path) -> None:
    """Integers count from the reset potential, -0.3 here; the stage reads it with that added again."""
    network, x = read_potential(reset_to=np.full(N, -0.3)), {"input": spikes()}
    integer = Quantise().apply(network, PassData(x))
    program = compiled(network, tmp_path, x)
    for quantised in (integer, program.network):
        before, after = (run_network(n, x).hosted["y"] for n in (network, quantised))
        assert np.abs(before - after).max() < 0.05
        assert (before == -0.3).any() and np.isclose(after, -0.3).any()
    program.save(tmp_path / "b.ndp")
    again = backends.get("hwsim")(type(program).load(tmp_path / "b.ndp"), x)
    np.testing.assert_array_equal(again.hosted["y"], run_network(program.network, x).hosted["y"])


def compiled(network: Network, folder: Path, x: dict[str, np.ndarray], chip: str = "loihi2", **more: object):  # type: ignore[no-untyped-def]
    hybrids.placed(network).save(folder / "a.ndp")
    options = CompileOptions(calibration=x, **more)  # type: ignore[arg-type]
    return compile(folder / "a.ndp", load_architecture(chip), options).program


def test_numbers_of_spikes_are_no_values() -> None:
    """What a stage reads of neurons that spike several times in a step is how often, in floats and in integers."""
    network = read_potential(reset="subtract", max_spikes=UNLIMITED)
    same = replace(network.stages[0], takes=(HostInput("x", "first"),))
    network, x = replace(network, stages=(same,)), {"input": spikes()}
    integer = Quantise().apply(network, PassData(x))
    assert integer.by_name["first"].scales.min() > 1
    found = run_network(integer, x)
    np.testing.assert_array_equal(found.hosted["y"][0], found.spikes["first"].dense())
    assert found.hosted["y"].max() > 1


def test_what_only_the_host_reads_need_not_be_spikes(tmp_path: Path) -> None:
    """An image in fractions, of which an encoder makes spikes."""
    case = hybrids.build("an encoder before the first step", "float")
    x = {"image": case.inputs["image"] / 99.5}
    program = compiled(case.program.network, tmp_path, x)
    found = backends.get("hwsim")(program, x)
    assert "sends it spikes" in program.network.notes["host encoded"]
    np.testing.assert_array_equal(found.hosted["encoded"], run_network(case.program.network, x).hosted["encoded"])
    np.testing.assert_array_equal(found.spikes["image"].dense(), x["image"])


def test_stages_may_hand_on_to_stages(tmp_path: Path) -> None:
    """What only another stage reads is never a message, so that it is not rounded."""
    case = hybrids.build("attention between two phases", "float")
    network = case.program.network
    half = graph([("Sqrt", "x", "y")], {"x": STEP}, {"y": STEP})
    between = Population("between", (N,), Source())
    first = replace(network.stages[0], gives=(HostOutput("y", "between"),))
    network = replace(
        network, populations=(between, *network.populations),
        stages=(first, hybrids.stage("root", half, "between", "seen", "step")),
    )  # fmt: skip
    program = compiled(network, tmp_path, case.inputs)
    assert "host between" not in program.network.notes and "host seen" in program.network.notes
    found = backends.get("hwsim")(program, case.inputs)
    np.testing.assert_allclose(found.hosted["seen"], np.sqrt(found.hosted["between"]))
    sent = found.spikes["seen"].dense()
    np.testing.assert_array_equal(sent, np.clip(np.rint(found.hosted["seen"] * 256), -255, 255))


@pytest.mark.parametrize("backend", ["reference", "hwsim"])
def test_what_does_not_fit_its_message_is_counted_and_said(backend: str, tmp_path: Path) -> None:
    """Numbers far beyond those of calibration are held; values where calibration saw 0 and 1 become a spike."""
    factor = graph([("Mul", "x x", "y")], {"x": hybrids.SEQUENCE}, {"y": hybrids.SEQUENCE})
    case = hybrids.build("attention between two phases", "float")
    stage = hybrids.stage("square", factor, "image", "seen", "before")
    image = Population("image", (N,), Source())
    network = replace(case.program.network, populations=(image, *case.program.network.populations), stages=(stage,))
    for top, beyond in ((1.9, 4.0), (1.0, 1.5)):
        x = {"input": spikes(), "image": top * spikes(1)}
        program = compiled(network, tmp_path, x)
        fits = backends.get(backend)(program, x)
        assert fits.left == {} and overflow.said(fits.left, program.network, 14, 3) == []
        more = {**x, "image": beyond * spikes(1)}
        found = backends.get(backend)(program, more)
        count = int(spikes(1).sum())
        assert found.left == {"seen": {"message_held": count}}
        (line,) = overflow.said(found.left, program.network, 14, 3)
        assert f"'seen': of {14 * 3 * N} neuron-steps what the host made did not fit its message in {count:,}" in line


def test_without_samples_it_says_what_it_needs() -> None:
    network = hybrids.build("attention between two phases", "float").program.network
    with pytest.raises(InvalidInputError, match="needs samples") as caught:
        Quantise().apply(network)
    assert "'attention' feeds 'seen'" in str(caught.value.found) and "--calibration" in str(caught.value.hint)
    reader = read_potential()
    assert Quantise().apply(reader).arithmetic == "loihi", "a stage that feeds nothing sends nothing"


def test_a_chip_without_graded_spikes_takes_spikes_alone(tmp_path: Path) -> None:
    case = hybrids.build("attention between two phases", "float")
    with pytest.raises(UnsupportedError, match="'attention' sends 'seen' numbers, which loihi1 cannot take") as caught:
        compiled(case.program.network, tmp_path, case.inputs, "loihi1")
    assert "graded spikes" in str(caught.value.hint)
    case = hybrids.build("an encoder before the first step", "float")
    program = compiled(case.program.network, tmp_path, case.inputs, "loihi1")
    assert len(backends.get("hwsim")(program, case.inputs).spikes["first"]) > 20


def test_the_bits_are_an_option_a_populations_own_or_the_chips(tmp_path: Path) -> None:
    case = hybrids.build("attention between two phases", "float")
    network = case.program.network

    def bits(net: Network, passes: str = "quantise", most: int | None = 32) -> int:
        limits = replace(limits_of(load_architecture("loihi2")), payload_bits=most)
        option = int(passes.partition("=")[2].strip("}") or 8)
        found = Quantise(payload=option).apply(net, PassData(case.inputs, limits=limits))
        return found.by_name["seen"].neuron.payload_bits  # type: ignore[attr-defined, no-any-return]

    assert bits(network) == 9 and bits(network, "quantise{payload=12}") == 13
    assert bits(network, most=6) == 6
    own = replace(network.by_name["seen"], neuron=Source(payload_bits=5))
    chosen = replace(network, populations=tuple(own if p.name == "seen" else p for p in network.populations))
    assert bits(chosen) == 5
    with pytest.raises(InvalidInputError, match="cannot have so many bits"):
        bits(network, "quantise{payload=25}")


def test_compile_run_and_verify_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    case = hybrids.build("two phases, a gate, and a reader behind", "float")
    case.program.save(Path("a.ndp"))
    np.save("x.npy", case.inputs["input"])
    command = ["compile", "a.ndp", "--chip", "loihi2", "--calibration", "x.npy", "-o", "b.ndp"]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert "sends it graded spikes of 8 bits" in said["notes"]["host seen"]
    assert [stage["name"] for stage in said["passes"]] == ["lower", "prune", "encode", "quantise"]
    assert main(["run", "b.ndp", "--input", "x.npy"]) == 0
    assert "hwsim: 3 sample(s), 14 steps" in capsys.readouterr().out
    x = np.load("x.npy")
    found = Model(Path("a.ndp")).compile("loihi2", calibration=x).verify(x, backends=["reference", "hwsim"])
    verdicts = {(pair.first, pair.second): pair.verdict for pair in found.pairs}
    assert verdicts["float network", "integer network"] in ("measured", "equal")
    assert verdicts["integer network", "hwsim"] == "equal"
    again = Model(Path("a.ndp")).verify(x, chip="loihi2", backends=["reference", "hwsim"])
    assert [p.verdict for p in again.pairs] == list(verdicts.values()), "calibrated on what it verifies"
    program = Model(Path("a.ndp")).compile("loihi2", calibration=x)
    recording = backends.get("hwsim")(program.of, {"input": x}, record=Record(("v",)))
    floats = run_network(case.program.network, case.inputs)
    np.testing.assert_allclose(
        returned(program.network, recording)[0], returned(case.program.network, floats)[0], atol=0.1
    )


@pytest.mark.parametrize("ratio", [1.0, 1e-2, 1e-3, 3e-4])
def test_weights_far_apart_have_exponents_within_the_register(ratio: float) -> None:
    """As those behind numbers of 256 for 1 are beside those behind spikes: exponents go from -8 to 7 at most, so a
    scale at which the smaller ones fill their bits must not be so fine that the larger ones have none."""
    one = np.ones(1)
    neuron = Lif(du=one, dv=one, bias=0 * one, threshold=0.667 * one, reset_to=0 * one, initial=0 * one)
    parts = (Population("a", (1,), Source()), Population("b", (1,), Source()), Population("lif", (1,), neuron))
    wired = tuple(Projection(n, n, "lif", Dense(np.full((1, 1), w))) for n, w in (("a", 1.7538), ("b", 1.7538 * ratio)))
    network = Network("n", parts, wired, ("lif",), 1e-3)
    rng = np.random.default_rng(0)
    x = {n: rng.integers(0, 2, (9, 2, 1)) for n in "ab"}
    integer = Quantise(rounding="nearest").apply(network, PassData(x))
    scale = float(integer.by_name["lif"].scales[0])
    for before, after in zip(network.projections, integer.projections, strict=True):
        kind = after.connectivity
        assert -8 <= kind.exponent <= 7
        found = float(kind.weights[0, 0]) * 64 * 2.0**kind.exponent / scale
        assert found == pytest.approx(float(before.connectivity.weights[0, 0]), rel=0.03)
