"""lava-dl's sigma-delta `.net` files and average read-outs, against netx's rules in loops and Lava's own Processes."""

from __future__ import annotations

import subprocess
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.backends.lava.setup import setup, sidecar_python
from neurodeploy.backends.lava.worker import shim
from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main
from neurodeploy.compiler import place
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lava_dl import read_net
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import SigmaDelta
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, scores
from tests.lowering.test_lava_dl import NEURON, write

SDNN = {"type": "SDNN", "activation": "relu"}


def kind(name: str) -> np.ndarray:
    return np.array([name.encode()], "S10")


def layers(seed: int = 0) -> list[dict[str, Any]]:
    """2 x 5 x 6 values -> conv 3, stride 2 -> flatten -> dense 5 -> sigma 2; as SLAYER writes them."""
    rng = np.random.default_rng(seed)

    def whole(most: int, *shape: int) -> np.ndarray:
        return rng.integers(-most, most + 1, shape).astype(np.float32) * 2

    return [
        {"type": kind("input"), "shape": [2, 5, 6], "neuron": SDNN | {"vThMant": int(rng.integers(0, 3))}},
        {
            "type": kind("conv"), "shape": [3, 2, 3], "inChannels": 2, "outChannels": 3, "kernelSize": [3, 2],
            "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "weight": whole(15, 3, 2, 3, 2),
            "bias": whole(20, 3), "neuron": SDNN | {"vThMant": int(rng.integers(0, 9))},
        },
        {"type": kind("flatten"), "shape": [18, 1, 1]},
        {
            "type": kind("dense"), "shape": [5], "inFeatures": 18, "outFeatures": 5, "weight": whole(15, 5, 18),
            "bias": whole(20, 5), "neuron": SDNN | {"vThMant": int(rng.integers(0, 9))},
        },
        {
            "type": kind("dense"), "shape": [2], "inFeatures": 5, "outFeatures": 2, "weight": whole(15, 2, 5),
            "neuron": SDNN | {"vThMant": 6, "sigma_output": True},
        },
    ]  # fmt: skip


