"""Files with host stages: other readers refuse them, nothing is lost in them, and damaged ones are refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("spikingjelly")

import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurodeploy
from neurodeploy import backends
from neurodeploy.cli import main
from neurodeploy.exporters.write_nir import write
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.nir_graph.host_nodes import from_host, stage_node
from neurodeploy.nir_graph.nir_file import read
from neurodeploy.nir_graph.shapes import stages
from neurodeploy.program.program import Program

HOST = "node/nodes/host"
FED = "node/nodes/host.0"
STEPS = 4


class Gated(nn.Module):
    """Six neurons, a gate over all steps on the host, and six more; every other node is one that all tools know."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.g = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.n, self.m = neuron.LIFNode(step_mode="m"), neuron.LIFNode(step_mode="m")
        with torch.no_grad():
            self.a.weight.mul_(4)
            self.b.weight.mul_(8)

    def forward(self, x: Any) -> Any:
        y = self.n(self.a(x))
        return self.m(self.b(y * torch.sigmoid(self.g(y.mean(0)))[None]))


def sample() -> np.ndarray:
    return np.random.default_rng(0).random((STEPS, 2, 6)).astype(np.float32) * 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hosted") / "g.nir"
    neurodeploy.export(Gated().eval(), sample(), path)
    return path


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    path = tmp_path / "damaged.nir"
    path.write_bytes(exported.read_bytes())
    return path


def norse(graph: nir.NIRGraph) -> object:
    return pytest.importorskip("norse").torch.from_nir(graph)


def snntorch(graph: nir.NIRGraph) -> object:
    pytest.importorskip("snntorch")
    from snntorch.import_nir import import_from_nir

    return import_from_nir(graph)


def sinabs(graph: nir.NIRGraph) -> object:
    pytest.importorskip("sinabs")
    from sinabs.nir import from_nir

    return from_nir(graph, batch_size=1)


def spikingjelly(graph: nir.NIRGraph) -> object:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph)


READERS = [norse, snntorch, sinabs, spikingjelly]


