"""What a chip's file says of its numbers and neurons is obeyed, or refused by name; every output says which."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import backends
from neurodeploy.cli import main
from neurodeploy.compiler import CompileOptions, compile, limits_of, place
from neurodeploy.errors import DoesNotFitError, NeurodeployError, UnsupportedError
from neurodeploy.hwsim.chips.arch import Architecture, available, load_architecture
from neurodeploy.hwsim.chips.computed import named, registers_of
from neurodeploy.hwsim.cost import cost
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.loihi_ranges import effective_weights
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.registers import LOIHI, Registers, weight_bits
from neurodeploy.passes import PassData
from neurodeploy.program.program import Program
from tests import nirgraphs
from tests.cli.conftest import Run
from tests.networks import random_network
from tests.random_nir import random_graph

OWN = """
extends: {base}
name: own
title: A chip of our own
limits:
  {limit}: {{value: {value}, unit: bits, source: an example, confidence: assumed}}
"""
Own = Callable[..., Path]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """A chip file that changes one limit of another chip."""

    def write(limit: str, value: int, base: str = "loihi1") -> Path:
        path = tmp_path / "own.yaml"
        path.write_text(OWN.format(base=base, limit=limit, value=value))
        return path

    return write


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")


@cache
def with_bits(bits: int, base: str = "loihi1") -> Architecture:
    arch = load_architecture(base)
    wide = arch.limits.weight_bits.model_copy(update={"value": bits})
    limits = arch.limits.model_copy(update={"weight_bits": wide})
    return arch.model_copy(update={"name": "own", "limits": limits})


def magnitudes(network: Network) -> list[tuple[int, int]]:
    """Different positive and negative weights of each projection."""
    kinds = [np.unique(p.connectivity.weights) for p in network.projections]
    return [(int((w > 0).sum()), int((w < 0).sum())) for w in kinds]


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_a_chip_of_few_bits_gets_weights_of_few_bits(run: Run, own: Own, net: Path, x: Path, bits: int) -> None:
    out = net.with_name("own.ndp")
    chip = own("weight_bits", bits)
    code, text, err = run("compile", net, "--dt", 1e-3, "--calibration", x, "--chip", chip, "-o", out)
    assert code == 0, err
    assert f"arithmetic: Loihi's integers (weights of {bits} bits, states of 24): the chip's own" in text
    network = Program.load(out).network
    for positive, negative in magnitudes(network):
        assert positive <= 2 ** (bits - 1) - 1 and negative <= 2 ** (bits - 1)
    # Both signs: Lava's weights of so many bits (num_weight_bits) are exactly these.
    for projection in network.projections:
        weights = projection.connectivity.weights
        np.testing.assert_array_equal(effective_weights(weights, bits, "mixed"), weights)
    assert run("cost", out, "-i", x)[0] == 0


@pytest.mark.parametrize("base", ["loihi2", "spinnaker2", "anp-i"])
def test_whatever_the_chip_is_called(run: Run, own: Own, net: Path, x: Path, base: str) -> None:
    out, chip = net.with_name("own.ndp"), own("weight_bits", 3, base)
    assert run("compile", net, "--dt", 1e-3, "--calibration", x, "--chip", chip, "-o", out)[0] == 0
    assert all(p <= 7 and n <= 7 for p, n in magnitudes(Program.load(out).network))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), bits=st.integers(1, 9))
def test_random_networks_keep_to_the_bits_or_are_refused(tmp_path_factory, seed: int, bits: int) -> None:
    path = tmp_path_factory.mktemp("random") / "net.nir"
    nirgraphs.write(random_graph(seed), path)
    arch = with_bits(bits)
    try:
        compiled = compile(path, arch, CompileOptions(conventions={"dt": 1e-3}))
    except NeurodeployError:
        return
    held = min(bits, 8)
    for projection in compiled.program.network.projections:
        weights = projection.connectivity.weights
        positive, negative = int((np.unique(weights) > 0).sum()), int((np.unique(weights) < 0).sum())
        both = positive and negative
        assert positive <= 2 ** (held - bool(both)) - 1 and negative <= 2 ** (held - bool(both)) - (not both)
        assert weight_bits(weights) <= held
    eight = compile(path, load_architecture("loihi1"), CompileOptions(conventions={"dt": 1e-3})).program.network
    if bits >= 8:
        for first, second in zip(eight.projections, compiled.program.network.projections, strict=True):
            np.testing.assert_array_equal(first.connectivity.weights, second.connectivity.weights)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), bits=st.integers(1, 8), shift=st.integers(0, 6), sign=st.sampled_from("+-*"))
def test_the_bits_that_weights_need_are_those_with_which_lava_keeps_them(
    seed: int, bits: int, shift: int, sign: str
) -> None:
    """Some shift of the weights is one that ``num_weight_bits`` leaves as it is, and no bit fewer is enough."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(-(1 << bits), 1 << bits, 6) if sign == "*" else rng.integers(0, 1 << bits, 6)
    weights = ((-raw if sign == "-" else raw) << shift).astype(np.int64)
    mode = "mixed" if weights.min() < 0 < weights.max() else "inhibitory" if weights.min() < 0 else "excitatory"

    def kept(with_bits: int) -> bool:
        tried = [w for k in range(9) for w in (weights << k, weights >> k if not (weights % (1 << k)).any() else None)]
        return any(w is not None and np.array_equal(effective_weights(w, with_bits, mode), w) for w in tried)

    need = weight_bits(weights)
    assert need == 0 or need > 8 or kept(need)
    assert need <= 1 or need > 9 or not kept(need - 1)


