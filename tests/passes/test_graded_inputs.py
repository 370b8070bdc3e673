"""Counts of events as inputs: graded spikes on a chip that has them, one message on one that has not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.backends.reference import run as reference
from neurodeploy.cli import main
from neurodeploy.compiler import Compiled, CompileOptions, compile
from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from tests import nirgraphs

CONVENTIONS = {"dt": 1e-3, "reset": "hard", "comparison": ">"}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return nirgraphs.write(nirgraphs.mlp(), tmp_path / "net.nir")


def counts(most: int, seed: int = 0, samples: int = 4) -> np.ndarray:
    """[30, samples, 12], mostly 0, up to ``most``, which occurs."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, most + 1, (30, samples, 12)) * (rng.random((30, samples, 12)) < 0.3)
    x[0, 0, 0] = most
    return x.astype(np.uint8 if most < 256 else np.int64)


def compiled(net: Path, chip: str | None, x: np.ndarray, **more: object) -> Compiled:
    arch = None if chip is None else load_architecture(chip)
    return compile(net, arch, CompileOptions(conventions=CONVENTIONS, calibration={"": x}, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chip", "most", "bits"), [("loihi2", 3, 8), ("loihi2", 200, 16), (None, 2, 8), ("loihi2", 1, 1)]
)
def test_a_chip_with_graded_spikes_takes_counts(net: Path, chip: str | None, most: int, bits: int) -> None:
    x = counts(most)
    found = compiled(net, chip, x)
    program = found.program
    assert program.network.inputs[0].neuron.payload_bits == bits  # type: ignore[attr-defined]
    assert ("counts up to" in program.network.notes.get("input input", "")) == (most > 1)
    inputs, record = {"": x}, Record(("u", "v"))
    first, second = reference.run(program, inputs, record=record), engine.run(program, inputs, record=record)
    for name in ("lif1", "lif2"):
        np.testing.assert_array_equal(first.states["v"][name], second.states["v"][name])
        np.testing.assert_array_equal(first.spikes[name].dense(), second.spikes[name].dense())
    floats = reference.run_network(found.float_network, inputs)
    spikes = [run.spikes["lif1"].dense() for run in (floats, first)]
    assert spikes[0].sum() > 50
    assert (spikes[0] != spikes[1]).sum() <= 0.2 * spikes[0].sum(), "the integers follow the floats, counts included"
    clipped = engine.run(program, {"": np.minimum(x, 1)}).spikes["lif1"].dense()
    assert most == 1 or (clipped != spikes[1]).sum() > (spikes[0] != spikes[1]).sum(), "counts count"


@pytest.mark.parametrize("chip", ["loihi1"])
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_a_chip_without_them_says_what_to_do(net: Path, chip: str, kind: type) -> None:
    x = counts(3).astype(kind)
    with pytest.raises(InvalidInputError, match=f"counts several events in a step, which {chip} cannot take") as caught:
        compiled(net, chip, x)
    assert "values from 0 to 3" in str(caught.value.found)
    for word in ("numpy.minimum(x, 1)", "shorter steps", "--chip loihi2"):
        assert word in str(caught.value.hint)
    assert compiled(net, chip, x, integer=False).program.network.arithmetic == "float", "floats take them as they are"
    assert compiled(net, chip, np.minimum(x, 1)).program.network.arithmetic == "loihi"


def test_a_program_of_single_spikes_says_what_to_do(net: Path) -> None:
    program = compiled(net, "loihi2", counts(1)).program
    with pytest.raises(InvalidInputError, match="'input' counts several events in a step") as caught:
        engine.run(program, {"": counts(2)})
    assert "numpy.minimum" in str(caught.value.hint) and "as --calibration" in str(caught.value.hint)
    with pytest.raises(InvalidInputError, match="'input' is not binary") as caught:
        engine.run(program, {"": counts(2) / 4})
    assert "encode the sample as spikes" in str(caught.value.hint)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 1 << 12), st.integers(-(1 << 12), 1))
def test_messages_hold_what_was_seen_and_refuse_the_rest(
    tmp_path_factory: pytest.TempPathFactory, high: int, low: int
) -> None:
    net = nirgraphs.write(nirgraphs.mlp(), tmp_path_factory.mktemp("net") / "net.nir")
    x = np.zeros((3, 1, 12), np.int64)
    x[0, 0, :2] = high, low
    network = compiled(net, "loihi2", x).program.network
    bits = network.inputs[0].neuron.payload_bits  # type: ignore[attr-defined]
    largest = (1 << (bits - 1)) - 1
    assert max(high, -low) <= largest and bits % 8 == 0 and largest < 256 * 2 * max(high, -low)
    reference.run_network(network, {"": x * 0 + largest})
    with pytest.raises(InvalidInputError, match="does not fit its messages"):
        reference.run_network(network, {"": x * 0 + largest + 1})


def test_the_commands_take_counts_and_count_them(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", counts(3))
    flags = ["--dt", "1e-3", "--reset", "hard", "--comparison", ">"]
    assert main(["compile", "net.nir", *flags, "--calibration", "x.npy", "-o", "net.ndp"]) == 2
    assert "which loihi1 cannot take" in capsys.readouterr().err and not Path("net.ndp").exists()
    assert main(["compile", "net.nir", *flags, "--calibration", "x.npy", "--chip", "loihi2", "-o", "net.ndp"]) == 0
    assert "counts up to 3 in a step" in capsys.readouterr().out
    assert Program.load("net.ndp").network.inputs[0].neuron.payload_bits == 8  # type: ignore[attr-defined]
    assert main(["cost", "net.ndp", "--input", "x.npy", "--chip", "loihi2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert (
        main(["verify", "net.nir", *flags, "--input", "x.npy", "--chip", "loihi2", "--backends", "reference,hwsim"])
        == 0
    )


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_negative_inputs_are_not_told_to_clip(net: Path, chip: str) -> None:
    signed = counts(1).astype(np.int64) - counts(1)[:, :, ::-1]
    assert signed.min() == -1
    program = compiled(net, chip, counts(1)).program
    with pytest.raises(InvalidInputError, match="'input' has negative values") as caught:
        engine.run(program, {"": signed})
    assert "minimum" not in str(caught.value.hint) and "channels of its own" in str(caught.value.hint)
    if chip == "loihi1":
        with pytest.raises(InvalidInputError, match="has negative values, which loihi1 cannot take"):
            compiled(net, chip, signed)
