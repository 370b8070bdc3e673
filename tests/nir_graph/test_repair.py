"""Files that `nir` refuses but that mean something clear: each gives the network of the file as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record
from tests import nirh5
from tests.nirh5 import affine, conv, inp, lif, linear, out

RNG = np.random.default_rng(3)
W, B = RNG.normal(size=(5, 6)), RNG.normal(size=5) * 0.1
K, KB = RNG.normal(size=(4, 1, 3, 2)), RNG.normal(size=4) * 0.1


def mlp(**changes: Any) -> dict[str, Any]:
    return {"input": inp(6), "fc": affine(W, B), "lif": lif(5), "output": out(5), **changes}


def without(node: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in keys}


def potentials(file: nir_file.NirFile, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    x = (np.random.default_rng(0).random((20, 2, *shape)) < 0.4).astype(np.uint8)
    network = lower(file, resolve(file, dt=1e-3))
    recording = run_network(network, {"": x}, record=Record(("v",)))
    assert any(events.dense().any() for name, events in recording.spikes.items() if name != network.inputs[0].name)
    return dict(recording.states["v"])


def same(tmp_path: Path, odd: Path, clean: Path, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Assert that both files give the same potentials; return the repairs of the odd one."""
    read, expected = nir_file.read(odd), nir_file.read(clean)
    assert expected.repairs == ()
    left, right = list(potentials(read, shape).values()), list(potentials(expected, shape).values())
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)
    return read.repairs


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "no v_reset": (mlp(lif=without(lif(5), "v_reset")), mlp(), ("node 'lif': has no v_reset; assumed 0",)),
    "scalars": (
        mlp(lif={"type": "LIF", "tau": 5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.4, "v_reset": 0.0}),
        mlp(),
        ("node 'lif': tau, r, v_leak, v_threshold given once; used for all 5 neurons",),
    ),
    "one of one": (
        mlp(lif=lif(5) | {"tau": np.array([5e-3])}),
        mlp(),
        ("node 'lif': tau given once; used for all 5 neurons",),
    ),
    "a batch dimension": (
        mlp(input=inp(1, 6)),
        mlp(),
        ("node 'input': has the shape [1, 6]; the leading 1 was read as a batch and dropped",),
    ),
    "no bias": (mlp(fc=without(affine(W, B), "bias")), mlp(fc=linear(W)), ("node 'fc': has no bias; assumed 0",)),
    "one bias": (
        mlp(fc=affine(W, np.array(0.5))),
        mlp(fc=affine(W, np.full(5, 0.5))),
        ("node 'fc': has one bias; used for all 5 outputs",),
    ),
    "a shape in floats": (
        mlp(input={"type": "Input", "shape": np.array([6.0])}),
        mlp(),
        ("node 'input': has the shape [6.0]; read as [6]",),
    ),
    "a shape without brackets": (
        mlp(input={"type": "Input", "shape": 6}),
        mlp(),
        ("node 'input': has the shape 6; read as [6]",),
    ),
    "an output without a shape": (
        mlp(output={"type": "Output"}),
        mlp(),
        ("node 'output': has no usable shape; taken from what arrives there",),
    ),
    "no ends": (
        {"fc": affine(W, B), "lif": lif(5)},
        mlp(),
        (
            "node 'input': the graph has no Input; added one of shape [6] before 'fc'",
            "node 'output': the graph has no Output; added one behind 'lif'",
        ),
    ),
    "a name with a slash": (
        {"input": inp(6), "block/fc": affine(W, B), "lif": lif(5), "output": out(5)},
        {"input": inp(6), "block": affine(W, B), "lif": lif(5), "output": out(5)},
        (),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_repair_gives_the_network_that_was_meant(case: str, tmp_path: Path) -> None:
    odd, clean, repairs = CASES[case]
    paths = nirh5.write(tmp_path / "odd.nir", odd), nirh5.write(tmp_path / "clean.nir", clean)
    assert same(tmp_path, *paths, (6,)) == repairs


def image(**changes: Any) -> dict[str, Any]:
    return {
        "input": inp(1, 7, 8),
        "conv": conv(K, KB, stride=np.array([1, 2]), padding=np.array([1, 0])),
        "lif": lif((4, 7, 4)),
        "flat": {"type": "Flatten", "start_dim": 0, "end_dim": -1, "input_type": np.array([4, 7, 4])},
        "fc": linear(np.random.default_rng(1).normal(size=(3, 112)) * 0.3),
        "out": lif(3),
        "output": out(3),
        **changes,
    }


IMAGES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "non-square, no input_shape": ({}, ()),
    "a batch dimension": (
        {"input": inp(1, 1, 7, 8)},
        ("node 'input': has the shape [1, 1, 7, 8]; the leading 1 was read as a batch and dropped",),
    ),
    "Flatten counts the batch": (
        {"flat": {"type": "Flatten", "start_dim": 1, "end_dim": -1}},
        ("node 'flat': start_dim 1 does not fit what follows; read as counted with a batch, so 0 here",),
    ),
    "Flatten with a group": (
        {"flat": {"type": "Flatten", "start_dim": 0, "end_dim": -1, "input_type": "None"}},
        ("node 'flat': has an input_type that is no shape; taken from what arrives there",),
    ),
    "one value per channel": (
        {"lif": lif((4, 7, 4)) | {"v_threshold": np.full((4, 1, 1), 0.4)}},
        ("node 'lif': v_threshold has the shape [4, 1, 1]; stretched to [4, 7, 4] as numpy does",),
    ),
    "no dilation, no groups": (
        {"conv": without(image()["conv"], "dilation", "groups")},
        ("node 'conv': has no dilation; assumed [1, 1]", "node 'conv': has no groups; assumed 1"),
    ),
}