def integers(weights: np.ndarray, **changed: object) -> Network:
    size = len(weights)
    zero = np.zeros(size, np.int32)
    neuron = Lif(zero + 4095, zero + 128, zero, zero + 6400, zero, zero)
    populations = (
        Population("in", (weights.shape[1],), Source()), Population("out", (size,), replace(neuron, **changed))
    )  # fmt: skip
    return Network("n", populations, (Projection("w", "in", "out", Dense(weights)),), ("out",), 1e-3, "loihi")


def test_integers_that_the_chip_cannot_hold_are_refused_by_name() -> None:
    network = integers(np.array([[200, -100, 6]], np.int16))
    with pytest.raises(DoesNotFitError, match="'w' needs 8 bits of weight") as refused:
        place(network, with_bits(4), {})
    assert "3 different ones from -100 to 200" in str(refused.value) and "has 4" in str(refused.value)
    assert place(network, with_bits(8), {}).chip == "own"
    assert place(integers(np.array([[-256, 224, 32]], np.int16)), with_bits(4), {}).chip == "own"
    # A common factor is the exponent's business.
    assert place(integers(np.array([[-16, 14, 2]], np.int16)), with_bits(4), {}).chip == "own"


@pytest.mark.parametrize(
    ("limit", "value", "changed", "said"),
    [
        ("threshold_mantissa_bits", 6, {"threshold": np.array([64 << 6])}, "threshold of 64 units of 64"),
        ("state_bits", 16, {"threshold": np.array([64 * 600])}, "threshold of 600 units of 64"),
        ("state_bits", 16, {"bias": np.array([40_000])}, "bias in a state of 40,000"),
        ("bias_mantissa_bits", 8, {"bias": np.array([255])}, "bias of 255"),
        ("bias_exponent_max", 2, {"bias": np.array([4095 << 4])}, "bias of 16,380"),
        ("decay_bits", 8, {"dv": np.array([130])}, "dv of 130/4096"),
        ("decay_bits", 8, {"du": np.array([1000])}, "du of 1001/4096"),
    ],
)
def test_other_widths(own: Own, limit: str, value: int, changed: dict[str, np.ndarray], said: str) -> None:
    network = integers(np.array([[2]], np.int16), **changed)
    place(network, load_architecture("loihi1"), {})
    with pytest.raises(DoesNotFitError) as refused:
        place(network, load_architecture(own(limit, value)), {})
    assert said in str(refused.value) and "'out'" in str(refused.value)


@pytest.mark.parametrize(
    ("limit", "value"),
    [("state_bits", 16), ("threshold_mantissa_bits", 8), ("bias_mantissa_bits", 5), ("decay_bits", 6)],
)
def test_quantise_keeps_to_other_widths(run: Run, own: Own, net: Path, x: Path, limit: str, value: int) -> None:
    out = net.with_name("own.ndp")
    code, text, err = run("compile", net, "--dt", 1e-3, "--calibration", x, "--chip", own(limit, value), "-o", out)
    assert code == 0, err
    if limit == "state_bits":
        assert "states reach" in text and "in calibration, of 32,767" in " ".join(text.split())
        bare = run("compile", net, "--dt", 1e-3, "--chip", own(limit, value), "-o", out)[1]
        assert "without calibration nothing says" in bare


