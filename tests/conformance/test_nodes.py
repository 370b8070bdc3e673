"""Every NIR node on Lava in floats against the NIR reference, and in integers against the reference and hwsim.

The table in ``docs/reference-lava.md`` says the same; a row that is missing there, or here, fails a test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import backends
from neurodeploy.backends.lava.setup import setup
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph.max_node import max_node
from neurodeploy.nir_graph.nodes import KNOWN_NODES
from neurodeploy.program.recording import Record
from tests import nirgraphs
from tests.conformance.compare import difference
from tests.random_pooling import windows

RNG = np.random.default_rng(5)
DT = 1e-3
PAGE = Path(__file__).parents[2] / "docs" / "reference-lava.md"


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) + 0.3


def full(value: float, *shape: int) -> np.ndarray:
    return np.full(shape or (6,), value)


def lif(*shape: int) -> nir.LIF:
    return nir.LIF(full(5e-3, *shape), full(5.0, *shape), full(0, *shape), full(1, *shape), full(0, *shape))


def behind(*nodes: tuple[str, nir.NIRNode], shape: tuple[int, ...] = (4,)) -> nir.NIRGraph:
    return nirgraphs.sequence(shape, dict(nodes))


def alone(node: nir.NIRNode) -> nir.NIRGraph:
    """A neuron between two linear layers, then a LIF; a read-out is the last."""
    return behind(("fc", nir.Affine(normal(6, 4), 0.1 * normal(6))), ("node", node))


def heard(node: nir.NIRNode) -> nir.NIRGraph:
    return behind(
        ("fc", nir.Affine(normal(6, 4), 0.1 * normal(6))), ("node", node), ("fc2", nir.Linear(normal(6, 6))),
        ("out", lif(6)),
    )  # fmt: skip


def image(*nodes: tuple[str, nir.NIRNode], after: tuple[int, ...]) -> nir.NIRGraph:
    return behind(*nodes, ("lif", lif(*after)), shape=(2, 6, 6))


def conv(padding: int = 1) -> nir.Conv2d:
    return nir.Conv2d((6, 6), 0.5 * normal(4, 2, 3, 3), 1, padding, 1, 1, 0.1 * normal(4))


def pool(kind: type) -> nir.NIRGraph:
    pooling = kind(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    behind_it = nir.Conv2d((3, 3), normal(3, 2, 2, 2), 1, 0, 1, 1, np.zeros(3))
    return image(("pool", pooling), ("conv", behind_it), after=(3, 2, 2))


def nested() -> nir.NIRGraph:
    inner = behind(("w", nir.Linear(normal(6, 6))), ("lif", lif(6)), shape=(6,))
    return behind(("fc", nir.Linear(normal(6, 4))), ("first", lif(6)), ("inner", inner))


CUBA = {"tau_syn": full(4e-3), "tau_mem": full(6e-3), "r": full(6.0), "v_leak": full(0.0)}
GRAPHS: dict[str, Callable[[], nir.NIRGraph]] = {
    "Linear": lambda: behind(("fc", nir.Linear(normal(6, 4))), ("lif", lif(6))),
    "Affine": lambda: behind(("fc", nir.Affine(normal(6, 4), 0.2 * normal(6))), ("lif", lif(6))),
    "Scale": lambda: behind(
        ("fc", nir.Linear(normal(6, 4))), ("scale", nir.Scale(RNG.random(6) + 0.5)), ("lif", lif(6))
    ),
    "Conv1d": lambda: behind(
        ("conv", nir.Conv1d(8, normal(3, 2, 3), 1, 1, 1, 1, 0.1 * normal(3))), ("lif", lif(3, 8)), shape=(2, 8)
    ),
    "Conv2d": lambda: image(("conv", conv()), after=(4, 6, 6)),
    "Max": lambda: image(
        ("conv", conv()), ("max", max_node(windows((4, 6, 6), (2, 2), (2, 2), (0, 0), (1, 1)), (4, 6, 6))),
        after=(4, 3, 3),
    ),
    "SumPool2d": lambda: pool(nir.SumPool2d),
    "AvgPool2d": lambda: pool(nir.AvgPool2d),
    "Flatten": lambda: behind(
        ("conv", conv()), ("lif", lif(4, 6, 6)),
        ("flatten", nir.Flatten({"input": np.array([4, 6, 6])}, start_dim=0, end_dim=-1)),
        ("fc", nir.Linear(0.2 * normal(5, 144))), ("out", lif(5)), shape=(2, 6, 6),
    ),
    "Delay": lambda: behind(
        ("fc", nir.Linear(normal(6, 4))), ("lif", lif(6)), ("delay", nir.Delay(DT * np.array([0, 1, 1, 2, 3, 3]))),
        ("fc2", nir.Linear(normal(6, 6))), ("out", lif(6)),
    ),
    "LIF": lambda: heard(lif(6)),
    "IF": lambda: heard(nir.IF(full(1e3), full(1.0), full(0.0))),
    "CubaLIF": lambda: heard(nir.CubaLIF(**CUBA, v_threshold=full(1.0), v_reset=full(0.0))),
    "LI": lambda: alone(nir.LI(full(5e-3), full(5.0), full(0.0))),
    "I": lambda: alone(nir.I(full(1e3))),
    "CubaLI": lambda: alone(nir.CubaLI(**CUBA)),
    "Threshold": lambda: heard(nir.Threshold(full(0.8))),
    "NIRGraph": nested,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> None:
    setup()


@pytest.mark.parametrize("name", GRAPHS)
def test_node(name: str, tmp_path: Path) -> None:
    path = nirgraphs.write(GRAPHS[name](), tmp_path / "net.nir")
    options = {"dt": DT, "reset": "hard", "comparison": ">"}
    floats = compile(path, None, CompileOptions(conventions=options, integer=False))
    shape = floats.program.network.inputs[0].shape
    x = {"": (np.random.default_rng(0).random((25, 3, *shape)) < 0.4).astype(np.uint8)}
    truth = nir_reference.run(floats.file, x, floats.conventions)
    found = backends.get("lava")(floats.program, x, record=Record(("v",)))
    for layer, events in found.spikes.items():
        np.testing.assert_array_equal(events.dense(), truth.spikes[layer].dense(), err_msg=layer)
        assert len(events), f"{layer} spikes"
    for layer, values in found.states["v"].items():
        np.testing.assert_allclose(values, truth.states["v"][layer], atol=1e-5, err_msg=layer)
    integers = compile(path, None, CompileOptions(conventions=options, calibration=x)).program
    assert integers.network.arithmetic == "loihi"
    states = Record(("u", "v"))
    judge = backends.get("reference")(integers, x, record=states)
    for other in ("hwsim", "lava"):
        assert difference(judge, backends.get(other)(integers, x, record=states), integer=True) == ""


def test_the_table_in_the_docs_has_every_node() -> None:
    rows = re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(GRAPHS) <= set(rows)
    assert set(KNOWN_NODES) - {"Input", "Output"} <= set(rows) | {"Input", "Output"}
