"""lava-dl's `.net` files: one network written here, and PilotNet as Intel ran it on a Loihi 2 chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.backends.lava import registers
from neurodeploy.backends.reference.run import run_network
from neurodeploy.cli import main
from neurodeploy.compiler import place
from neurodeploy.errors import InvalidInputError, MissingFileError, NeurodeployError, UnsupportedError
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lava_dl import read_net
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Lif
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, scores
from tests import nirh5

PILOTNET = Path(__file__).parents[3] / "shared" / "data" / "loihi2-pilotnet-lif" / "network.net"
needs_pilotnet = pytest.mark.skipif(not PILOTNET.exists(), reason="the recordings are not part of the product")

NEURON = {
    "type": "LOIHI", "iDecay": 1024, "vDecay": 128, "vThMant": 10, "refDelay": 1, "wgtExp": 0, "scaleRho": 1.0,
    "tauRho": 0.5, "theta": 640,
}  # fmt: skip


def layers(seed: int = 0) -> list[dict[str, Any]]:
    """2 x 6 x 7 -> conv 3, stride 1 x 2 -> flatten -> dense 4 -> dense 2 as a read-out; as SLAYER writes them."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-40, 41, shape).astype(np.float32)

    return [
        {"type": np.array([b"input"], "S10"), "shape": [2, 6, 7], "weight": 20.0, "bias": 5.0, "neuron": dict(NEURON)},
        {
            "type": np.array([b"conv"], "S10"), "shape": [3, 6, 3], "inChannels": 2, "outChannels": 3,
            "kernelSize": [3, 2], "stride": [1, 2], "padding": [1, 0], "dilation": [1, 1], "groups": 1,
            "weight": weights(3, 2, 3, 2), "bias": np.array([3.0, -2.0, 0.0]), "neuron": dict(NEURON),
        },
        {"type": np.array([b"flatten"], "S10"), "shape": [1, 1, 54]},
        {
            "type": np.array([b"dense"], "S10"), "shape": [4, 1, 1], "inFeatures": 54, "outFeatures": 4,
            "weight": weights(4, 54), "bias": np.zeros(4), "neuron": dict(NEURON),
        },
        {
            "type": np.array([b"dense"], "S10"), "shape": [2, 1, 1], "inFeatures": 4, "outFeatures": 2,
            "weight": weights(8), "bias": np.zeros(2), "neuron": NEURON | {"vDecay": 0, "vThMant": 131071},
        },
    ]  # fmt: skip


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    def fill(group: h5py.Group, values: dict[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                fill(group.create_group(key), value)
            else:
                group[key] = value

    with h5py.File(path, "w") as file:
        fill(file, {"layer": {str(i): layer for i, layer in enumerate(content)}})
        fill(file, {"simulation": {"Ts": 1, "tSample": 16}})
    return path


def decay(x: np.ndarray, d: int) -> np.ndarray:
    """Loihi's decay: towards zero, in 12 bits."""
    return np.sign(x) * ((np.abs(x) * (4096 - d)) >> 12)


def interpret(content: list[dict[str, Any]], x: np.ndarray) -> list[np.ndarray]:
    """Spikes of each layer for one sample ``[time, c, h, w]``; the last layer's potential. netx's rules, in loops."""
    kept = [layer for layer in content if layer["type"][0] != b"flatten"]
    u = [np.zeros(int(np.prod(layer["shape"])), np.int64) for layer in kept]
    v = [np.zeros_like(a) for a in u]
    out: list[list[np.ndarray]] = [[] for _ in kept]
    for image in x.astype(np.int64):
        s = image
        for i, layer in enumerate(kept):
            weight, bias = np.asarray(layer["weight"]).astype(int), np.asarray(layer["bias"]).astype(int)
            if i == 0:
                drive = np.full(u[0].shape, bias - weight)
                a = (2 * weight * s).ravel()
            elif layer["type"][0] == b"conv":
                (sy, sx), (py, px) = layer["stride"], layer["padding"]
                padded = np.pad(s, ((0, 0), (py, py), (px, px)))
                channels, height, width = layer["shape"]
                a = np.zeros((channels, height, width), np.int64)
                for o in range(channels):
                    for y in range(height):
                        for z in range(width):
                            window = padded[:, y * sy : y * sy + weight.shape[2], z * sx : z * sx + weight.shape[3]]
                            a[o, y, z] = (window * weight[o]).sum()
                a, drive = a.ravel(), np.repeat(bias, height * width)
            else:
                a, drive = weight.reshape(len(u[i]), -1) @ s.ravel(), bias
            n = layer["neuron"]
            u[i] = decay(u[i], n["iDecay"]) + (a << 6)
            v[i] = decay(v[i], n["vDecay"]) + u[i] + (drive << 6)
            if i + 1 == len(kept):
                out[i].append(v[i].copy())
                break
            fired = v[i] > n["vThMant"] << 6
            v[i][fired] = 0
            out[i].append(fired.astype(int))
            each = np.broadcast_to(np.asarray(layer.get("delay", 0), int), layer["shape"][0]).repeat(
                fired.size // layer["shape"][0]
            )
            now = len(out[i]) - 1
            arriving = [out[i][now - d][j] if now >= d else 0 for j, d in enumerate(each)]
            s = np.array(arriving).reshape(layer["shape"])
    return [np.array(values) for values in out]


@pytest.mark.parametrize("seed", range(3))
def test_every_layer_against_an_interpreter(tmp_path: Path, seed: int) -> None:
    content = layers(seed)
    network = read_net(write(tmp_path / "small.net", content))
    assert [p.name for p in network.populations] == ["input", "input0", "conv1", "dense3", "dense4"]
    assert [type(p.connectivity) for p in network.projections] == [Sparse, Conv2d, Dense, Dense]
    assert (network.arithmetic, network.outputs, network.dt) == ("loihi", ("dense4",), 1e-3)
    x = (np.random.default_rng(seed).random((40, 1, 2, 6, 7)) < 0.3).astype(np.uint8)
    expected = interpret(content, x[:, 0])
    program = placed(network)
    for found in (run_network(network, {"": x}, record=Record(("v",))), engine.run(program, {"": x})):
        for name, spikes in zip(("input0", "conv1", "dense3"), expected, strict=False):
            assert spikes.any()
            np.testing.assert_array_equal(found.spikes[name].dense()[:, 0], spikes)
        np.testing.assert_array_equal(found.states["v"]["dense4"][:, 0], expected[-1])


def test_delays_of_channels_and_neurons(tmp_path: Path) -> None:
    """One delay for the first layer, one for each channel of the second, one for each neuron of the third."""
    content = layers(1)
    content[0]["delay"], content[1]["delay"], content[3]["delay"] = 2, np.array([0.0, 3.0, 1.0]), np.array([4, 0, 0, 1])
    network = read_net(write(tmp_path / "slow.net", content))
    assert [(p.name, p.delay) for p in network.projections] == [
        ("input -> input0", 0), ("input0 -> conv1", 2),
        ("conv1 -> dense3 (0 steps)", 0), ("conv1 -> dense3 (1 steps)", 1), ("conv1 -> dense3 (3 steps)", 3),
        ("dense3 -> dense4 (0 steps)", 0), ("dense3 -> dense4 (1 steps)", 1), ("dense3 -> dense4 (4 steps)", 4),
    ]  # fmt: skip
    assert [p.connectivity.weights.size for p in network.projections[2:]] == [72, 72, 72, 4, 2, 2]
    assert network.notes["delays"].startswith("steps that spikes take to leave: input0 2 to 2, conv1 0 to 3, dense3")
    x = (np.random.default_rng(4).random((40, 1, 2, 6, 7)) < 0.3).astype(np.uint8)
    expected = interpret(content, x[:, 0])
    for found in (run_network(network, {"": x}), engine.run(placed(network), {"": x})):
        for name, spikes in zip(("input0", "conv1", "dense3"), expected, strict=False):
            assert spikes.any()
            np.testing.assert_array_equal(found.spikes[name].dense()[:, 0], spikes)
        np.testing.assert_array_equal(found.states["v"]["dense4"][:, 0], expected[-1])


def test_the_delay_of_the_last_layer_is_said_to_have_no_effect(tmp_path: Path) -> None:
    content = layers()
    content[4]["delay"] = 3
    assert "Those of dense4 have no effect" in read_net(write(tmp_path / "slow.net", content)).notes["delays"]


def test_inspect_compile_and_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = str(write(tmp_path / "small.net", layers())), str(tmp_path / "small.ndp")
    assert main(["inspect", path]) == 0
    assert "lava-dl network of 5 populations" in capsys.readouterr().out
    assert main(["compile", path, "-o", out]) == 0
    assert "of 128 cores" in capsys.readouterr().out
    assert len(Program.load(out).cores) == 4
    x = (np.random.default_rng(0).random((40, 1, 2, 6, 7)) < 0.3).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    recorded = str(tmp_path / "r.npz")
    assert main(["run", out, "-b", "hwsim", "-i", str(tmp_path / "x.npy"), "-o", recorded]) == 0
    expected = interpret(layers(), x[:, 0])
    with np.load(recorded) as arrays:
        np.testing.assert_array_equal(arrays["spikes/conv1/time"], np.nonzero(expected[1])[0])
        np.testing.assert_array_equal(arrays["spikes/conv1/neuron"], np.nonzero(expected[1])[1])
        np.testing.assert_array_equal(arrays["v/dense4"][:, 0], expected[-1])


@pytest.mark.parametrize("option", [["--dt", "1e-3"], ["--reset", "hard"], ["--float"], ["--calibration", "x.npy"],
                                    ["--passes", "quantise"]])  # fmt: skip
def test_a_net_file_leaves_nothing_to_settle(
    tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(write(tmp_path / "small.net", layers())), *option]) == 2
    error = capsys.readouterr().err
    assert "which leaves nothing to settle" in error
    assert option[0].strip("-") in error


@needs_pilotnet
def test_pilotnet_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is too large for one Loihi 1, which is said; without a chip it runs 128 steps on hwsim."""
    out = tmp_path / "p.ndp"
    assert main(["compile", str(PILOTNET), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert "the network needs 158,509 neurons; loihi1 has 131,072 neurons" in error
    assert "make the largest layers smaller (conv1 76,032, input0 39,600, conv2 26,460)" in error
    assert not out.exists()
    assert main(["compile", str(PILOTNET), "-o", str(out), "--chip", "none"]) == 0
    assert "158,509 neurons on no chip; runs, but has no cores, counts or energy" in capsys.readouterr().out
    np.save(tmp_path / "x.npy", np.zeros((128, 1, 3, 66, 200), np.uint8))
    assert main(["run", str(out), "-b", "hwsim", "-i", str(tmp_path / "x.npy")]) == 0
    assert "1 sample(s), 128 steps" in capsys.readouterr().out


def placed(network: Network) -> Program:
    """All neurons on one core."""
    cores = {p.name: np.zeros(p.size, np.int32) for p in network.populations if isinstance(p.neuron, Lif)}
    return Program(network, "no chip", cores)


def test_the_clearing_stands_in_the_notes(tmp_path: Path) -> None:
    notes = read_net(write(tmp_path / "small.net", layers())).notes
    assert (notes["reset_interval"], notes["reset_offset"]) == ("16", "0")


def test_a_network_without_an_input_layer(tmp_path: Path) -> None:
    network = read_net(write(tmp_path / "small.net", layers()[3:]))
    assert [(p.name, p.shape) for p in network.populations] == [
        ("input", (54,)),
        ("dense0", (4, 1, 1)),
        ("dense1", (2, 1, 1)),
    ]


def changed(index: int, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda content: content[index].update(values)


def neuron(index: int, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda content: content[index]["neuron"].update(values)


def dropped(index: int) -> Callable[[list[dict[str, Any]]], None]:
    return lambda content: content.pop(index) and None


REFUSED: dict[str, tuple[Callable[[list[dict[str, Any]]], None], type[NeurodeployError], str]] = {
    "sigma-delta, sigmoid": (
        neuron(1, type="SDNN", activation="sigmoid"),
        UnsupportedError,
        "layer 1 has another activation",
    ),
    "sigma-delta, bits": (neuron(1, type="SDNN", messageBits=8), UnsupportedError, "layer 1 has another messageBits"),
    "sigma-delta, threshold": (neuron(1, type="SDNN", vThMant=2048), InvalidInputError, "layer 1 has a vThMant that"),
    "sigma-delta, bias": (
        lambda c: c[1]["neuron"].update(type="SDNN") or c[1].update(bias=[2048.0, 0, 0]),
        InvalidInputError,
        "layer 1 has a bias that cannot be used",
    ),
    "sigma before the end": (
        neuron(1, type="SDNN", sigma_output=True),
        UnsupportedError,
        "layer 1 is a sigma-delta output",
    ),
    "delta with a scale": (neuron(0, type="SDNN"), UnsupportedError, "has sigma-delta neurons and scales its input"),
    "average, then more": (
        lambda c: c.insert(3, {"type": np.array([b"average"], "S10"), "shape": [2, 1, 1]}),
        UnsupportedError,
        "layer 3 averages over neurons, and other layers follow it",
    ),
    "average that does not fit": (
        lambda c: c.append({"type": np.array([b"average"], "S10"), "shape": [3, 1, 1]}),
        UnsupportedError,
        "layer 5 averages over neurons that it does not fit",
    ),
    "resonate-and-fire": (neuron(1, type="RF_PHASE"), UnsupportedError, "layer 1 has neurons of type RF_PHASE"),
    "pooling": (changed(2, type="pool"), UnsupportedError, "layer 2 is of type pool"),
    "delays of another layer": (changed(3, delay=np.arange(3)), InvalidInputError, "layer 3 has delays that cannot"),
    "negative delays": (changed(3, delay=-1), InvalidInputError, "layer 3 has delays that cannot be used"),
    "refractory": (neuron(3, refDelay=4), UnsupportedError, "layer 3 has a refractory time of several steps"),
    "weight exponent": (neuron(3, wgtExp=2), UnsupportedError, "layer 3 has wgtExp other than 0"),
    "heterogeneous": (neuron(3, vDecay=np.arange(4)), UnsupportedError, "layer 3 has several values of vDecay"),
    "affine, then more": (
        lambda c: c[3].pop("neuron") and None,
        UnsupportedError,
        "layer 3 has no neurons: it is an affine output layer, and other layers follow it",
    ),
    "affine with a bias": (
        lambda c: c[4].pop("neuron") and c[4].update(bias=[0.0, 3.0]),
        UnsupportedError,
        "layer 4 has no neurons: it is an affine output layer, and has a bias",
    ),
    "graded spikes": (neuron(3, gradedSpike=True), UnsupportedError, "layer 3 has gradedSpike other than 0"),
    "broken weights": (changed(3, weight=np.full((4, 54), 0.5)), InvalidInputError, "layer 3 has a weight with frac"),
    "broken bias": (changed(1, bias=[1.0, 2.5, 0.0]), InvalidInputError, "layer 1 has a bias with fractions"),
    "broken input weight": (changed(0, weight=20.5), InvalidInputError, "layer 0 has a weight with fractions"),
    "broken input bias": (changed(0, bias=0.25), InvalidInputError, "layer 0 has a bias with fractions"),
    "broken decay": (neuron(3, vDecay=127.9), InvalidInputError, "layer 3 has a vDecay with fractions"),
    "broken threshold": (neuron(1, vThMant=10.5), InvalidInputError, "layer 1 has a vThMant with fractions"),
    "broken delays": (changed(1, delay=[0.0, 1.5, 0.0]), InvalidInputError, "layer 1 has a delay with fractions"),
    "broken stride": (changed(1, stride=[1.0, 1.5]), InvalidInputError, "layer 1 has a stride with fractions"),
    "broken shape": (changed(3, shape=[4.5]), InvalidInputError, "layer 3 has a shape with fractions"),
    "odd of both signs": (
        changed(3, weight=np.where(np.eye(4, 54), 201, -1)),
        InvalidInputError,
        "layer 3 has weights that eight bits cannot hold",
    ),
    "256 of both signs": (
        changed(3, weight=np.where(np.eye(4, 54), 256, -2)),
        InvalidInputError,
        "layer 3 has weights that eight bits cannot hold",
    ),
    "256 of one sign": (
        changed(3, weight=np.full((4, 54), 256)),
        InvalidInputError,
        "layer 3 has weights that eight bits cannot hold",
    ),
    "odd wide bias": (changed(3, bias=np.full(4, 4097)), InvalidInputError, "layer 3 has biases that 13 bits cannot"),
    "wide bias": (changed(3, bias=np.full(4, 8192)), InvalidInputError, "layer 3 has biases that 13 bits cannot hold"),
    "wide input bias": (changed(0, bias=4117.0), InvalidInputError, "layer 0 has biases that 13 bits cannot hold"),
    "no flatten": (dropped(2), InvalidInputError, "layer 2 follows an image without a flatten layer"),
    "large weights": (changed(3, weight=np.full((4, 54), 300)), InvalidInputError, "layer 3 has weights beyond"),
    "another fan-in": (changed(3, weight=np.ones((4, 50))), InvalidInputError, "layer 3 does not fit the layer"),
    "another shape": (
        changed(1, shape=[3, 7, 3]),
        InvalidInputError,
        "layer 1 does not have the shape that its convolution gives",
    ),
    "decay": (neuron(1, iDecay=5000), InvalidInputError, "layer 1 has a iDecay that cannot be used"),
    "no weights": (lambda c: c[3].pop("weight") is None or None, InvalidInputError, "is damaged or not a lava-dl"),
    "convolution first": (dropped(0), UnsupportedError, "layer 0 is a convolution on an input of unknown size"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_number_of_the_layer(case: str, tmp_path: Path) -> None:
    change, kind, message = REFUSED[case]
    content = layers()
    change(content)
    path = write(tmp_path / "small.net", content)
    with pytest.raises(kind) as caught:
        read_net(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_net(tmp_path / "none.net")
    (tmp_path / "text.net").write_text("hello")
    with pytest.raises(InvalidInputError, match="is not an HDF5 file"):
        read_net(tmp_path / "text.net")
    other = nirh5.write(tmp_path / "nir.net", {"input": nirh5.inp(3), "lif": nirh5.lif(3), "output": nirh5.out(3)})
    with pytest.raises(InvalidInputError, match="is HDF5 but not a lava-dl network"):
        read_net(other)


@needs_pilotnet
def test_pilotnet_does_the_synaptic_operations_that_loihi_2_counted() -> None:
    """Zero input, cleared every 16 steps: 16 steps from rest are every 16 steps of the measured run.

    Intel's compiler put 4 columns of conv2 on a core, 8 of conv3, 8 of conv4, 16 of conv5 (mapping_cores.csv); the
    chip's counters per core and step are those in data/README.md. Zero weights are not counted there.
    """
    network = read_net(PILOTNET)
    assert sum(p.size for p in network.populations[1:]) == 158_509
    assert all(isinstance(network.projections[i].connectivity, Conv2d) for i in range(1, 6))
    x = np.zeros((16, 1, 3, 66, 200), np.uint8)
    recording = engine.run(placed(network), {"": x})
    for name, columns, core, measured, tolerance in (
        ("conv2", 4, 3, 131_238, 0.01),
        ("conv3", 8, 1, 151_059, 0.015),
        ("conv4", 8, 1, 52_388, 0.015),
        ("conv5", 16, 0, 50_966, 0.025),
    ):
        (projection,) = network.into(name)
        kind = projection.connectivity
        assert isinstance(kind, Conv2d)
        sent = recording.spikes[projection.source].dense().sum(axis=(0, 1))[None].astype(np.float64)
        operations = replace(kind, weights=kind.weights != 0).apply(sent).reshape(kind.output_shape)
        tile = operations[:, :, core * columns : (core + 1) * columns].sum() / 16
        assert abs(tile / measured - 1) < tolerance, (name, tile, measured)


@needs_pilotnet
def test_pilotnet_runs_128_steps_as_the_reference_does() -> None:
    """Every spike of every neuron, and the read-out's potential; the biases alone drive it."""
    network = read_net(PILOTNET)
    x = {"": np.zeros((128, 1, 3, 66, 200), np.uint8)}
    found, expected = engine.run(placed(network), x), run_network(network, x)
    for name in [p.name for p in network.populations if p.spiking]:
        for column in ("time", "sample", "neuron"):
            np.testing.assert_array_equal(getattr(found.spikes[name], column), getattr(expected.spikes[name], column))
        assert name in ("input", "input0") or len(found.spikes[name]) > 100
    np.testing.assert_array_equal(found.states["v"]["dense10"], expected.states["v"]["dense10"])
    assert found.states["v"]["dense10"].any()


@needs_pilotnet
def test_pilotnet_of_eight_samples_is_eight_times_the_first_sixteen_steps() -> None:
    """What lava-dl's clearing every 16 steps does, as a batch; without clearing the deep layers go on differently."""
    network = read_net(PILOTNET)
    batch = engine.run(placed(network), {"": np.zeros((16, 8, 3, 66, 200), np.uint8)})
    free = engine.run(placed(network), {"": np.zeros((128, 1, 3, 66, 200), np.uint8)})
    for name in ("conv1", "conv5", "dense9"):
        dense, uncleared = batch.spikes[name].dense(), free.spikes[name].dense()[:, 0]
        np.testing.assert_array_equal(dense, np.repeat(uncleared[:16, None], 8, axis=1))
    assert (free.spikes["conv5"].dense()[16:32, 0] != free.spikes["conv5"].dense()[:16, 0]).any()


def test_what_fits_the_registers_just_so_is_read_as_it_stands(tmp_path: Path) -> None:
    """Even ones of both signs to -256, odd ones to 127 and -128, one sign to 255; biases of 13 bits, and even of 14."""
    content = layers()
    weight = np.zeros((4, 54))
    for extremes, bias in (([-256, 254], 4095), ([127, -128], -4096), ([-255, 0], -8192), ([255, 1], 8190)):
        weight[0, :2] = extremes
        content[3] |= {"weight": weight, "bias": np.full(4, bias)}
        network = read_net(write(tmp_path / "net.net", content))
        assert network.projections[2].connectivity.weights[0, :2].tolist() == extremes
        assert (network.by_name["dense3"].neuron.bias == bias << 6).all()


def test_a_layer_without_neurons_adds_up_what_arrives(tmp_path: Path) -> None:
    """SLAYER's Affine: the potential is 64 times the sum of W s so far, the last step's is the score; Lava's registers
    hold it."""
    content = layers(3)
    del content[4]["neuron"]
    network = read_net(write(tmp_path / "net.net", content))
    assert network.read == "last" and "SLAYER's Affine" in network.notes["read-out"]
    x = (np.random.default_rng(0).random((12, 3, 2, 6, 7)) < 0.6).astype(np.uint8)
    record = Record(("v",))
    run = run_network(network, {"input": x}, record=record)
    spikes = run.spikes["dense3"].dense().astype(np.int64)
    assert spikes.sum() > 20
    expected = 64 * np.cumsum(spikes @ np.asarray(content[4]["weight"]).reshape(2, 4).astype(int).T, axis=0)
    potential = run.states["v"]["dense4"]
    aligned = [t for t in range(12) if (potential[t] == expected[t]).all()]
    assert len(aligned) == 12
    np.testing.assert_array_equal(scores(network, run), expected[-1])
    np.testing.assert_array_equal(
        engine.run(place(network, None, {}), {"input": x}, record=record).states["v"]["dense4"], potential
    )
    lava = registers.neurons(network.by_name["dense4"], True, 4 * 40, False)
    assert lava.arrays


def test_a_small_twin_of_intels_recording_is_exact(tmp_path: Path) -> None:
    """Kernels in five dimensions and a transparent input layer, as in lava-dl's tiny.net: netx's rules in loops."""
    content = layers(5)
    content[0] |= {"weight": np.array([36.0], np.float32), "bias": np.array([0.0], np.float32)}
    content[0]["neuron"] = NEURON | {"vDecay": 4096, "iDecay": 4096, "vThMant": 25}
    content[1]["neuron"] = content[3]["neuron"] = NEURON | {"vDecay": 1024, "iDecay": 4096, "vThMant": 12}
    reference = [dict(layer) for layer in content]
    content[1] |= {"weight": content[1]["weight"][..., None]}
    network = read_net(write(tmp_path / "net.net", content))
    x = (np.random.default_rng(1).random((15, 1, 2, 6, 7)) < 0.5).astype(np.uint8)
    spikes = engine.run(place(network, None, {}), {"input": x}).spikes
    expected = interpret(reference, x[:, 0])
    for index, name in enumerate(("input0", "conv1", "dense3")):
        found = spikes[name].dense()[:, 0]
        assert found.sum() > 10
        np.testing.assert_array_equal(found, np.array(expected[index]).reshape(found.shape), err_msg=name)