def test_nir_refuses_the_file(exported: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - an assertion without words
        nir.read(exported)


def test_nir_refuses_it_where_python_leaves_assertions_out(exported: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-c", f"import nir; nir.read({str(exported)!r})"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode
    assert "HostStage" in done.stderr or "FromHost" in done.stderr


@pytest.mark.parametrize("reader", READERS)
def test_tools_refuse_the_graph_and_would_take_it_without_the_stage(
    reader: Callable[[nir.NIRGraph], object], exported: Path
) -> None:
    graph = read(exported).graph
    edges = [(a, b) for a, b in graph.edges if "host" not in a and "host" not in b]
    inside = {name: node for name, node in graph.nodes.items() if "host" not in name}
    reader(nir.NIRGraph(inside, [*edges, ("n", "b")], type_check=False))
    with pytest.raises(Exception, match=r"host|HostStage|FromHost"):
        reader(graph)


@pytest.mark.parametrize("reader", READERS)
def test_no_tool_takes_a_stage_that_fits_on_both_sides_for_nothing(
    reader: Callable[[nir.NIRGraph], object], exported: Path, tmp_path: Path
) -> None:
    """Input -> stage -> source -> neurons -> Output, six everywhere: left out, it would be a network that runs."""
    whole = read(exported).graph
    (stage,) = stages(whole)
    takes = tuple(type(one)(one.name, "input") for one in stage.takes)
    moved = type(stage)("host", stage.graph, takes, stage.gives, "before")
    nodes = {
        "input": nir.Input({"input": np.array([6])}), "host": stage_node(moved), "host.0": from_host((6,)),
        "m": whole.nodes["m"], "output": nir.Output({"output": np.array([6])}),
    }  # fmt: skip
    edges = [("input", "host"), ("host", "host.0"), ("host.0", "m"), ("m", "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    with pytest.raises(Exception, match=r"host|HostStage|FromHost"):
        reader(graph)
    write(graph, tmp_path / "mischief.nir")
    with pytest.raises(Exception):  # noqa: B017, PT011 - as above
        nir.read(tmp_path / "mischief.nir")
    assert stages(read(tmp_path / "mischief.nir").graph)[0].when == "before"


def described(found: Any) -> list[object]:
    return [
        (
            stage.name,
            stage.when,
            stage.graph.tobytes(),
            [vars(one) for one in stage.takes],
            [vars(o) for o in stage.gives],
        )
        for stage in found
    ]


def test_nothing_of_a_stage_is_lost_in_files(exported: Path, tmp_path: Path) -> None:
    file = read(exported)
    (stage,) = stages(file.graph)
    assert (stage.name, stage.when, [str(one) for one in stage.takes]) == ("host", "phase", ["spikes of n"])
    assert [str(one) for one in stage.gives] == ["host.0"]
    write(file.graph, tmp_path / "again.nir")
    assert described(stages(read(tmp_path / "again.nir").graph)) == described([stage])
    network = lower(file, resolve(file))
    Program.unplaced(network, {}).save(tmp_path / "g.ndp")
    loaded = Program.load(tmp_path / "g.ndp")
    assert described(loaded.network.stages) == described([stage])
    one, other = (backends.get("reference")(p, {"input": sample()}) for p in (Program.unplaced(network, {}), loaded))
    assert len(one.spikes["m"]) > 0
    assert (one.spikes["m"].dense() == other.spikes["m"].dense()).all()
    with torch.no_grad():
        torch_gave = Gated().eval()(torch.from_numpy(sample())).numpy()
    assert (one.spikes["m"].dense().reshape(torch_gave.shape) == torch_gave).all()


Damage = Callable[[h5py.File], object]


def put(part: str, name: str, value: Any) -> Damage:
    def damage(file: h5py.File) -> None:
        del file[part][name]
        file[part].create_dataset(name, data=value)

    return damage


def without(part: str, name: str) -> Damage:
    return lambda file: file[part].__delitem__(name)


def port(kind: str, change: Callable[[list[Any]], Any]) -> Damage:
    return lambda file: put(HOST, kind, json.dumps(change(json.loads(file[HOST][kind][()]))))(file)


def bytes_of(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    return lambda file: put(HOST, "graph", change(file[HOST]["graph"][()]))(file)


def edges(change: Callable[[str, str], Iterator[tuple[str, str]]], gone: str = "") -> Damage:
    def damage(file: h5py.File) -> None:
        kept = [new for a, b in file["node/edges"][()] for new in change(a.decode(), b.decode())]
        put("node", "edges", np.array(kept, "S"))(file)
        if gone:
            del file["node/nodes"][gone]

    return damage


def beside(name: str, end: int) -> Callable[[str, str], Iterator[tuple[str, str]]]:
    return lambda a, b: iter([] if (a, b)[end] == name else [(a, b)])


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no when": (without(HOST, "when"), "has no when"),
    "another when": (put(HOST, "when", "sometimes"), "when 'sometimes'"),
    "no takes": (without(HOST, "takes"), "has no takes"),
    "cut JSON": (put(HOST, "takes", '[["x0", "n"'), "takes '[[\"x0\", \"n\"'"),
    "JSON that is no list": (put(HOST, "gives", "null"), "gives 'null'"),
    "JSON without an end": (put(HOST, "takes", "[" * 100_000), "says no stage of a host"),
    "another port": (port("takes", lambda v: [[*v[0][:2], "current", "steps"]]), "'port'"),
    "nothing taken": (port("takes", lambda v: []), "takes nothing"),
    "a delay without end": (port("gives", lambda v: [[*v[0][:2], float("inf")]]), "infinity"),
    "an input that the graph has not": (port("takes", lambda v: [["other", *v[0][1:]]]), "inputs of the graph"),
    "an output that the graph has not": (port("gives", lambda v: [["other", *v[0][1:]]]), "outputs of the graph"),
    "graph cut in half": (bytes_of(lambda g: g[: len(g) // 2]), "damaged or no ONNX model"),
    "graph cut at its end": (bytes_of(lambda g: g[:-40]), "damaged or no ONNX model"),
    "no bytes": (bytes_of(lambda g: g[:0]), "has no graph"),
    "no bytes of a graph": (bytes_of(lambda g: np.arange(100, dtype=np.uint8)), "damaged or no ONNX model"),
    "no edge to it": (edges(beside("host", 1)), "the edges of the host stage 'host'"),
    "no edge from it": (edges(beside("host", 0)), "the edges of the host stage 'host'"),
    "an edge from elsewhere": (
        edges(lambda a, b: iter([("a", b) if b == "host" else (a, b)])), "the edges of the host stage 'host'",
    ),
    "takes from nobody": (port("takes", lambda v: [[v[0][0], "nobody", *v[0][2:]]]), "the edges of the host stage"),
    "fed by nobody": (
        edges(lambda a, b: iter([] if "host" in (a, b) else [(a, b)]), "host"), "no host stage feeds 'host.0'",
    ),
    "another shape": (put(FED, "shape", np.array([7])), "gives 'host.0' another shape"),
    "no shape": (without(FED, "shape"), "'host.0' (FromHost) has no shape"),
    "a schedule that the graph is not for": (put(HOST, "when", "step"), "takes 'n' in another shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("command", ["inspect", "compile"])
def test_a_damaged_stage_is_refused_with_its_file_and_its_name(
    name: str, command: str, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, said = DAMAGES[name]
    with h5py.File(copied, "a") as file:
        damage(file)
    np.save(tmp_path / "x.npy", sample())
    more = ["--chip", "loihi2", "--calibration", str(tmp_path / "x.npy"), "-o", str(tmp_path / "g.ndp")]
    assert main([command, str(copied), *(more if command == "compile" else [])]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and err.count("error: ") == 1 and "Traceback" not in out + err
    assert str(copied) in err and "'host" in err and said in err