def test_potentials_stay_within_the_bits_that_calibration_saw(own: Own, net: Path) -> None:
    arch = load_architecture(own("state_bits", 16))
    x = {"input": (np.random.default_rng(1).random((30, 4, 12)) < 0.4).astype(np.uint8)}
    program = compile(net, arch, CompileOptions(conventions={"dt": 1e-3}, calibration=x)).program
    from neurodeploy.program.recording import Record

    found = backends.get("hwsim")(program, x, record=Record(("u", "v")))
    for states in found.states.values():
        for values in states.values():
            assert np.abs(values).max() < 1 << 15


def test_fine_tuning_stays_on_the_chips_grid(net: Path) -> None:
    torch = pytest.importorskip("torch")
    from neurodeploy.passes.fine_tune.trainable import Weights

    x = {"input": (np.random.default_rng(2).random((15, 10, 12)) < 0.3).astype(np.uint8)}
    options = CompileOptions(conventions={"dt": 1e-3}, calibration=x, passes="quantise,fine-tune{iterations=2}")
    network = compile(net, with_bits(3), options).program.network
    assert max(weight_bits(p.connectivity.weights) for p in network.projections) <= 3
    # Every weight there and back, as far as its grid lets it.
    for sign in (1.0, -1.0):
        weights = Weights(network, registers_of(with_bits(3)))
        everything = torch.arange(weights.count)
        for _ in range(3):
            weights.move(everything, torch.full((weights.count,), sign), 3)
        moved = weights.network()
        assert max(weight_bits(p.connectivity.weights) for p in moved.projections) <= 3
        assert any((p.connectivity.weights != q.connectivity.weights).any() for p, q in zip(
            network.projections, moved.projections, strict=True))  # fmt: skip
    assert PassData().registers == LOIHI


def test_a_bit_has_no_two_signs(own: Own, net: Path, run: Run) -> None:
    out = net.with_name("own.ndp")
    code, _, err = run("compile", net, "--dt", 1e-3, "--chip", own("weight_bits", 1), "-o", out)
    assert code == 2 and "a weight of 1 bit cannot have both signs" in err and not out.exists()
    given = ("--chip", own("weight_bits", 1), "--passes", "split-signs,quantise", "-o", out)
    assert run("compile", net, "--dt", 1e-3, *given)[0] == 0
    assert all(p + n <= 1 for p, n in magnitudes(Program.load(out).network))


def test_a_neuron_of_truenorth_has_four_weights() -> None:
    assert registers_of(load_architecture("truenorth")).grid_bits == 2
    arch = load_architecture("truenorth")
    five = integers(np.array([[2, 4, 6, 8, 10]], np.int16), dv=np.array([0]))
    with pytest.raises(DoesNotFitError, match="5 different weights at a neuron"):
        place(five, arch, {})
    four = integers(np.array([[2, 4, 6, 8, 0, 8]], np.int16), dv=np.array([0]))
    place(four, arch, {})
    other = Projection("other", "in", "out", Dense(np.array([[10, 0, 0, 0, 0, 0]], np.int16)))
    with pytest.raises(DoesNotFitError, match=r"5 different weights at a neuron.*\n.*join the 2 projections"):
        place(replace(four, projections=(*four.projections, other)), arch, {})


# --- kinds of neuron -------------------------------------------------------------------------------------------------


def test_every_population_is_named_that_the_chip_cannot_reset(run: Run, net: Path) -> None:
    out = net.with_name("own.ndp")
    for reset, chip in (("none", "loihi1"), ("hard", "xylo"), ("subtract", "odin"), ("none", "speck")):
        code, _, err = run("compile", net, "--dt", 1e-3, "--reset", reset, "--chip", chip, "-o", out)
        assert code == 2 and "'lif1'" in err and "'lif2'" in err, (reset, chip)
        assert "--chip" in err and "train it with the reset that there is" in err
        assert not out.exists()
        code, table, _ = run("compile", net, "--dt", 1e-3, "--reset", reset, "--chip", chip, "-o", out, "--explain")
        assert code == 2 and sum("│ NO" in line for line in table.splitlines()) >= 2


