"""Every command, called with ``--json``, prints what the library's object says, and writes the same files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.api.demo import weights
from neurodeploy.cli import COMMANDS, main
from neurodeploy.cli.parsing import parser_of
from neurodeploy.models import registry
from neurodeploy.network.event_rules import with_rule
from tests import nirgraphs

MODULES = """
import snntorch as snn
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    first, second = nn.Linear(12, 20), nn.Linear(20, 4)
    with torch.no_grad():
        first.weight.mul_(3)
        second.weight.mul_(3)
    return nn.Sequential(first, snn.Leaky(0.9, init_hidden=True), second, snn.Leaky(0.8, init_hidden=True, output=True))

def ann():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
"""


@dataclass(frozen=True)
class Files:
    """A folder with modules, samples, a network and a Program."""

    at: Path
    x: np.ndarray
    labels: np.ndarray
    ann_x: np.ndarray
    trained: Callable[[str], Any]

    @property
    def module(self) -> str:
        return f"{self.at / 'modules.py'}:net"

    @property
    def net(self) -> nd.Model:
        return nd.Model(self.at / "net.nir")

    @property
    def program(self) -> nd.Program:
        found = nd.load(self.at / "net.ndp")
        assert isinstance(found, nd.Program)
        return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, trained: Callable[[str], Any]) -> Files:
    at = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    found = Files(
        at, (rng.random((20, 8, 12)) < 0.4).astype(np.float32), np.arange(8) % 4,
        rng.random((30, 12), dtype=np.float32), trained,
    )  # fmt: skip
    (at / "modules.py").write_text(MODULES)
    for name, array in (("x", found.x), ("y", found.labels), ("ann", found.ann_x), ("classes", np.arange(30) % 4)):
        np.save(at / f"{name}.npy", array)
    nd.export(nd.load_module(found.module), found.x, at / "net.nir").compile(
        calibration=found.x, input_axis=0, path=at / "net.ndp"
    )
    nirgraphs.write(nirgraphs.mlp(), at / "open.nir")
    return found


Made = tuple[list[object], Any, list[str]]
"""Arguments of the command, what the library's object says, and names of the files that both write."""
Case = Callable[[Files], Made]


def compile_calibrated(f: Files) -> Made:
    made = f.net.compile("loihi1", calibration=f.x, labels=f.labels, input_axis=0, path=f.at / "a.ndp")
    given = ["--calibration", f.at / "x.npy", "--labels", f.at / "y.npy", "--explain"]
    return [f.net.path, "-o", made.path, *given], made.as_json(explained=True), ["a.ndp"]


def compile_with_options(f: Files) -> Made:
    options = nd.CompileOptions(passes="prune,quantise{rounding=nearest}", max_neurons_per_core=7, chips=2, seed=3)
    made = f.net.compile("loihi2", options, path=f.at / "b.ndp")
    given = ["--passes", options.passes, "--max-neurons-per-core", 7, "--chips", 2, "--seed", 3, "--chip", "loihi2"]
    return [f.net.path, "-o", made.path, *given], made.as_json(), ["b.ndp"]


def compile_on_no_chip(f: Files) -> Made:
    made = f.net.compile(None, nd.CompileOptions(integer=False), path=f.at / "floats.ndp")
    given = ["--chip", "none", "--float", "--explain"]
    return [f.net.path, "-o", made.path, *given], made.as_json(explained=True), ["floats.ndp"]


def compile_a_program_in_floats(f: Files) -> Made:
    floats = f.net.compile(None, nd.CompileOptions(integer=False), path=f.at / "floats.ndp")
    assert floats.path is not None
    made = nd.Model(floats.path).compile("loihi1", calibration=f.x, input_axis=0, path=f.at / "c.ndp")
    return [floats.path, "-o", made.path, "--calibration", f.at / "x.npy"], made.as_json(), ["c.ndp"]


def export_nir(f: Files) -> Made:
    made = nd.export(nd.load_module(f.module), f.x, f.at / "a.nir", dt=1e-3)
    return [f.module, "--sample", f.at / "x.npy", "--dt", 1e-3, "-o", made.path], made.as_json(), ["a.nir"]


def export_drawn(f: Files) -> Made:
    made = nd.export(nd.load_module(f.module), (12,), f.at / "b.nir")
    return [f.module, "--shape", 12, "-o", made.path], made.as_json(), ["b.nir"]


def export_onnx_of_a_module(f: Files) -> Made:
    made = nd.export_onnx(nd.load_module(f.module), f.x, f.at / "a.onnx", scan=True)
    given = ["--to", "onnx", "--scan", "--sample", f.at / "x.npy", "-o", made.path]
    return [f.module, *given], made.as_json(), ["a.onnx"]