@pytest.mark.parametrize("case", IMAGES)
def test_images(case: str, tmp_path: Path) -> None:
    changes, repairs = IMAGES[case]
    paths = nirh5.write(tmp_path / "odd.nir", image(**changes)), nirh5.write(tmp_path / "clean.nir", image())
    assert same(tmp_path, *paths, (1, 7, 8)) == repairs


@pytest.mark.parametrize("dtype", ["S", "O"])
@pytest.mark.parametrize(("word", "number"), [("same", 1), ("valid", 0)])
def test_padding_as_a_word(tmp_path: Path, dtype: str, word: str, number: int) -> None:
    kernel = RNG.normal(size=(2, 1, 3, 3))
    side = 5 if number else 3
    value = np.bytes_(word) if dtype == "S" else word
    files = [
        nirh5.write(
            tmp_path / f"{index}.nir",
            {"input": inp(1, 5, 5), "conv": conv(kernel, KB[:2], padding=p), "lif": lif((2, side, side)), "o": out(1)},
        )
        for index, p in enumerate((value, number))
    ]
    assert same(tmp_path, *files, (1, 5, 5)) == ()


def test_depthwise_convolutions(tmp_path: Path) -> None:
    """A grouped convolution, against one with the kernels written out over all channels."""
    kernels = RNG.normal(size=(4, 1, 3, 3))
    full = np.zeros((4, 4, 3, 3))
    full[range(4), range(4)] = kernels[:, 0]
    files = [
        nirh5.write(
            tmp_path / f"{groups}.nir",
            {
                "input": inp(4, 6, 6),
                "conv": conv(weight, KB, padding=1, groups=groups, input_shape=np.array([6, 6])),
                "lif": lif((4, 6, 6)),
                "output": out(4, 6, 6),
            },
        )
        for groups, weight in ((4, kernels), (1, full))
    ]
    found = [potentials(nir_file.read(path), (4, 6, 6))["lif"] for path in files]
    np.testing.assert_allclose(*found, atol=1e-12)
    assert nir_file.read(files[0]).repairs == ()


CUBA = {"tau_syn": 4e-3, "tau_mem": 8e-3, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.1, "v_reset": 0.0, "w_in": 1.0}


def test_w_in_is_one(tmp_path: Path) -> None:
    node = {"type": "CubaLIF", **{key: np.full(5, value) for key, value in CUBA.items()}}
    files = [nirh5.write(tmp_path / f"{i}.nir", mlp(lif=n)) for i, n in enumerate((without(node, "w_in"), node))]
    assert same(tmp_path, *files, (6,)) == ("node 'lif': has no w_in; assumed 1",)


def test_an_edge_that_stands_twice_counts_twice(tmp_path: Path) -> None:
    edges = [("input", "fc"), ("input", "fc"), ("fc", "lif"), ("lif", "output")]
    odd = nirh5.write(tmp_path / "odd.nir", mlp(), edges)
    clean = nirh5.write(tmp_path / "clean.nir", mlp(fc=affine(2 * W, B)))
    repairs = same(tmp_path, odd, clean, (6,))
    assert repairs == ("node 'input x2 fc': the edge input -> fc stands 2 times; all of them count",)


def nested(inner: dict[str, Any], edges: Any = None) -> dict[str, Any]:
    return {"type": "NIRGraph", "nodes": inner, "edges": edges}


