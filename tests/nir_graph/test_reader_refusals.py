"""Files that cannot be meant: refusals of the readers by their text; the usual ones stand beside each reader's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.lowering.lava_dl import read_net
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from tests import nirgraphs, nirh5
from tests.lowering.test_lava_dl import layers
from tests.lowering.test_lava_dl import write as write_net
from tests.nirh5 import affine, conv, inp, lif, out

NIR: dict[str, tuple[dict[str, Any], type[NeurodeployError], str]] = {
    "a stride too large": (
        {"input": inp(1, 4, 4), "conv": conv(np.ones((2, 1, 2, 2)), np.zeros(2), stride=1 << 40), "o": out(2, 1, 1)},
        InvalidInputError, "node 'conv' has a stride that is too large",
    ),
    "a kernel in two dimensions": (
        {"input": inp(1, 4, 4), "conv": conv(np.ones((2, 2)), np.zeros(2)), "output": out(2, 1, 1)},
        InvalidInputError, "node 'conv' has weights of the wrong shape",
    ),
    "no stride": (
        {"input": inp(1, 4, 4), "pool": {"type": "SumPool2d", "padding": np.zeros(2)}, "output": out(1, 2, 2)},
        InvalidInputError, "node 'pool' (SumPool2d) has no kernel_size",
    ),
    "resets above its threshold": (
        {"input": inp(3), "lif": lif(3, v_reset=0.9), "output": out(3)},
        InvalidInputError, "node 'lif' resets above its threshold, so it would spike for ever",
    ),
    "endless": (
        {"input": inp(3), "lif": lif(3) | {"r": np.full(3, np.inf)}, "output": out(3)},
        InvalidInputError, "node 'lif': parameter r is not finite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NIR)
def test_nir(case: str, tmp_path: Path) -> None:
    nodes, kind, text = NIR[case]
    with pytest.raises(kind) as caught:
        file = nir_file.read(nirh5.write(tmp_path / "net.nir", nodes))
        lower(file, resolve(file, dt=1e-3))
    assert text in str(caught.value)


def changed_nir(change: Callable[[h5py.File], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        nodes = {"input": inp(3), "fc": affine(np.eye(3), np.zeros(3)), "lif": lif(3), "output": out(3)}
        path = nirh5.write(folder / "net.nir", nodes)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return make


def no_edges(file: h5py.File) -> None:
    del file["node/edges"]


def three_ends(file: h5py.File) -> None:
    del file["node/edges"]
    file["node"].create_dataset("edges", data=np.array([[b"a", b"b", b"c"]]))


def deep(file: h5py.File) -> None:
    group = file["node/nodes"]
    for _ in range(60):
        group = group.create_group("g")
        group["type"] = "NIRGraph"
        group.create_dataset("edges", data=np.zeros((0, 2), "S1"))
        group = group.create_group("nodes")


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (no_edges, InvalidInputError, "no edges in /node"),
        (three_ends, InvalidInputError, "edges of shape [1, 3]"),
        (deep, UnsupportedError, "nests graphs more than 50 deep"),
    ],
)
def test_nir_structure(change: Any, kind: type[NeurodeployError], text: str, tmp_path: Path) -> None:
    with pytest.raises(kind) as caught:
        file = nir_file.read(changed_nir(change)(tmp_path))
        lower(file, resolve(file, dt=1e-3))
    assert text in str(caught.value)


def test_a_nested_graph_that_takes_anothers_name(tmp_path: Path) -> None:
    inner = {"type": "NIRGraph", "nodes": {"i": inp(3), "b": lif(3), "o": out(3)}}
    nodes = {"input": inp(3), "a": inner, "a.b": lif(3), "output": out(3)}
    with pytest.raises(InvalidInputError, match=r"node 'a' is a graph whose nodes clash with others\n.*a\.b"):
        nir_file.read(nirh5.write(tmp_path / "net.nir", nodes))


def test_a_nested_graph_that_feeds_itself(tmp_path: Path) -> None:
    inner = {"type": "NIRGraph", "nodes": {"i": inp(3), "o": out(3)}, "edges": [("i", "o"), ("o", "i")]}
    nodes = {"input": inp(3), "a": inner, "lif": lif(3), "output": out(3)}
    with pytest.raises(InvalidInputError, match="feeds itself without a neuron"):
        nir_file.read(nirh5.write(tmp_path / "net.nir", nodes))


def test_a_delay_of_its_own_for_very_many_neurons(tmp_path: Path) -> None:
    size = 2000
    delay = nir.Delay(np.arange(size) * 1e-3)
    graph = nirgraphs.sequence((size,), {"d": delay, "n": nirgraphs.lif(size)})
    file = nir_file.read(nirgraphs.write(graph, tmp_path / "d.nir"))
    with pytest.raises(UnsupportedError, match="node 'd' has too many different delays"):
        lower(file, resolve(file, dt=1e-3))


def test_a_time_step_that_is_none(tmp_path: Path) -> None:
    file = nir_file.read(nirgraphs.write(nirgraphs.mlp(), tmp_path / "m.nir"))
    for dt in (0.0, -1.0, float("inf")):
        with pytest.raises(InvalidInputError, match="the time step must be a positive number of seconds"):
            resolve(file, dt=dt)


NET: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], str]] = {
    "no layers": (lambda c: c.clear(), "layers none"),
    "a layer without a type": (lambda c: c[1].pop("type"), "layer 1 has no type"),
    "an input in the middle": (lambda c: c.insert(2, dict(c[0])), "layer 2 is an input layer"),
    "no neurons at all": (lambda c: c.__delitem__(slice(1, None)) or c[0].pop("neuron"), "has no layer with neurons"),
    "a shape of four": (lambda c: c[1].update(shape=[3, 6, 3, 1]), "layer 1 has a shape that cannot be used"),
    "three strides": (lambda c: c[1].update(stride=[1, 2, 3]), "layer 1 has a stride that cannot be used"),
    "endless weights": (lambda c: c[3].update(weight=np.full((4, 54), np.inf)), "layer 3 has a weight that cannot be"),
    "biases of others": (lambda c: c[3].update(bias=np.zeros(3)), "layer 3 has a bias that cannot be used"),
    "weights that do not divide": (lambda c: c[3].update(weight=np.ones((3, 54))), "layer 3 has weights of the wrong"),
    "a flat kernel": (lambda c: c[1].update(weight=np.ones((3, 12))), "layer 1 has weights of the wrong shape"),
    "channels of others": (lambda c: c[1].update(weight=np.ones((3, 5, 3, 2))), "layer 1 does not fit the layer"),
    "padding without end": (lambda c: c[1].update(padding=[900, 0]), "layer 1 has more padding than image"),
}  # fmt: skip


@pytest.mark.parametrize("case", NET)
def test_net(case: str, tmp_path: Path) -> None:
    change, text = NET[case]
    content = layers()
    change(content)
    with pytest.raises(InvalidInputError) as caught:
        read_net(write_net(tmp_path / "small.net", content))
    assert text in str(caught.value)
