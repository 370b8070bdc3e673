"""A neuron model of another package: it runs where the package taught it, every other part refuses it by name.

And a model that nobody taught anything: no part takes it for another.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy import passes
from neurodeploy.backends.reference import run as reference
from neurodeploy.compiler import limits_of, place
from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import count
from neurodeploy.network import dispatch
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.event_rules import chain, lif
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Neuron, Source
from neurodeploy.passes.prune import Prune
from neurodeploy.placement.fit import needs, storage
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record

from .conftest import PACKAGE

SHAPE, STEPS, SAMPLES = (3, 4, 5), 40, 3
SIZE = 60


def neurons(kind: type, size: int, integer: bool, seed: int) -> Neuron:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.02, 0.1, size), rng.uniform(0.2, 0.25, size)
    c, d = rng.uniform(-65, -50, size), rng.uniform(2, 8, size)
    if integer:
        a, b, c, d = (np.rint(x * unit).astype(np.int64) for x, unit in ((a, 4096), (b, 4096), (c, 64), (d, 64)))
    return kind(a=a, b=b, c=c, d=d)


def network(kind: type, arithmetic: str, make: Callable[..., Neuron] = neurons) -> Network:
    """Input -> convolution -> the model (an image) -> dense, delayed -> the model, recurrent -> LIF."""
    integer = arithmetic == "loihi"
    rng = np.random.default_rng(3)

    def weights(*shape: int, low: float = 0.0, high: float = 12.0) -> np.ndarray:
        w = rng.uniform(low, high, shape)
        return np.rint(w * 64 / 2).astype(np.int16) * 2 if integer else w

    conv = Conv2d(weights(3, 2, 3, 3), (2, 4, 5), padding=(1, 1))
    last = lif(4, threshold=2.0) if not integer else replace(
        lif(4), du=np.full(4, 4095), dv=np.zeros(4, np.int64), threshold=np.full(4, 64 * 64),
        bias=np.zeros(4, np.int64), reset_to=np.zeros(4, np.int64), initial=np.zeros(4, np.int64),
    )  # fmt: skip
    read = weights(4, 7) if not integer else np.rint(rng.uniform(1, 20, (4, 7))).astype(np.int16) * 2
    populations = (
        Population("in", (2, 4, 5), Source()),
        Population("image", SHAPE, make(kind, SIZE, integer, 1)),
        Population("loop", (7,), make(kind, 7, integer, 2)),
        Population("out", (4,), last),
    )
    projections = (
        Projection("a", "in", "image", conv),
        Projection("b", "image", "loop", Dense(weights(7, SIZE, low=-1.0, high=2.0)), delay=2),
        Projection("r", "loop", "loop", Dense(weights(7, 7, low=-4.0, high=4.0)), delay=1),
        Projection("c", "loop", "out", Dense(read)),
    )
    return Network("foreign", populations, projections, ("out",), 1e-3, arithmetic)  # type: ignore[arg-type]


def inputs() -> dict[str, np.ndarray]:
    return {"in": (np.random.default_rng(0).random((STEPS, SAMPLES, 2, 4, 5)) < 0.4).astype(np.uint8)}


def test_one_neuron_does_what_the_paper_says(installed: type) -> None:
    """Fast spiking (a 0.1, b 0.2, c -65, d 2), 10 in every step, by hand from v = -65, w = 0."""
    by_hand = []
    v, w = -65.0, 0.0
    for _ in range(60):
        arrived = 10.0
        v, w = v + (0.04 * v * v + 5 * v + 140 - w + arrived), w + 0.1 * (0.2 * v - w)
        if fired := v >= 30:
            v, w = -65.0, w + 2.0
        by_hand.append((fired, v))
    one = {key: np.array([value]) for key, value in {"a": 0.1, "b": 0.2, "c": -65.0, "d": 2.0}.items()}
    populations = (Population("in", (1,), Source()), Population("n", (1,), installed(**one)))
    single = Network(
        "one", populations, (Projection("p", "in", "n", Dense(np.array([[10.0]]))),), ("n",), 1e-3
    )  # fmt: skip
    program = place(single, None, {})
    for run in (reference.run, engine.run):
        found = run(program, {"": np.ones((60, 1, 1))}, record=Record(("v",)))
        np.testing.assert_allclose(found.states["v"]["n"][:, 0, 0], [v for _, v in by_hand], rtol=1e-12)
        assert found.spikes["n"].dense()[:, 0, 0].tolist() == [fired for fired, _ in by_hand]
    assert 2 < sum(fired for fired, _ in by_hand) < 30


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
def test_reference_and_hwsim_agree(installed: type, arithmetic: str, tmp_path: Path) -> None:
    program = place(network(installed, arithmetic), None, {})
    program.save(tmp_path / "net.ndp")
    loaded = Program.load(tmp_path / "net.ndp")
    assert type(loaded.network.by_name["loop"].neuron) is installed
    record = Record(("u", "v"))
    first, second = reference.run(program, inputs(), record=record), engine.run(loaded, inputs(), record=record)
    for name in ("image", "loop", "out"):
        dense = first.spikes[name].dense()
        assert 0 < dense.mean() < 0.9, name
        np.testing.assert_array_equal(dense, second.spikes[name].dense(), err_msg=name)
        np.testing.assert_allclose(first.states["v"][name], second.states["v"][name], rtol=1e-9, err_msg=name)
    assert set(first.states["u"]) == set(second.states["u"]) == {"out"}


def test_it_is_counted_and_placed(installed: type) -> None:
    arch = load_architecture("loihi1")
    floats = network(installed, "loihi")
    program = place(floats, arch, {})
    found = count(program, engine.run(program, inputs()), arch)
    spikes = reference.run(program, inputs()).spikes["loop"]
    assert found.layer["events_out"][found.populations.index("loop")].sum() == len(spikes)
    assert {need.layer for need in needs(floats, limits_of(arch))} >= {"image", "loop"}
    assert storage(floats)


@pytest.mark.parametrize("name", ["prune", "encode", "split-signs"])
def test_passes_that_need_no_model_leave_it_alone(installed: type, name: str) -> None:
    before = network(installed, "float")
    (step,) = passes.parse(name)
    after = step.build().apply(before)
    assert type(after.by_name["loop"].neuron) is installed
    first, second = (reference.run_network(n, inputs()) for n in (before, after))
    np.testing.assert_array_equal(first.spikes["out"].dense(), second.spikes["out"].dense())


def _quantise(net: Network, folder: Path) -> None:
    passes.parse("quantise")[0].build().apply(net)


def _calibrated(net: Network, folder: Path) -> None:
    passes.parse("quantise")[0].build().apply(net, passes.PassData(inputs()))


def _fine_tune(net: Network, folder: Path) -> None:
    integers = network(type(net.by_name["loop"].neuron), "loihi")
    passes.parse("fine-tune")[0].build().apply(integers, passes.PassData(inputs(), teacher=net))


def _lava(net: Network, folder: Path) -> None:
    from neurodeploy.backends.lava.lower import lower

    lower(place(net, None, {}), {"in": inputs()["in"].reshape(STEPS, SAMPLES, -1)}, Record())


def _script(net: Network, folder: Path) -> None:
    from neurodeploy.backends.lava.script import export

    export(place(net, None, {}), folder / "script.py")


def _onnx(net: Network, folder: Path) -> None:
    pytest.importorskip("onnx")
    from neurodeploy.backends.onnx.step import to_onnx

    to_onnx(net)


def _onnxruntime(net: Network, folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    from neurodeploy.backends.onnx.run import run

    run(place(net, None, {}), inputs())


def _learn(net: Network, folder: Path) -> None:
    kept = ("in", "image", "out")
    populations = tuple(p for p in net.populations if p.name in kept)
    read = Projection("c", "image", "out", Dense(np.ones((4, SIZE))))
    chain(replace(net, populations=populations, projections=(net.projections[0], read)), "mpd-ed")


PARTS = {
    "quantise": _quantise, "quantise with samples": _calibrated, "fine-tune": _fine_tune, "lava": _lava,
    "lava script": _script, "onnx": _onnx, "onnxruntime": _onnxruntime, "event rules": _learn,
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_every_other_part_refuses_it_by_name(installed: type, part: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"population '(image|loop)'") as caught:
        PARTS[part](network(installed, "float"), tmp_path)
    assert caught.value.found == "Izhikevich"
    assert not list(tmp_path.iterdir())


def test_the_command_line_runs_it(installed: type, tmp_path: Path) -> None:
    """As a user would: the package is on the path, the Program a file, each command a process of its own."""
    place(network(installed, "loihi"), load_architecture("loihi1"), {}).save(tmp_path / "net.ndp")
    np.save(tmp_path / "x.npy", inputs()["in"])

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        root = str(Path(__file__).parents[2])
        code = f"import sys; sys.path[:0] = [{root!r}, {PACKAGE!r}]; from neurodeploy.cli import main; sys.exit(main())"
        return subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)

    shown = call("inspect", "net.ndp")
    assert shown.returncode == 0, shown.stderr
    assert "Izhikevich" in shown.stdout
    costs = call("cost", "net.ndp", "--input", "x.npy", "--json")
    assert costs.returncode == 0, costs.stderr
    assert json.loads(costs.stdout)["total_pj"] > 0
    refused = call("run", "net.ndp", "--input", "x.npy", "--backend", "lava")
    assert refused.returncode == 2
    assert "Izhikevich" in refused.stderr


def test_without_the_package_its_program_is_refused_by_name(installed: type, tmp_path: Path) -> None:
    place(network(installed, "float"), None, {}).save(tmp_path / "net.ndp")
    sys.path.remove(PACKAGE)
    dispatch.models.cache_clear()
    try:
        with pytest.raises(InvalidInputError, match="Izhikevich") as caught:
            Program.load(tmp_path / "net.ndp")
    finally:
        sys.path.insert(0, PACKAGE)
    assert "neurodeploy.neurons" in str(caught.value)


@dataclass(frozen=True, eq=False)
class Untaught(Neuron):
    """A model that only its dataclass knows."""

    threshold: np.ndarray


def untaught(kind: type, size: int, integer: bool, seed: int) -> Neuron:
    return kind(threshold=np.ones(size, np.int64 if integer else np.float64))


def _reference(net: Network, folder: Path) -> None:
    reference.run(place(net, None, {}), inputs())


def _hwsim(net: Network, folder: Path) -> None:
    engine.run(place(net, None, {}), inputs())


def _save(net: Network, folder: Path) -> None:
    place(net, None, {}).save(folder / "net.ndp")


@pytest.mark.parametrize("arithmetic", ["float", "loihi"])
@pytest.mark.parametrize("part", ["reference", "hwsim", "save", "lava"])
def test_a_model_that_nobody_knows_is_refused_by_name(part: str, arithmetic: str, tmp_path: Path) -> None:
    call: dict[str, Any] = {"reference": _reference, "hwsim": _hwsim, "save": _save, "lava": _lava}
    with pytest.raises(UnsupportedError) as caught:
        call[part](network(Untaught, arithmetic, untaught), tmp_path)
    assert "Untaught" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_model_that_nobody_knows_still_fits_is_placed_and_pruned() -> None:
    net = network(Untaught, "loihi", untaught)
    arch = load_architecture("loihi1")
    assert needs(net, limits_of(arch))
    assert place(net, arch, {}).cores
    assert Prune().apply(net).by_name["loop"].neuron.label == "Untaught"


def test_a_wrong_shape_is_refused(installed: type) -> None:
    with pytest.raises(InvalidInputError, match="parameter a has the wrong shape"):
        broken = replace(network(installed, "float").by_name["loop"], shape=(8,))
        Network("broken", (broken,), (), ("loop",), 1e-3)


def test_an_entry_point_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[neurodeploy.neurons]\nbroken = not_there:MODEL\n")
    sys.path.insert(0, str(tmp_path))
    dispatch.models.cache_clear()
    try:
        with pytest.raises(NeurodeployError, match=r"'broken'.*cannot be loaded"):
            dispatch.known()
    finally:
        sys.path.remove(str(tmp_path))
        dispatch.models.cache_clear()