def export_onnx_of_a_file(f: Files) -> Made:
    made = nd.export_onnx(f.at / "open.nir", (12,), f.at / "b.onnx", dt=1e-3, conventions={"reset": "subtract"})
    given = ["--to", "onnx", "--shape", 12, "--dt", 1e-3, "--reset", "subtract", "-o", made.path]
    return [f.at / "open.nir", *given], made.as_json(), ["b.onnx"]


def export_lava(f: Files) -> Made:
    made = f.program.export_lava(f.at / "net_lava.py")
    return [f.at / "net.ndp", "--to", "lava", "-o", made.script], made.as_json(), ["net_lava.py", "net_lava.npz"]


def convert_to_spikes(f: Files) -> Made:
    options = nd.ConvertOptions(coding="rate", percentile=99.0, dt=2e-3)
    made = nd.convert(
        nd.load_module(f.module.replace(":net", ":ann")), f.ann_x, f.at / "ann.nir", options=options, test=f.ann_x,
        labels=np.arange(30) % 4, steps=16,
    )  # fmt: skip
    given = ["--coding", "rate", "--percentile", 99, "--dt", 2e-3, "--steps", 16, "--test", f.at / "ann.npy"]
    given += ["--labels", f.at / "classes.npy", "--calibration", f.at / "ann.npy", "-o", made.model.path]
    return [f.module.replace(":net", ":ann"), *given], made.as_json(), ["ann.nir"]


def convert_to_sigma_delta(f: Files) -> Made:
    options = nd.ConvertOptions(relative_threshold=0.1, input_unit=0.5, source="modules.py:ann")
    made = nd.convert(
        nd.load_module(f.module.replace(":net", ":ann")), f.ann_x, f.at / "ann.ndp", to="sigma-delta", options=options
    )
    given = ["--relative-threshold", 0.1, "--input-unit", 0.5, "--to", "sigma-delta", "-o", made.model.path]
    return [f.module.replace(":net", ":ann"), "--calibration", f.at / "ann.npy", *given], made.as_json(), ["ann.ndp"]


def inspect_a_network(f: Files) -> Made:
    made = f.net.inspect(f.x, {"reset": "hard"})
    return [f.net.path, "-i", f.at / "x.npy", "--reset", "hard"], made.as_json(), []


def inspect_without_a_time_step(f: Files) -> Made:
    made = nd.inspect(f.at / "open.nir")
    assert isinstance(made, nd.Nodes)
    return [f.at / "open.nir"], made.as_json(), []


def inspect_a_program(f: Files) -> Made:
    assert f.program.inspect().as_json() == nd.inspect(f.at / "net.ndp").as_json()
    return [f.at / "net.ndp"], f.program.inspect().as_json(), []


def run(f: Files) -> Made:
    given = ["-i", f.at / "x.npy", "--labels", f.at / "y.npy", "-b", "reference"]
    return [f.at / "net.ndp", *given], f.program.run(f.x, "reference", input_axis=0).as_json(f.labels), []


def cost(f: Files) -> Made:
    given = ["-i", f.at / "x.npy", "--tier", "event", "--chip", "truenorth"]
    return [f.at / "net.ndp", *given], f.program.cost(f.x, "event", chip="truenorth", input_axis=0).as_json(), []


def cost_on_its_own_chip(f: Files) -> Made:
    given = ["-i", f.at / "x.npy", "--tier", "flit", "--flits", 2]
    return [f.at / "net.ndp", *given], f.program.cost(f.x, "flit", flits=2, input_axis=0).as_json(), []


def verify_with_the_module(f: Files) -> Made:
    program = f.net.calibrated(f.x, input_axis=0).against(nd.load_module(f.module))
    made = program.verify(f.x, f.labels, backends=["reference", "hwsim"], input_axis=0)
    assert made.pairs[0].first == "torch"
    given = ["-i", f.at / "x.npy", "--labels", f.at / "y.npy", "--model", f.module, "--backends", "reference,hwsim"]
    return [f.net.path, *given], made.as_json(), []


def report(f: Files) -> Made:
    made = f.program.verify(f.x, f.labels, backends=["reference", "hwsim"], input_axis=0, measure=True)
    assert made.measured is not None
    made.measured.save(f.at / "results.json")
    page = nd.write_report(f.at / "results.json", f.at / "page.html")
    return [f.at / "results.json", "-o", page.report], page.as_json(), ["page.html"]


def demo(f: Files) -> Made:
    folder = f.at / "demo"
    folder.mkdir()
    f.trained("digits-mlp").save(weights(registry.load("digits-mlp"), folder))
    made = nd.demo(folder, ["digits-mlp"], samples=4, lava=False)
    given = ["--model", "digits-mlp", "--samples", 4, "--no-lava"]
    return ["-o", folder, *given], made.as_json(), ["demo/report.html", "demo/results.json", "demo/digits-mlp.ndp"]