def test_nested_graphs_are_put_in_their_place(tmp_path: Path) -> None:
    """Two levels, a loop inside, and an edge that stands twice because two graphs meet."""
    rec = np.random.default_rng(9).normal(size=(5, 5))
    loop = [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")]
    inner = nested({"input": inp(5), "lif": lif(5), "rec": linear(rec), "output": out(5)}, loop)
    outer = nested({"in": inp(6), "fc": affine(W, B), "cell": inner, "out": out(5)})
    odd = nirh5.write(tmp_path / "odd.nir", {"input": inp(6), "block": outer, "output": out(5)})
    flat = {"input": inp(6), "fc": affine(W, B), "lif": lif(5), "rec": linear(rec), "output": out(5)}
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")]
    clean = nirh5.write(tmp_path / "clean.nir", flat, edges)
    repairs = same(tmp_path, odd, clean, (6,))
    assert repairs == (
        "node 'block.cell': is a graph inside the graph; its 2 nodes were put in its place "
        "(block.cell.lif, block.cell.rec)",
        "node 'block': is a graph inside the graph; its 3 nodes were put in its place "
        "(block.cell.lif, block.cell.rec, block.fc)",
    )
    assert sorted(nir_file.read(odd).graph.nodes) == ["block.cell.lif", "block.cell.rec", "block.fc", "input", "output"]


def refusal(path: Path, kind: type[NeurodeployError] = InvalidInputError) -> str:
    with pytest.raises(kind) as caught:
        file = nir_file.read(path)
        lower(file, resolve(file, dt=1e-3))
    return str(caught.value)


def test_a_nested_graph_with_two_outputs_is_refused(tmp_path: Path) -> None:
    inner = nested({"i": inp(6), "fc": affine(W, B), "a": out(5), "b": out(5)}, [("i", "fc"), ("fc", "a"), ("fc", "b")])
    path = nirh5.write(tmp_path / "n.nir", {"input": inp(6), "block": inner, "lif": lif(5), "output": out(5)})
    assert "the nested graph 'block' has 2 outputs" in refusal(path, UnsupportedError)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": (mlp(lif=lif(5) | {"tau": "fast"}), "node 'lif' has a tau that is not numeric"),
    "weights that are not finite": (mlp(fc=linear(W * np.nan)), "node 'fc' has a weight that is not finite"),
    "weights in one dimension": (mlp(fc=linear(W[0])), "node 'fc' has weights of the wrong shape"),
    "a bias of another layer": (mlp(fc=affine(W, np.zeros(4))), "node 'fc' has a bias of the wrong shape"),
    "parameters of another layer": (mlp(lif=lif(5) | {"tau": np.ones(4)}), "the parameters of a LIF node do not fit"),
    "an input without a shape": (mlp(input={"type": "Input"}), "does not say the shape of the input"),
    "a negative size": (mlp(input=inp(-6)), "does not say the shape of the input"),
    "too many neurons": (
        {"input": inp(1 << 30), "lif": lif(()), "output": out(1)},
        "node 'input' has a shape that cannot be used",
    ),
    "a kernel larger than the image": (image(input=inp(1, 1, 1)), "node 'conv' does not fit its input"),
    "no stride at all": (image(conv=conv(K, KB, stride=0)), "node 'conv' has a stride that is too small"),
    "half a stride": (image(conv=conv(K, KB, stride=1.5)), "node 'conv' has a stride that cannot be used"),
    "groups that do not divide": (image(conv=conv(K, KB, groups=3)), "node 'conv' has groups that do not divide"),
    "an unknown padding": (image(conv=conv(K, KB, padding="mirror")), "node 'conv' has an unknown padding"),
    "a Flatten of nothing": (
        image(flat={"type": "Flatten", "start_dim": 5, "end_dim": 7}),
        "node 'flat' flattens dimensions that are not there",
    ),
    "no type": (mlp(fc={"weight": W}), "node 'fc' is of an unknown type"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_name_of_the_node(case: str, tmp_path: Path) -> None:
    nodes, text = REFUSED[case]
    assert text in refusal(nirh5.write(tmp_path / "net.nir", nodes))


def test_two_nodes_without_an_input_are_refused(tmp_path: Path) -> None:
    nodes = {"a": linear(W), "b": linear(W), "lif": lif(5), "output": out(5)}
    path = nirh5.write(tmp_path / "net.nir", nodes, [("a", "lif"), ("b", "lif"), ("lif", "output")])
    assert "the graph has no Input node" in refusal(path)


def test_declared_sizes_are_not_believed(tmp_path: Path) -> None:
    """A data set of 8 TB that was never written takes a few bytes; reading it would fill the memory."""
    path = nirh5.write(tmp_path / "bomb.nir", mlp())
    with h5py.File(path, "r+") as file:
        del file["node/nodes/fc/weight"]
        file["node/nodes/fc"].create_dataset("weight", shape=(1 << 20, 1 << 20), dtype="f8", chunks=(1, 1024))
    text = refusal(path)
    assert "declares more data than it can hold, up to /node/nodes/fc/weight" in text
    assert "8,796,0" in text


def test_soft_links_are_refused(tmp_path: Path) -> None:
    path = nirh5.write(tmp_path / "soft.nir", mlp())
    with h5py.File(path, "r+") as file:
        file["node/nodes/again"] = h5py.SoftLink("/node")
    assert "has a soft link at /node/nodes/again" in refusal(path, UnsupportedError)


def test_a_group_inside_itself_is_refused(tmp_path: Path) -> None:
    path = nirh5.write(tmp_path / "ring.nir", mlp())
    with h5py.File(path, "r+") as file:
        file["node/nodes/again"] = file["node"]
    assert "stands in several places of the file" in refusal(path)
