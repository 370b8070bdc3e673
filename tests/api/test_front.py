"""What ``import neurodeploy as nd`` offers, on the example of the docs, and against what the commands print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "howto-python.md"
LIGHT = """
import sys, time
began = time.perf_counter()
import neurodeploy as nd
assert {"export", "load", "Model", "Program", "Recording", "CompileOptions"} <= set(dir(nd)), dir(nd)
print([name for name in ("torch", "numba", "h5py", "numpy", "nir") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of the page's example, once it has run."""
    pytest.importorskip("snntorch")
    match = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert match is not None
    folder = tmp_path_factory.mktemp("example")
    code = match.group(1).replace("report.html", str(folder / "report.html"))
    scope: dict[str, Any] = {"folder": folder}
    exec(compile(code, str(PAGE), "exec"), scope)
    return scope


def test_nothing_heavy_is_loaded_by_the_import() -> None:
    found = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in nd.__all__:
        assert getattr(nd, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'compiel'"):
        nd.compiel  # noqa: B018


def test_the_example_goes_from_a_module_to_a_report(example: dict[str, Any]) -> None:
    assert repr(example["model"]) == "<Model Net.nir, proven equal>"
    assert re.match(r"<Program Net: 24 neurons, 320 synapses, on 2 core\(s\) of loihi1; ", repr(example["program"]))
    assert example["verification"].passed
    assert example["verification"].pairs[0].first == "torch"
    assert "<html" in (example["folder"] / "report.html").read_text()
    for shown in ("model", "program", "recording", "verification"):
        assert example[shown]._repr_html_().startswith("<table>")


def test_a_recording_gives_what_forward_returns(example: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    x, module = example["x"], example["module"]
    with torch.no_grad():
        wanted = module(x).numpy()
    floats = example["model"].run(x)
    np.testing.assert_array_equal(floats.returned[0], wanted)
    np.testing.assert_array_equal(floats.predicted, wanted.argmax(axis=1))
    recording = example["recording"]
    assert recording.spikes("lif1").shape == (25, 8, 20)
    np.testing.assert_array_equal(recording.returned[0], recording.spikes("lif2").sum(axis=0))
    kept = example["program"].run(x, "reference", record=("v",))
    assert kept.state("v", "lif2").shape == (25, 8, 4)


def test_commands_print_what_the_objects_say(
    example: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", example["x"].numpy())
    program = nd.load(example["program"].save(tmp_path / "net.ndp"))
    assert isinstance(program, nd.Program)
    x = example["x"]
    found = {"run": program.run(x).as_json(), "cost": program.cost(x, "link").as_json()}
    more = {"run": [], "cost": ["--tier", "link"]}
    for command, wanted in found.items():
        args = [command, str(tmp_path / "net.ndp"), "-i", str(tmp_path / "x.npy"), "--json", *more[command]]
        assert main(args) == 0
        said = json.loads(capsys.readouterr().out)
        assert {key: said[key] for key in wanted} == json.loads(json.dumps(wanted)), command


def test_files_open_as_what_they_are(example: dict[str, Any], tmp_path: Path) -> None:
    model = nd.load(example["model"].save(tmp_path / "again.nir"))
    assert isinstance(model, nd.Model)
    options = nd.CompileOptions(calibration={"": example["x"].numpy()})
    again, before = model.compile("loihi1", options), example["program"]
    for a, b in zip(again.network.projections, before.network.projections, strict=True):
        np.testing.assert_array_equal(a.connectivity.weights, b.connectivity.weights)
    with pytest.raises(nd.NeurodeployError, match="no file that neurodeploy compiles"):
        nd.load(PAGE)
    with pytest.raises(nd.NeurodeployError, match="does not exist"):
        nd.load(tmp_path / "nowhere.nir")


def test_what_is_no_input_is_refused(example: dict[str, Any]) -> None:
    with pytest.raises(nd.NeurodeployError, match="no array of numbers"):
        example["program"].run("spikes")
    with pytest.raises(nd.NeurodeployError, match="unknown state variable"):
        example["program"].run(example["x"], record=("w",))
    with pytest.raises(nd.NeurodeployError, match="placed on no chip"):
        example["model"].compile(None).cost(example["x"])