def interpret(content: list[dict[str, Any]], x: np.ndarray, hop: int) -> list[np.ndarray]:
    """Sigma (of the input: the value) of each layer, ``[time, neurons]``: Lava 0.10's rules in plain loops.

    Args:
        hop: steps from layer to layer, 1 as netx has it.
    """
    kept = [layer for layer in content if layer["type"][0] != b"flatten"]
    sigma: list[Any] = [0] * len(kept)
    act, residue = [0] * len(kept), [0] * len(kept)
    sent: list[list[np.ndarray]] = [[] for _ in kept]
    out: list[list[np.ndarray]] = [[] for _ in kept]
    for t, image in enumerate(x.astype(np.int64)):
        for i, layer in enumerate(kept):
            if i == 0:
                new = sigma[0] = image.ravel() << 12
            else:
                weight = np.asarray(layer["weight"]).astype(np.int64)
                size = int(np.prod(layer["shape"]))
                a = np.zeros(size, np.int64)
                if t >= hop:
                    message = sent[i - 1][t - hop]
                    if layer["type"][0] == b"conv":
                        planes = message.reshape(kept[i - 1]["shape"])
                        places = [(o, y, z) for o in range(3) for y in range(2) for z in range(3)]
                        a = np.array(
                            [(planes[:, 2 * y : 2 * y + 3, 2 * z : 2 * z + 2] * weight[o]).sum() for o, y, z in places]
                        )
                    else:
                        a = weight @ message
                sigma[i] = sigma[i] + a
                bias = np.asarray(layer.get("bias", [0])).astype(np.int64) << 12
                new = np.maximum(sigma[i] + np.repeat(bias, size // len(bias)), 0)
            out[i].append(np.array(sigma[i]))
            change = new - act[i] + residue[i]
            spikes = np.where(np.abs(change) >= layer["neuron"]["vThMant"] << 12, change, 0)
            residue[i], act[i] = change - spikes, new
            sent[i].append(spikes >> 6)
    return [np.array(values) for values in out]


def in_netx_time(network: Network) -> Network:
    """Every hop but the one from the input takes a step."""
    return replace(
        network, projections=tuple(replace(p, delay=p.delay + (p.source != "input")) for p in network.projections)
    )


def video(seed: int, steps: int = 12) -> np.ndarray:
    """Frames of which a quarter of the pixels changes from one to the next."""
    rng = np.random.default_rng(seed)
    frames = [rng.integers(-60, 61, (2, 5, 6))]
    for _ in range(steps - 1):
        frames.append(np.where(rng.random((2, 5, 6)) < 0.25, rng.integers(-60, 61, (2, 5, 6)), frames[-1]))
    return np.array(frames)


@pytest.mark.parametrize("hop", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_every_layer_against_an_interpreter(tmp_path: Path, seed: int, hop: int) -> None:
    content, x = layers(seed), video(seed)
    network = read_net(write(tmp_path / "small.net", content))
    assert [p.neuron.label for p in network.populations] == [
        "input", "delta, identity", "sigma-delta, relu", "sigma-delta, relu", "sigma-delta, identity",
    ]  # fmt: skip
    assert "messages have 6 fractional bits" in network.notes["sigma-delta"]
    expected = interpret(content, x, hop)
    network = in_netx_time(network) if hop else network
    names = [p.name for p in network.populations[1:]]
    for found in (
        run_network(network, {"": x[:, None]}, record=Record(("u",))),
        engine.run(place(network, None, {}), {"": x[:, None]}, record=Record(("u",))),
    ):
        for name, sigma in zip(names, expected, strict=True):
            np.testing.assert_array_equal(found.states["u"][name][:, 0], sigma)
        assert all(len(found.spikes[name]) for name in names)
        np.testing.assert_array_equal(scores(network, found)[0], expected[-1][-1])


def test_what_messages_lose_is_lost(tmp_path: Path) -> None:
    """The sum of the messages stays behind the activation by ever more, where with kept remainders it would not."""
    network = read_net(write(tmp_path / "small.net", layers(1)))
    kept = replace(
        network,
        populations=tuple(
            p if p.external else replace(p, neuron=replace(p.neuron, remainder="kept")) for p in network.populations
        ),
    )
    x = video(5, 30)[:, None]
    lost, whole = (run_network(n, {"": x}, record=Record(("u", "v"))) for n in (network, kept))
    sums = [np.cumsum(run.spikes["dense3"].dense()[:, 0].astype(int), axis=0) for run in (lost, whole)]
    v = lost.states["v"]["dense3"][:, 0].astype(int)
    neuron = network.by_name["dense3"].neuron
    assert isinstance(neuron, SigmaDelta)
    drift = [v - (total << 6) for total in sums]
    assert 0 <= drift[1].max() < neuron.threshold.max() + 64
    assert drift[0].max() > drift[1].max()


def test_inspect_compile_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path / "small.net", layers()), tmp_path / "small.ndp"
    assert main(["inspect", str(path)]) == 0
    assert "lava-dl network of 5 populations" in capsys.readouterr().out
    assert main(["compile", str(path), "--chip", "loihi2", "-o", str(out)]) == 0
    x = video(0)
    np.save(tmp_path / "x.npy", x[:, None])
    run = engine.run(Program.load(out), {"": x[:, None]}, record=Record(("u",)))
    np.testing.assert_array_equal(run.states["u"]["dense4"][:, 0], interpret(layers(), x, 0)[-1])
    assert main(["run", str(out), "-i", str(tmp_path / "x.npy")]) == 0


def test_messages_into_a_network_without_an_input_neuron(tmp_path: Path) -> None:
    """Then what the file's first layer receives are messages, changes with 6 fractional bits."""
    content = layers(2)
    del content[0]["neuron"]
    network = read_net(write(tmp_path / "small.net", content))
    assert network.populations[0].neuron.message_bits("loihi") == 16
    x = video(2)
    changes = np.diff(x << 6, axis=0, prepend=0)
    run = run_network(network, {"": changes[:, None]}, record=Record(("u",)))
    content = layers(2)
    content[0]["neuron"]["vThMant"] = 0
    np.testing.assert_array_equal(run.states["u"]["dense4"][:, 0], interpret(content, x, 0)[-1])


def test_an_average_is_the_answer(tmp_path: Path) -> None:
    """Groups of neurons that lie together, in every step; the class is that of the most spikes."""
    rng = np.random.default_rng(0)
    content = [
        {"type": kind("input"), "shape": [1, 1, 7]},
        {"type": kind("flatten"), "shape": [7, 1, 1]},
        {
            "type": kind("dense"), "shape": [6, 1, 1], "weight": rng.integers(-30, 60, (6, 7)).astype(np.float32),
            "neuron": dict(NEURON),
        },
        {"type": kind("average"), "shape": [3, 1, 1]},
    ]  # fmt: skip
    network = read_net(write(tmp_path / "mean.net", content))
    assert "mean of each 2 neurons of dense2" in network.notes["read-out"]
    x = (rng.random((50, 4, 7)) < 0.5).astype(np.uint8)
    run = run_network(network, {"": x})
    spikes = run.spikes["dense2"].dense().astype(float)
    means = (spikes[..., 0::2] + spikes[..., 1::2]) / 2
    assert means.any()
    assert network.answer is not None
    np.testing.assert_allclose(scores(network, run), means.sum(0))


LAVA = """
import sys
import numpy as np
import shim

shim.install()
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.dense.process import Dense
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta

if __name__ == "__main__":
    with np.load(sys.argv[1]) as given:
        x, first, second, bias = (given[name] for name in ("x", "first", "second", "bias"))
    steps = x.shape[1]
    source = Source(data=x)
    delta = Delta(shape=(x.shape[0],), vth=2, spike_exp=6, state_exp=6)
    w1 = Dense(weights=first, num_message_bits=16)
    cells = SigmaDelta(shape=(len(first),), vth=5, bias=bias, spike_exp=6, state_exp=6)
    w2 = Dense(weights=second, num_message_bits=16)
    sigma = Sigma(shape=(len(second),))
    sink = Sink(shape=(len(second),), buffer=steps)
    source.s_out.connect(delta.a_in)
    delta.s_out.connect(w1.s_in)
    w1.a_out.connect(cells.a_in)
    cells.s_out.connect(w2.s_in)
    w2.a_out.connect(sigma.a_in)
    sigma.s_out.connect(sink.a_in)
    sigma.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    np.save(sys.argv[2], sink.data.get())
    sigma.stop()
"""


def test_lavas_own_processes_say_the_same(tmp_path: Path) -> None:
    """Delta, SigmaDelta and Sigma of Lava 0.10, which netx puts together, in netx's time."""
    setup()
    rng = np.random.default_rng(3)
    first, second = (rng.integers(-15, 16, shape) * 2 for shape in ((8, 6), (3, 8)))
    bias, x = rng.integers(-20, 21, 8), np.cumsum(rng.integers(-9, 10, (6, 25)), axis=1)
    content = [
        {"type": kind("input"), "shape": [6], "neuron": SDNN | {"vThMant": 2}},
        {"type": kind("dense"), "shape": [8], "weight": first, "bias": bias, "neuron": SDNN | {"vThMant": 5}},
        {"type": kind("dense"), "shape": [3], "weight": second, "neuron": SDNN | {"vThMant": 0, "sigma_output": True}},
    ]
    network = in_netx_time(read_net(write(tmp_path / "small.net", content)))
    here = run_network(network, {"": x.T[:, None]}, record=Record(("u",))).states["u"]["dense2"][:, 0]
    (tmp_path / "own.py").write_text(textwrap.dedent(LAVA))
    (tmp_path / "shim.py").write_bytes(Path(shim.__file__).read_bytes())
    np.savez(tmp_path / "given.npz", x=x, first=first, second=second, bias=bias)
    command = [str(sidecar_python()), str(tmp_path / "own.py"), str(tmp_path / "given.npz"), str(tmp_path / "out.npy")]
    subprocess.run(command, check=True, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy").T, here)
    assert np.unique(here).size > 20