def test_soft_reset_takes_two_compartments_of_loihi_1(run: Run, net: Path, x: Path) -> None:
    use, updates, energy = {}, {}, {}
    for reset, chip in (("hard", "loihi1"), ("subtract", "loihi1"), ("subtract", "loihi2")):
        out = net.with_name(f"{reset}-{chip}.ndp")
        found = run("compile", net, "--dt", 1e-3, "--reset", reset, "--chip", chip, "-o", out, "--json")
        assert found[0] == 0, found[2]
        result = json.loads(found[1])
        use[reset, chip] = sum(u["neurons"] for u in result["use"])
        noted = [text for topic, text in result["notes"].items() if topic.startswith("compartments")]
        assert len(noted) == (2 if (reset, chip) == ("subtract", "loihi1") else 0)
        told = json.loads(run("cost", out, "-i", x, "--json")[1])
        updates[reset, chip] = told["counts"]["total"]["updates"]
        energy[reset, chip] = told["energy_pj"]
    assert use == {("hard", "loihi1"): 25, ("subtract", "loihi1"): 50, ("subtract", "loihi2"): 25}
    assert updates["subtract", "loihi1"] == 2 * updates["subtract", "loihi2"] == 2 * updates["hard", "loihi1"]
    kinds = ("neuron_update_active", "neuron_update_inactive")
    assert sum(energy["subtract", "loihi1"].get(k, 0) for k in kinds) > sum(
        energy["hard", "loihi1"].get(k, 0) for k in kinds
    )


@pytest.mark.parametrize("tier", ["core", "event", "flit"])
def test_every_tier_of_time_counts_both_compartments(tier: str) -> None:
    """A core that sends nothing takes 20 updates of its neurons: twice as long where each is two."""
    weights = np.full((20, 1), 2, np.int16)
    arch = load_architecture("loihi1")
    times = {}
    for reset in ("hard", "subtract"):
        program = place(integers(weights, reset=reset, threshold=np.full(20, 64 << 16)), arch, {})
        found = cost(program, {"in": np.zeros((5, 1, 1), np.uint8)}, arch, tier=tier)  # type: ignore[arg-type]
        times[reset] = float(found.timing.step_ns.sum()) - found.timing.terms.get("barrier", 0.0)
    assert times["subtract"] - times["hard"] == pytest.approx(6 * 20 * 5.3)


def test_compartments_are_placed_within_a_core() -> None:
    arch = load_architecture("loihi1")
    weights = np.full((1500, 1), 2, np.int16)
    for reset, cores in (("hard", 2), ("subtract", 3)):
        program = place(integers(weights, reset=reset, threshold=np.full(1500, 6400)), arch, {})
        assert len(program.use) == cores
        assert max(u.neurons for u in program.use) <= 1024
    with pytest.raises(DoesNotFitError, match="needs 200,000 neurons"):
        place(integers(np.full((100_000, 1), 2, np.int16), reset="subtract", threshold=np.full(100_000, 64)), arch, {})


def test_a_delayed_reset_is_the_one_that_gives_its_spikes() -> None:
    """Hard ``next`` to 0 fires as ``now``; ``gate`` as with one refractory step (`Lif.features` says so)."""
    rng = np.random.default_rng(3)
    weights = (2 * rng.integers(-60, 127, (9, 12))).astype(np.int16)
    x = {"in": (rng.random((60, 3, 12)) < 0.5).astype(np.uint8)}

    def spikes(**changed: object) -> np.ndarray:
        one = np.ones(9, np.int32)
        given = {"threshold": 6400 * one, "dv": 300 * one, "du": 2000 * one, **changed}
        return backends.get("hwsim")(place(integers(weights, **given), None, {}), x).spikes["out"].dense()

    now = spikes()
    np.testing.assert_array_equal(spikes(reset_time="next"), now)
    assert now.any()
    np.testing.assert_array_equal(spikes(reset_time="gate"), spikes(refractory=np.ones(9, np.int32)))


