"""Files that the tools themselves wrote give the tools' own spikes with ``--as`` (`tests/golden/make_tool_files`)."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.errors import NeurodeployError
from neurodeploy.nir_graph import interpreter, nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.nir_graph.recognise import recognise
from neurodeploy.nir_graph.tools import TOOLS
from neurodeploy.nir_graph.writers import against
from neurodeploy.program.recording import Record

FILES = Path(__file__).parent.parent / "golden" / "tool_files.zip"
WITH: dict[str, dict[str, Any]] = {
    "snntorch-leaky-zero": {"reset": "hard"},
    "snntorch-synaptic-zero": {"reset": "hard"},
    "snntorch-rleaky-zero": {"reset": "hard"},
    "snntorch-leaky-zero-now": {"reset": "hard", "reset_time": "now"},
    "snntorch-leaky-once": {"reset_time": "once"},
    "sinabs-lif-unscaled": {"gain": "unit"},
    "sinabs-iaf-single": {"max_spikes": 1},
    "sinabs-iaf-floor": {"v_floor": -0.5},
}
"""What was set in the tool other than by default, and so is not in its row."""

with zipfile.ZipFile(FILES) as archive:
    NAMES = sorted(name[:-4] for name in archive.namelist() if name.endswith(".nir"))


def tool_of(name: str) -> str:
    return "lava-dl" if name.startswith("lava-dl") else name.split("-")[0]


@pytest.fixture
def unpacked(tmp_path: Path):
    def get(name: str) -> tuple[Path, dict[str, np.ndarray]]:
        path = tmp_path / f"{name}.nir"
        with zipfile.ZipFile(FILES) as archive:
            path.write_bytes(archive.read(f"{name}.nir"))
            with np.load(io.BytesIO(archive.read(f"{name}.npz"))) as arrays:
                return path, dict(arrays)

    return get


def same(name: str, layer: str, spikes: np.ndarray, wanted: np.ndarray) -> int:
    """Neuron-steps that differ; spyx writes each spike one step after the potential that it is taken from."""
    if tool_of(name) == "spyx" and not layer.endswith("_threshold"):
        assert not wanted[0].any()
        spikes, wanted = spikes[:-1], wanted[1:]
    return int((spikes != wanted).sum())


@pytest.mark.parametrize("name", NAMES)
def test_the_tools_own_spikes(unpacked, name: str) -> None:
    path, recorded = unpacked(name)
    inputs = recorded.pop("x")
    options = {"tool": tool_of(name), **WITH.get(name, {})}
    compiled = compile(path, None, CompileOptions(conventions=options, integer=False))
    network = compiled.program.network
    given = {network.inputs[0].name: inputs}
    runs = [run_network(network, given, record=Record(("v",)))]
    runs.append(interpreter.run(compiled.file, given, compiled.conventions))
    for run in runs:
        for layer, wanted in recorded.items():
            if network.by_name[layer].spiking:
                assert same(name, layer, run.spikes[layer].dense(), wanted) == 0, layer
            else:
                np.testing.assert_allclose(run.states["v"][layer], wanted, rtol=1e-4, atol=1e-4)
    assert len(recorded) == 2


@pytest.mark.parametrize("name", ["norse-box", "rockpool-neuron", "sinabs-lif", "snntorch-leaky", "spyx-lif"])
def test_another_tools_conventions_are_another_network(unpacked, name: str) -> None:
    """The test above would not pass with any row: of the eight, most give other spikes or refuse."""
    path, recorded = unpacked(name)
    inputs = recorded.pop("x")
    equal = set()
    for tool in TOOLS:
        try:
            network = compile(
                path, None, CompileOptions(conventions={"tool": tool, **WITH.get(name, {})}, integer=False)
            ).float_network
        except NeurodeployError:
            continue
        run = run_network(network, {network.inputs[0].name: inputs})
        spiking = [layer for layer in recorded if network.by_name[layer].spiking]
        if all(same(name, layer, run.spikes[layer].dense(), recorded[layer]) == 0 for layer in spiking):
            equal.add(tool)
    assert tool_of(name) in equal and len(equal) <= 5, equal


def test_recognition_of_the_files(unpacked) -> None:
    """Nothing speaks against the tool that wrote a file; where one is recognised it is that one; which are not."""
    unknown, certain = set(), set()
    for name in NAMES:
        file = nir_file.read(unpacked(name)[0])
        assert against(tool_of(name), file) == ("it writes no NIR" if tool_of(name) == "nengo" else ""), name
        found = recognise(file)
        if found is None or tool_of(name) == "nengo":
            unknown.add(name)
            continue
        if tool_of(name) == "lava-dl":  # its parameters are snnTorch's
            assert found.tool == "snntorch" and "lava-dl" in found.others and not found.certain
            continue
        assert found.tool == tool_of(name), (name, found)
        if found.certain:
            certain.add(name)
    unknown -= {n for n in NAMES if tool_of(n) == "nengo"}
    # An IF with r = 1 is what three tools write; norse's own time constants with r = 1 are plain NIR.
    assert unknown == {"norse-box-seconds", "norse-iaf", *(n for n in NAMES if n.startswith("sinabs-iaf"))}
    assert certain == {n for n in NAMES if tool_of(n) in ("rockpool", "spyx")} - {"spyx-if"}


@pytest.mark.parametrize("name", ["rockpool-lif", "spyx-cuba"])
def test_what_is_certain_is_taken_and_said(unpacked, name: str) -> None:
    path, _ = unpacked(name)
    file = nir_file.read(path)
    recognised, asked = resolve(file), resolve(file, tool=tool_of(name))
    for field in ("dt", "reset", "reset_time", "comparison", "decay", "gain", "max_spikes", "arrival", "of_node"):
        assert getattr(recognised, field) == getattr(asked, field)
    assert recognised.dt == 1e-3
    assert recognised.notes["written by"].startswith(
        f"looks like written by {TOOLS[tool_of(name)].title}, because r = "
    )
    assert recognised.notes["reset"] == f"subtract (recognised: as {TOOLS[tool_of(name)].title} has it)"
    over = resolve(file, decay="euler", max_spikes=1)
    assert (over.decay, over.max_spikes, over.reset) == ("euler", 1, "subtract")


def test_a_suggestion_is_not_taken(unpacked) -> None:
    file = nir_file.read(unpacked("snntorch-leaky")[0])
    conventions = resolve(file, dt=1e-4)
    assert (conventions.reset, conventions.reset_time) == ("hard", "now")
    assert conventions.notes["written by"].endswith("--as snntorch takes its conventions")
    with pytest.raises(NeurodeployError, match="does not say the length of its time step") as refused:
        resolve(file)
    assert "give --as snntorch, or --dt" in str(refused.value)


def test_inspect_advises(unpacked, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, recorded = unpacked("snntorch-leaky")
    np.save(tmp_path / "x.npy", recorded["x"])
    assert main(["inspect", str(path), "-i", str(tmp_path / "x.npy"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written_by"]["tool"] == "snntorch"
    by_tool = {c["tool"]: c for c in said["candidates"]}
    assert sorted(by_tool) == sorted(TOOLS)
    assert by_tool["snntorch"]["spikes"] == {k: int(v.sum()) for k, v in recorded.items() if k != "x"}
    assert by_tool["snntorch"]["against"] == "" and by_tool["norse"]["against"] == "it writes r = 1 (1)"
    assert main(["inspect", str(path), "--dt", "1e-4", "-i", str(tmp_path / "x.npy"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    in_force, snntorch = said["candidates"][0], next(c for c in said["candidates"] if c["tool"] == "snntorch")
    assert in_force["tool"] == "in force" and in_force["spikes"] != snntorch["spikes"]
    assert 0 < snntorch["differing"] < snntorch["compared"] == recorded["1"].size + recorded["3"].size
    assert main(["inspect", str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "looks like written by snnTorch 1.0.0, because r = tau / dt with dt = 0.0001 s" in text
    assert "--as snntorch takes its conventions" in text


def test_compile_and_run_as_a_user_does(unpacked, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, recorded = unpacked("sinabs-iaf")
    x, program = tmp_path / "x.npy", tmp_path / "p.ndp"
    np.save(x, recorded["x"])
    assert main(["compile", str(path), "--as", "sinabs", "--float", "--chip", "none", "-o", str(program)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "as: all that NIR leaves open as sinabs 3.1.3 has it (--as sinabs)" in text
    assert "max_spikes: unlimited (as sinabs 3.1.3 has it)" in text
    assert main(["run", str(program), "-i", str(x), "-o", str(tmp_path / "out.npz")]) == 0
    assert main(["export", str(path), "--to", "onnx", "--as", "sinabs", "--max-spikes", "1", "--sample", str(x),
                 "-o", str(tmp_path / "p.onnx")]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["export", "m.py:net", "--to", "onnx", "--as", "sinabs", "--sample", str(x), "-o", "p.onnx"]) == 2
    assert "leaves no convention to settle" in capsys.readouterr().err


def test_large_networks_are_lowered_once(unpacked, monkeypatch: pytest.MonkeyPatch) -> None:
    from neurodeploy.verify import candidates

    file = nir_file.read(unpacked("snntorch-leaky")[0])
    lowered = []
    monkeypatch.setattr(candidates, "SMALL", 100)
    monkeypatch.setattr(candidates, "lower", lambda f, c, real=candidates.lower: lowered.append(c) or real(f, c))
    found = candidates.candidates(file, resolve(file, dt=1e-4), {"dt": 1e-4})
    assert len(lowered) == 1 and {c.why_not for c in found} == {candidates.TOO_LARGE}


def test_an_input_of_another_shape_is_refused(unpacked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, recorded = unpacked("norse-box")
    np.save(tmp_path / "x.npy", recorded["x"][:, :, :4])
    for options in ((), ("--as", "norse")):
        assert main(["inspect", str(path), "-i", str(tmp_path / "x.npy"), *options]) == 2
        assert "input 'input' has the wrong shape" in capsys.readouterr().err


def test_an_infinite_time_constant_says_whose_it_may_be(unpacked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(unpacked("snntorch-beta-1")[0]), "--dt", "1e-4", "--chip", "none"]) == 2
    said = capsys.readouterr().err
    assert "is not finite" in said and "--as snntorch" in said