def learn(f: Files) -> Made:
    options = nd.LearnOptions(hidden=(10,), epochs=1, thresholds="neuron")
    made = nd.learn(["mpd-ed", "bptt"], options=options, chip="loihi1", folder=f.at / "learned", memory=False)
    written = [f"learned/{rule}/{file}" for rule in made.programs for file in ("learned.ndp", "checkpoint.npz")]
    given = ["--rule", *made.programs, "--hidden", 10, "--epochs", 1, "--thresholds", "neuron", "--chip", "loihi1"]
    given += ["--no-memory", "-o", f.at / "learned"]
    return given, made.as_json(), [*written, "learned/results.json", "learned/report.html"]


ADAPTED = ("adapted.ndp", "checkpoint.npz", "results.json", "report.html")


def adapt_a_program(f: Files) -> Made:
    np.savez(f.at / "samples.npz", train_x=f.x, train_y=f.labels, test_x=f.x[:, 4:], test_y=f.labels[4:])
    options = nd.LearnOptions(epochs=2, learning_rate=0.01, skip=0.05, thresholds="layer")
    made = nd.adapt(f.program, f.at / "samples.npz", "mpd-ed", options, layers=["1"], folder=f.at / "adapted")
    assert made.before is not None and made.program.use == f.program.use
    given = ["--data", f.at / "samples.npz", "--rule", "mpd-ed", "--epochs", 2, "--learning-rate", 0.01]
    given += ["--skip", 0.05, "--thresholds", "layer", "--layers", "1", "-o", f.at / "adapted"]
    return [f.at / "net.ndp", *given], made.as_json(), [f"adapted/{file}" for file in ADAPTED]


def adapt_by_the_rules_that_a_program_has(f: Files) -> Made:
    np.savez(f.at / "samples.npz", train_x=f.x, train_y=f.labels, test_x=f.x[:, 4:], test_y=f.labels[4:])
    rule = nd.EventRule("mpd-ed", learning_rate=0.01, adapt=None)
    network = with_rule(f.program.network, rule)
    replace(f.program.of, network=network).save(f.at / "ruled.ndp")
    made = nd.adapt(f.at / "ruled.ndp", f.at / "samples.npz", chip="loihi2", folder=f.at / "ruled")
    given = ["--data", f.at / "samples.npz", "--chip", "loihi2", "-o", f.at / "ruled"]
    return [f.at / "ruled.ndp", *given], made.as_json(), [f"ruled/{file}" for file in ADAPTED]


def adapt_digits(f: Files) -> Made:
    made = nd.adapt_digits(["new-class"], epochs=1, seed=3, chip="loihi1", folder=f.at / "field")
    given = ["--scenario", "new-class", "--epochs", 1, "--seed", 3, "--chip", "loihi1", "-o", f.at / "field"]
    return given, made.as_json(), ["field/results.json", "field/report.html"]


def train(f: Files) -> Made:
    made = nd.train("orrc-digits", f.at / "trained", recipe={"epochs": 1, "batch": 256}, seed=2)
    given = ["orrc-digits", "-o", f.at / "trained", "--epochs", 1, "--batch", 256, "--seed", 2]
    return given, made.as_json(), ["trained/weights.safetensors", "trained/training.json"]


CASES: dict[str, Case] = {
    "compile, calibrated": compile_calibrated,
    "compile, with options": compile_with_options,
    "compile, on no chip": compile_on_no_chip,
    "compile, a Program in floats": compile_a_program_in_floats,
    "export, to NIR": export_nir,
    "export, a sample that is drawn": export_drawn,
    "export, a module to ONNX": export_onnx_of_a_module,
    "export, a file to ONNX": export_onnx_of_a_file,
    "export, to Lava": export_lava,
    "convert, to spikes": convert_to_spikes,
    "convert, to sigma-delta": convert_to_sigma_delta,
    "inspect, a network": inspect_a_network,
    "inspect, without a time step": inspect_without_a_time_step,
    "inspect, a Program": inspect_a_program,
    "passes": lambda f: ([], nd.available_passes().as_json(), []),
    "doctor": lambda f: ([], nd.doctor().as_json(), []),
    "lava, status": lambda f: (["status"], nd.lava_status().as_json(), []),
    "lava, setup": lambda f: (["setup"], nd.lava_setup().as_json(), []),
    "run": run,
    "cost, of another chip": cost,
    "cost, of its own": cost_on_its_own_chip,
    "verify": verify_with_the_module,
    "report": report,
    "demo": demo,
    "models": lambda f: ([], nd.list_models().as_json(), []),
    "train": train,
    "learn": learn,
    "adapt, a Program": adapt_a_program,
    "adapt, by the rules that a Program has": adapt_by_the_rules_that_a_program_has,
    "adapt, scenarios on the digits": adapt_digits,
}
"""By name: the command, and behind a comma which case of it."""