# --- one arithmetic for all back-ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "changed", "said"),
    [
        ([[300]], {}, "the weights of projection 'w'"),
        ([[129, -2]], {}, "the weights of projection 'w'"),
        ([[-256, 1]], {}, "the weights of projection 'w'"),
        ([[2]], {"bias": np.array([4097])}, "the bias of population 'out'"),
        ([[2]], {"bias": np.array([4096 << 7])}, "the bias of population 'out'"),
        ([[2]], {"bias": np.array([8191]), "reset": "subtract"}, "the bias of population 'out'"),
        ([[2]], {"threshold": np.array([6401])}, "the threshold of population 'out'"),
        ([[2]], {"threshold": np.array([64 << 18])}, "threshold of population 'out'"),
        ([[2]], {"du": np.array([4096])}, "du of population 'out'"),
        ([[2]], {"initial": np.array([1 << 23])}, "initial of population 'out'"),
    ],
)
def test_all_back_ends_refuse_the_same_integers(weights: list[list[int]], changed: dict, said: str, run: Run, tmp_path):
    from neurodeploy.backends.lava.lower import lower
    from neurodeploy.program.recording import Record

    network = integers(np.array(weights, np.int16), **changed)
    program = Program(network, "none", {"out": np.zeros(1, np.int32)})
    x = {"in": np.ones((2, 1, len(weights[0])), np.uint8)}
    engines = {
        "reference": lambda: backends.get("reference")(program, x),
        "hwsim": lambda: backends.get("hwsim")(program, x),
        "lava": lambda: lower(program, x, Record()),
        "placed": lambda: place(network, load_architecture("loihi2"), {}),
        "on none": lambda: place(network, None, {}),
    }
    for name, start in engines.items():
        with pytest.raises(UnsupportedError if name != "placed" else NeurodeployError) as refused:
            start()
        if name != "placed":
            assert str(refused.value).startswith(said), name
    program.save(tmp_path / "bad.ndp")
    np.save(tmp_path / "x.npy", x["in"])
    assert run("run", tmp_path / "bad.ndp", "-i", tmp_path / "x.npy")[0] == 2
    code, out, _ = run("inspect", tmp_path / "bad.ndp", "--json")
    assert code == 0 and json.loads(out)["not_held"][-1].startswith(said)


@pytest.mark.parametrize("exponent", [-7, -2, 0, 3])
def test_odd_weights_of_both_signs_are_stored_twice_as_large(exponent: int) -> None:
    """Lava holds even ones only: 2 w with an exponent lower by one is the same sum, floor for floor."""
    from neurodeploy.backends.lava.lower import lower
    from neurodeploy.program.recording import Record

    rng = np.random.default_rng(5)
    weights = rng.integers(-128, 128, (4, 9)).astype(np.int16)
    network = integers(weights, **{name: np.full(4, v) for name, v in (("threshold", 6400), ("du", 4095), ("dv", 99))})
    (projection,) = network.projections
    network = replace(network, projections=(replace(projection, connectivity=Dense(weights, exponent)),))
    x = {"in": (rng.random((12, 2, 9)) < 0.5).astype(np.uint8)}
    job = lower(place(network, None, {}), {"in": x["in"]}, Record())
    assert not (job.arrays["projection0.weights"] & 1).any()
    (entry,) = job.description["projections"]
    assert (entry["exponent"], entry["sign_mode"]) == (exponent - 1, "MIXED")
    for name in ("reference", "hwsim"):
        run = backends.get(name)
        np.testing.assert_array_equal(
            run(place(job.network, None, {}), x).spikes["out"].dense(),
            run(place(network, None, {}), x).spikes["out"].dense(),
        )
    with pytest.raises(UnsupportedError, match="weight exponent"):
        low = replace(projection, connectivity=Dense(weights, -8))
        place(replace(network, projections=(low,)), None, {})


@pytest.mark.parametrize("seed", range(6))
def test_what_the_fuzzer_makes_is_held(seed: int) -> None:
    place(random_network(seed), None, {})


# --- its name -------------------------------------------------------------------------------------------------------


def test_every_output_names_the_arithmetic(run: Run, net: Path, x: Path) -> None:
    for chip, says in (
        ("loihi1", "the chip's own"),
        ("reckon", "not ReckOn's own: spikes may differ on the chip"),
        ("none", "on no chip"),
    ):
        out, results = net.with_name("own.ndp"), net.with_name("results.json")
        given = ("--dt", 1e-3, "--chip", chip)
        told = [run("compile", net, *given, "-o", out)[1], run("run", out, "-i", x)[1], run("inspect", out)[1]]
        told.append(run("verify", net, *given, "-i", x, "--backends", "reference,hwsim")[1])
        jsons = [run("compile", net, *given, "-o", out, "--json")[1], run("run", out, "-i", x, "--json")[1]]
        jsons.append(run("verify", net, *given, "-i", x, "--backends", "hwsim", "--json")[1])
        if chip != "none":
            told.append(run("cost", out, "-i", x)[1])
            jsons.append(run("cost", out, "-i", x, "--json")[1])
            assert main(["verify", str(net), *map(str, given), "-i", str(x), "--backends", "hwsim", "--results",
                         str(results)]) == 0  # fmt: skip
            assert main(["report", str(results)]) == 0
            told.append(results.with_suffix(".html").read_text().replace("&#39;", "'"))
            assert says in json.loads(results.read_text())["networks"][0]["arithmetic"]
        for text in told:
            assert says in " ".join(text.split()), text[:400]
        for text in jsons:
            assert says in json.loads(text)["arithmetic"]


