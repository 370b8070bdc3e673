"""What ``import neurodeploy as nd`` offers, on the example of the docs, and against what the commands print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.cli import main
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.metadata import drop

PAGE = Path(__file__).parents[2] / "docs" / "howto-python.md"
LIGHT = """
import sys, time
began = time.process_time()
import neurodeploy as nd
assert time.process_time() - began < 0.06
assert {"export", "load", "Model", "Program", "Recording", "CompileOptions"} <= set(dir(nd)), dir(nd)
print([name for name in ("torch", "numba", "h5py", "numpy", "nir") if name in sys.modules])
"""


WITHOUT = """
import pydoc, sys
sys.modules["torch"] = None  # not installed
import neurodeploy as nd
text = pydoc.plain(pydoc.render_doc(nd))
print([name for name in nd.__all__ if name not in text or not getattr(nd, name).__doc__])
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of the page's example, once it has run."""
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


def test_help_shows_every_name_also_where_torch_is_missing() -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "[]", found.stderr


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in nd.__all__:
        assert getattr(nd, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'compiel'"):
        nd.compiel  # noqa: B018


def test_the_example_goes_from_a_module_to_a_report(example: dict[str, Any]) -> None:
    assert repr(example["model"]) == "<Model Net.nir, proven equal>"
    assert re.match(r"<Program Net: 24 neurons, 320 synapses, on 2 core\(s\) of loihi1; ", repr(example["program"]))
    assert re.match(r"<Cost of Net on .+: \d+ samples, \d+ steps>$", repr(example["program"].cost(example["x"])))
    assert example["verification"].passed
    assert example["verification"].pairs[0].first == "torch"
    assert "<html" in (example["folder"] / "report.html").read_text()
    for shown in ("model", "program", "recording", "verification"):
        assert example[shown]._repr_html_().startswith("<table>")


def test_a_recording_gives_what_forward_returns(example: dict[str, Any]) -> None:
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
    net = nd.load(example["model"].save(tmp_path / "net.nir"))
    assert isinstance(net, nd.Model)
    wanted = net.verify(x, backends=["reference", "hwsim"]).as_json()
    assert main(["verify", str(tmp_path / "net.nir"), "-i", str(tmp_path / "x.npy"), "--backends", "reference,hwsim",
                 "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(wanted))


def test_files_open_as_what_they_are(example: dict[str, Any], tmp_path: Path) -> None:
    model = nd.load(example["model"].save(tmp_path / "again.nir"))
    assert isinstance(model, nd.Model)
    again, before = model.compile("loihi1", calibration=example["x"]), example["program"]
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


class Laid(nn.Module):
    """Two layers that take time where ``axis`` says, and return counts ``[batch, 3]``."""

    def __init__(self, axis: Any, order: str, steps: int, inside: int, dims: int) -> None:
        super().__init__()
        self.axis, self.order, self.steps, self.dims = axis, order, steps, dims
        self.fc1, self.lif1 = nn.Linear(inside, 8), snn.Leaky(beta=0.8)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Leaky(beta=0.7)
        with torch.no_grad():
            self.fc1.weight.mul_(4), self.fc2.weight.mul_(4)

    def each(self, x: Any) -> list[Any]:
        if self.axis == "none":
            return [x] * self.steps
        if self.axis == "flat":
            whole = x.unflatten(0, (self.steps, -1) if self.order == "time" else (-1, self.steps))
            return list(whole if self.order == "time" else whole.transpose(0, 1))
        return list(x.movedim(self.axis, 0))

    def forward(self, x: Any) -> Any:
        mem1, mem2, count = self.lif1.init_leaky(), self.lif2.init_leaky(), 0
        for step in self.each(x):
            spk1, mem1 = self.lif1(self.fc1(step.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            count = count + spk2
        return count

    def sample(self, batch: int, seed: int) -> Any:
        shape = (5,) if self.dims == 1 else (2, 3)
        lead = {0: (self.steps, batch), 1: (batch, self.steps), "flat": (batch * self.steps,), "none": (batch,)}
        whole = (*lead[self.axis], *shape) if self.axis != -1 else (batch, *shape, self.steps)
        return (torch.rand(whole, generator=torch.Generator().manual_seed(seed)) < 0.5).float()


LAYOUTS = [(0, ""), (1, ""), (-1, ""), ("none", ""), ("flat", "time"), ("flat", "batch")]


@pytest.mark.parametrize(("axis", "order"), LAYOUTS)
@pytest.mark.parametrize(("steps", "batch", "dims"), [(6, 4, 1), (5, 5, 2), (4, 7, 1)])
def test_what_forward_takes_is_what_every_method_takes(
    axis: Any, order: str, steps: int, batch: int, dims: int
) -> None:
    torch.manual_seed(steps)
    module = Laid(axis, order, steps, 5 if dims == 1 else 6, dims)
    x, other = module.sample(batch, 1), module.sample(batch + 1, 2)
    model = nd.export(module, x, time_axis=axis)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for given in (x, other):
            with torch.no_grad():
                np.testing.assert_array_equal(model.run(given).returned[0], module(given).numpy())
        program = model.compile("loihi1", calibration=x)
        assert program.verify(other, backends=["reference", "hwsim"]).passed
        assert program.cost(other).recording.samples == batch + 1
    first = model.exported.x  # type: ignore[union-attr]
    np.testing.assert_array_equal(model.run(first, input_axis=0).returned[0], model.run(x).returned[0])


def test_the_commands_read_a_flat_input_in_its_own_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for order in ("time", "batch"):
        torch.manual_seed(3)
        module = Laid("flat", order, 6, 5, 1)
        x = module.sample(4, 4)
        model = nd.export(module, x, tmp_path / "net.nir", time_axis="flat")
        np.save(tmp_path / "x.npy", x.numpy())
        files = [str(tmp_path / name) for name in ("net.nir", "net.ndp", "x.npy", "out.npz")]
        assert main(["compile", files[0], "-o", files[1], "--chip", "none", "--float"]) == 0
        for axis in ([], ["--input-axis", "flat"]):
            assert main(["run", files[1], "-b", "reference", "-i", files[2], "-o", files[3], *axis]) == 0
            with np.load(files[3]) as found, torch.no_grad():
                np.testing.assert_array_equal(found["returned/0"], module(x).numpy())
        capsys.readouterr()
        old = nir_file.read(model.path)
        drop(old.graph, "flat_order")
        nir.write(tmp_path / "old.nir", old.graph)
        with pytest.raises(nd.NeurodeployError, match="does not say whether batch or time is outside"):
            nd.load(tmp_path / "old.nir").run(x)


def test_a_loaded_program_is_reported_without_what_it_was_in_floats(example: dict[str, Any], tmp_path: Path) -> None:
    program = nd.load(example["program"].save(tmp_path / "net.ndp"))
    assert isinstance(program, nd.Program)
    found = program.verify(example["x"], example["labels"], backends=["reference", "hwsim"], measure=True)
    assert [(p.first, p.second, p.verdict) for p in found.pairs] == [("integer network", "hwsim", "equal")]
    assert found.measured is not None
    whole = example["program"].verify(example["x"], example["labels"], backends=["reference", "hwsim"], measure=True)
    sizes = {(s.layer, s.what): s.box for s in found.measured.networks[0].spreads}
    wanted = {(s.layer, s.what): s.box for s in whole.measured.networks[0].spreads}
    assert sizes.keys() == wanted.keys()
    for key, box in sizes.items():  # rounded weights have the size of those that were rounded
        assert box is None or box[4] == pytest.approx(wanted[key][4], rel=0.05, abs=2), key
    assert program.report(tmp_path / "r.html", example["x"]).stat().st_size > 10_000


def test_what_is_not_recorded_is_named(example: dict[str, Any]) -> None:
    with pytest.raises(nd.NeurodeployError, match="spikes of 'lif9' are not in the recording"):
        example["recording"].spikes("lif9")
    with pytest.raises(nd.NeurodeployError, match="v of 'lif1' are not in the recording"):
        example["recording"].state("v", "lif1")