@pytest.mark.parametrize("name", CASES)
def test_a_command_prints_what_the_object_says(
    name: str, files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5e9}))  # others write meanwhile
    arguments, wanted, written = CASES[name](files)
    made = {path: (files.at / path).read_bytes() for path in written}
    for path in written:
        (files.at / path).unlink()
    capsys.readouterr()
    assert main([name.partition(",")[0], *map(str, arguments), "--json"]) == 0
    assert wanted and json.loads(capsys.readouterr().out) == json.loads(json.dumps(wanted))
    assert [path for path in written if (files.at / path).read_bytes() != made[path]] == []


def test_every_command_has_a_case() -> None:
    machine = {c for c, about in COMMANDS.items() if "--json" in parser_of(c, about)._option_string_actions}
    assert set(COMMANDS) - machine == {"completion"}
    assert {name.partition(",")[0] for name in CASES} == machine


def test_what_does_not_fit_is_explained(files: Files) -> None:
    found = files.net.explain(None, nd.CompileOptions())
    assert found.fits and found.as_json()["needs"] == []
    options = nd.CompileOptions(max_neurons_per_core=2)  # of two compartments for a subtractive reset: one neuron
    torch.manual_seed(0)
    wide = nd.export(torch.nn.Sequential(torch.nn.Linear(12, 200), _leaky()), files.x)
    with pytest.raises(nd.NeurodeployError, match="needs 400 neurons; loihi1 has 256"):
        wide.compile("loihi1", options)
    found = wide.explain("loihi1", options)
    assert not found.fits
    assert [(n.need, n.have) for n in found.needs if not n.fits] == [(2 * 200, 2 * 128)]
    assert "NO" in found._repr_html_() and "needs 400 neurons" in repr(found)


def _leaky() -> torch.nn.Module:
    import snntorch

    return snntorch.Leaky(0.9, init_hidden=True, threshold=0.1, output=True)


def test_what_contradicts_itself_is_refused_in_python_too(files: Files) -> None:
    module = nd.load_module(files.module.replace(":net", ":ann"))
    for options, to in (
        (nd.ConvertOptions(coding="rate"), "sigma-delta"),
        (nd.ConvertOptions(relative_threshold=0.1), "spiking"),
        (nd.ConvertOptions(input_unit=2), "spiking"),
    ):
        with pytest.raises(nd.NeurodeployError, match=f"of a {to} network"):
            nd.convert(module, files.ann_x, to=to, options=options)  # type: ignore[arg-type]
    with pytest.raises(nd.NeurodeployError, match="no such kind of network"):
        nd.convert(module, files.ann_x, to="rate")  # type: ignore[arg-type]
    with pytest.raises(nd.NeurodeployError, match="labels are the classes of the samples for calibration"):
        files.net.compile(labels=files.labels)
    with pytest.raises(nd.NeurodeployError, match="needs the ending"):
        files.program.export_lava(files.at / "net.txt")
    with pytest.raises(nd.NeurodeployError, match="leaves no convention"):
        nd.inspect(files.at / "net.ndp", conventions={"dt": 1e-3})


def test_what_is_kept_nowhere_lives_with_its_object(files: Files) -> None:
    made = nd.convert(nd.load_module(files.module.replace(":net", ":ann")), files.ann_x)
    assert made.model.path.name == "Sequential.nir" and made.model.compile(None).path is None
    assert made.model.compile(None).as_json()["program"] is None
    assert made.model.as_json() == {"file": str(made.model.path), "pairs": [], "unproven": []}


def test_objects_show_themselves_in_notebooks(files: Files) -> None:
    f = files
    shown = [
        nd.available_passes(), nd.doctor(), nd.inspect(f.at / "open.nir"), f.program.inspect(), f.program.explain(),
        f.program.cost(f.x, input_axis=0), nd.convert(nd.load_module(f.module.replace(":net", ":ann")), f.ann_x),
        nd.export_onnx(f.at / "net.nir", (12,), f.at / "shown.onnx"),
    ]  # fmt: skip
    for one in shown:
        rows = one.rows()
        assert rows and len({len(row) for row in rows}) == 1, one
        html = one._repr_html_().partition("</table>")[0]  # doctor has a table of capabilities behind it
        assert html.startswith("<table>") and html.count("<tr>") == len(rows) + 1, one
        assert html.count("<th>") == len(rows[0]) and repr(one).startswith("<"), one


def test_learn_refuses_arrays_in_words() -> None:
    with pytest.raises(nd.NeurodeployError, match="takes its samples from a file"):
        nd.learn(data={"train_x": np.zeros((1, 1, 1))})  # type: ignore[arg-type]