def test_floats_are_no_chips_numbers(run: Run, net: Path, x: Path) -> None:
    out = net.with_name("own.ndp")
    code, text, _ = run("compile", net, "--dt", 1e-3, "--float", "-o", out)
    assert code == 0 and "arithmetic: floats, not Intel Loihi (first generation)'s own numbers" in text
    code, text, _ = run("compile", net, "--dt", 1e-3, "--float", "--chip", "xylo", "-o", out)
    assert code == 0 and "not on xylo: 'lif1' resets to a potential (hard reset)" in " ".join(text.split())
    code, text, _ = run("cost", out, "-i", x)
    assert code == 0 and "xylo cannot run this Program as it is" in text


def test_prices_of_a_chip_that_cannot_run_the_program(run: Run, net: Path, x: Path) -> None:
    out = net.with_name("own.ndp")
    assert run("compile", net, "--dt", 1e-3, "-o", out)[0] == 0
    code, text, _ = run("cost", out, "-i", x, "--chip", "speck")
    assert code == 0 and "speck cannot run this Program as it is: 'lif1'" in " ".join(text.split())
    found = json.loads(run("cost", out, "-i", x, "--chip", "speck", "--json")[1])
    assert any("leak" in item for item in found["not_held"])
    assert found["arithmetic"].endswith("priced for SynSense Speck (DYNAP-CNN)")


@pytest.mark.parametrize("chip", available())
def test_every_chip_says_what_it_computes_with(chip: str) -> None:
    arch = load_architecture(chip)
    own = arch.arithmetic
    for fact in (own.numbers, own.resets, own.neurons):
        assert fact.source and (fact.value is not None or fact.note)
    text = named("loihi", arch)
    assert ("the chip's own" in text) == (chip in ("loihi1", "loihi2"))
    assert (arch.title in text) == (chip not in ("loihi1", "loihi2"))
    assert limits_of(arch).registers == registers_of(arch)


def test_a_file_without_the_section_is_not_published(tmp_path: Path) -> None:
    import yaml

    from neurodeploy.hwsim.chips.arch import FOLDER

    content = yaml.safe_load((FOLDER / "loihi1.yaml").read_text())
    del content["arithmetic"]
    content["name"] = "old"
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(content))
    arch = load_architecture(tmp_path / "old.yaml")
    assert "not published: spikes may differ" in named("loihi", arch)
    program = place(integers(np.array([[2]], np.int16), reset="none"), arch, {})
    assert program.network.notes["not in the file of old, so not checked"] == "reset rules, kinds of neuron"
    assert Registers() == registers_of(arch)


def test_the_section_is_checked(tmp_path: Path, run: Run, net: Path) -> None:
    for change, said in (
        ("resets: {value: [soft], source: s, confidence: assumed}", "arithmetic.resets.value.0"),
        ("neurons: {value: [wings], source: s, confidence: assumed}", "arithmetic.neurons"),
        ("resets: {value: [subtract]}", "without its own source and confidence"),
        ("reset: {value: [hard]}", "did you mean resets?"),
    ):
        chip = tmp_path / "own.yaml"
        chip.write_text(f"extends: loihi1\nname: own\ntitle: Own\narithmetic:\n  {change}\n")
        code, _, err = run("compile", net, "--dt", 1e-3, "--chip", chip)
        assert code == 2 and said in err, err


def test_a_float_program_compiles_within_the_chips_bits(net: Path, tmp_path: Path) -> None:
    compile(net, None, CompileOptions(conventions={"dt": 1e-3}, integer=False)).program.save(tmp_path / "float.ndp")
    program = compile(tmp_path / "float.ndp", with_bits(3)).program
    assert max(weight_bits(p.connectivity.weights) for p in program.network.projections) <= 3
