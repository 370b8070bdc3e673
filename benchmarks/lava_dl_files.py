"""lava-dl's own trained networks and recordings: what is read, and whether the integers are the recorded ones.

    pip download --no-deps lava-dl==0.6.0
    pip download --no-deps --ignore-requires-python --no-binary lava-dl lava-dl==0.4.0
    python benchmarks/lava_dl_files.py FOLDER [--record]

FOLDER holds these packages (BSD-3), or folders into which they are unpacked. Every different `.net` file is read, and
where its package has recordings beside it, run on the reference and on hwsim and compared number by number. Where a
recording differs, the first difference is printed. lava-dl's netx takes a step a hop: recordings of sigma-delta
networks, whose biases act from the first step on in every layer, are compared with the network in that time; those of
other networks layer by layer, so many steps later. Three layers without a file (`gts/tinynet_sdnn`) are built here.

Four recordings are not of what the file says, which is checked number by number, too:

- PilotNet's potentials are Loihi 2's, which holds 128 (a refractory code) where a neuron has just spiked, not 0.
- PilotNet's ``fc-3`` is of another run: it is not what its own ``fc-2`` and the weights give.
- Oxford's ``ground_truth`` is SLAYER's, which spikes at the threshold itself; netx, Lava and Loihi above it.
- ``tinynet_sdnn/layer2`` was recorded with messages cut to 0 and 1, since lava-dl's test gives no message bits.

docs/howto-lava-dl.md quotes what is printed; ``--record`` keeps it in docs/recorded.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from printed import recorded

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import place
from neurodeploy.errors import NeurodeployError
from neurodeploy.hwsim import engine
from neurodeploy.lowering.lava_dl import read_net
from neurodeploy.network.connectivity import Conv2d, Dense, Sparse
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import SigmaDelta, Source
from neurodeploy.program.recording import Record, Recording

Array = np.ndarray
Compared = tuple[str, Array, Array, int]
"""What, recorded and found ``[time, neurons]``, and by how many steps the recording may be later."""

GTS = "tests/lava/lib/dl/netx/gts"


def runs(network: Network, x: Array) -> Iterator[tuple[str, Recording]]:
    """The network on both back-ends, from ``[time, *shape]`` or ``[time, neurons]``."""
    name = network.inputs[0].name
    given = {name: x.reshape(len(x), 1, *network.inputs[0].shape)}
    kept = Record(("u", "v"))
    yield "reference", run_network(network, given, record=kept)
    yield "hwsim", engine.run(place(network, None, {}), given, record=kept)


def netx_time(network: Network, hop_from_input: bool) -> Network:
    """The network in netx's time, where each hop takes a step."""
    inputs = {p.name for p in network.inputs}
    late = (replace(p, delay=p.delay + (hop_from_input or p.source not in inputs)) for p in network.projections)
    return replace(network, projections=tuple(late))


def without_input_layer(network: Network) -> Network:
    """The network whose input is what its input layer would send, as netx's ``skip_layers=1``."""
    first, layer, *others = network.populations
    bits = 16 if layer.neuron.graded("loihi") else 1
    source = replace(layer, neuron=Source(payload_bits=bits), scale=1.0)
    projections = tuple(p for p in network.projections if p.source != first.name)
    return replace(network, populations=(source, *others), projections=projections)


def planes(recorded: Array) -> Array:
    """netx's ``[x, y, channel, time]`` (or ``[neuron, time]``) as ``[time, neurons]`` in the order c, y, x."""
    return recorded.transpose().reshape(recorded.shape[-1], -1).astype(np.int64)


def states(found: Recording, which: str, name: str) -> Array:
    """``u`` or ``v`` of a population, ``[time, neurons]``."""
    return np.asarray(found.states[which][name][:, 0]).astype(np.int64)


def sent(found: Recording, name: str) -> Array:
    """Messages of a population, ``[time, neurons]``."""
    return np.asarray(found.spikes[name].dense()[:, 0]).astype(np.int64)


# One function for each recording: of the network and the folder beside it


def pilotnet_sdnn(network: Network, gts: Path) -> Iterator[tuple[str, list[Compared]]]:
    output = np.load(gts / "output.npy")[0].astype(np.int64)[:, None]
    image = planes(np.load(gts / "input.npy"))
    for engine_name, found in runs(netx_time(network, hop_from_input=False), np.repeat(image, len(output), axis=0)):
        here = states(found, "u", network.outputs[0])
        yield engine_name, [(f"output.npy, {output[0, 0]:,} to {output[-1, 0]:,}", output, here, 0)]
    yield from sigmas(without_input_layer(network), gts, np.load(gts / "act0.npy"), "sigma{}.npy")


def square(network: Network, gts: Path) -> Iterator[tuple[str, list[Compared]]]:
    messages = np.load(gts / "act0.npy")[:33, :33]
    yield from sigmas(without_input_layer(network), gts, messages, "sigma{}_square.npy")


def sigmas(network: Network, gts: Path, messages: Array, files: str) -> Iterator[tuple[str, list[Compared]]]:
    for engine_name, found in runs(netx_time(network, hop_from_input=True), planes(messages)):
        parts = []
        for index, population in enumerate(network.populations[1:], start=1):
            if (file := gts / files.format(index)).exists():
                parts.append((file.name, planes(np.load(file)), states(found, "u", population.name), 0))
        yield engine_name, parts


def ntidigits(network: Network, gts: Path) -> Iterator[tuple[str, list[Compared]]]:
    output = planes(np.load(gts / "output.npy"))
    for engine_name, found in runs(network, planes(np.load(gts / "input.npy"))):
        spikes = sent(found, network.outputs[0])
        sums = [np.cumsum(a.reshape(len(a), 11, -1).sum(2), axis=0) for a in (output, spikes)]
        classes = [int(a[-1].argmax()) for a in sums]
        yield (
            engine_name,
            [
                ("output.npy", output, spikes, 8),
                (f"class, read out of {int(output.sum())} spikes", *(np.array([[c]]) for c in classes), 0),
            ],
        )


def with_bias(network: Network, image: Array) -> Network:
    """The network whose image is the bias of its input layer, as netx's tests give it."""
    layer = network.populations[1]
    bias = planes(image[..., None])[0].astype(np.int32) << 6
    lit = replace(layer, neuron=replace(layer.neuron, bias=bias))  # type: ignore[call-arg]
    return replace(network, populations=(network.populations[0], lit, *network.populations[2:]))


def tiny(network: Network, gts: Path) -> Iterator[tuple[str, list[Compared]]]:
    lit = with_bias(network, np.load(gts / "input_bias.npy").astype(np.int64))

    def recorded(name: str) -> Array:  # [1, channel, y, x, time]
        values = np.load(gts / f"{name}.npy")[0]
        return values.reshape(-1, values.shape[-1]).T.astype(np.int64)

    silence = np.zeros((16, network.populations[0].size), np.uint8)
    for engine_name, found in runs(lit, silence):
        yield (
            engine_name,
            [
                ("input.npy", recorded("input"), sent(found, "input0"), 2),
                ("current.npy << 6", recorded("current") << 6, states(found, "u", "conv1"), 2),
                ("layer1.npy", recorded("layer1"), sent(found, "conv1"), 2),
                ("output.npy", recorded("output"), sent(found, "conv2"), 2),
            ],
        )


def pilotnet_lif(network: Network, gts: Path) -> Iterator[tuple[str, list[Compared]]]:
    lit = with_bias(network, np.load(gts / "image.npy"))
    names = {f"conv-{i}": f"conv{i + 1}" for i in range(5)} | {f"fc-{i}": f"dense{i + 7}" for i in range(3)}
    silence = np.zeros((16, network.populations[0].size), np.uint8)
    for engine_name, found in runs(lit, silence):
        parts = [("input.npy", planes(np.load(gts / "input.npy")), sent(found, "input0"), 2)]
        for file, name in names.items():
            for kind in ("u", "v"):
                values = planes(np.load(gts / f"{file}-{kind}.npy"))
                here, note = states(found, kind, name), ""
                if kind == "v":
                    here, note = np.where(sent(found, name) != 0, 128, here), " (128 after a spike)"
                parts.append((f"{file}-{kind}.npy{note}", values, here, 12))
            parts.append((f"{file}.npy", planes(np.load(gts / f"{file}.npy")), sent(found, name), 12))
        weights = network.projections[-1].connectivity.weights.astype(np.int64)
        given = planes(np.load(gts / "fc-2.npy")) @ weights.T << 6
        assert (given != planes(np.load(gts / "fc-3-u.npy"))[1:]).any(), "fc-3 is of the same run"
        parts.append(("fc-3-u, of fc-2.npy (its own is of another run)", given, states(found, "u", "dense10"), 12))
        yield engine_name, parts


def oxford(network: Network, gts: Path) -> Iterator[tuple[str, list[Compared]]]:
    folder = next(path for path in gts.parents if path.name == "dl") / "netx" / "oxford"
    x, first = (planes(np.load(folder / "gts" / name)) for name in ("in.npy", "out.npy"))
    for engine_name, found in runs(network, x):
        yield engine_name, [("gts/out.npy", first, sent(found, "dense0"), 2)]
    x, truth = (_events(np.load(folder / name)) for name in ("input.npy", "ground_truth.npy"))
    above = next(sent(found, "dense1") for _, found in runs(network, x))
    others = int((truth[2:] != above[:-2]).sum())
    title = f"ground_truth.npy ({truth.sum():,} spikes, at the threshold; above it {others:,} differ)"
    for engine_name, found in runs(spiking_at_the_threshold(network), x):
        yield engine_name, [(title, truth, sent(found, "dense1"), 2)]


def _events(listed: Array) -> Array:
    """A list of events ``[neuron, channel, time]`` as ``[time, neurons]``."""
    dense = np.zeros((2000, 200), np.int64)
    dense[np.round(listed[:, 2]).astype(int), listed[:, 0].astype(int)] = 1
    return dense


def spiking_at_the_threshold(network: Network) -> Network:
    """The network with ``v >= threshold``, as SLAYER trains it."""
    layers = [
        p if p.external else replace(p, neuron=replace(p.neuron, comparison=">="))  # type: ignore[call-arg]
        for p in network.populations
    ]
    return replace(network, populations=tuple(layers))


RECORDED: Mapping[str, Callable[[Network, Path], Iterator[tuple[str, list[Compared]]]]] = {
    f"{GTS}/pilotnet_sdnn/network.net": pilotnet_sdnn,
    f"{GTS}/pilotnet_sdnn/square_network.net": square,
    f"{GTS}/ntidigits/ntidigits.net": ntidigits,
    f"{GTS}/pilotnet_lif/network.net": pilotnet_lif,
    "tests/lava/lib/dl/netx/tiny.net": lambda network, gts: tiny(network, gts / "gts" / "tinynet"),
    "netx/oxford/Trained/network.net": oxford,
}


def blocks(root: Path) -> Iterator[tuple[str, list[Compared]]]:
    """lava-dl's recordings of sigma-delta blocks: a delta layer, a convolution, a sigma layer."""
    gts = root / GTS / "tinynet_sdnn"
    bias, nothing = np.load(gts / "layer1_bias.npy"), lambda n: np.zeros(n, np.int32)
    image = np.load(gts / "input_bias.npy")[..., None] * np.sin(2 * np.pi * np.arange(15) / 15)
    kernel = np.load(gts / "layer1_kernel.npy").transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]  # of a flipped convolution
    vth = 20 << 12

    def made(name: str, shape: tuple[int, ...], bits: int, neuron: SigmaDelta, kind: Any, delay: int) -> Network:
        out = Population("out", (kind.outputs,), neuron)
        synapses = Projection("w", "in", "out", kind, delay)
        source = Population("in", shape, Source(payload_bits=bits))
        return Network(name, (source, out), (synapses,), ("out",), 1e-3, arithmetic="loihi")

    size = 16 * 16 * 3
    each = Sparse(np.full(size, 64, np.int16), np.arange(size, dtype=np.int32), np.arange(size + 1), size, 6)
    delta = SigmaDelta(nothing(size), np.full(size, vth, np.int32), "identity", 6, accumulate=False)
    conv = Conv2d(np.ascontiguousarray(kernel).astype(np.int16), (3, 16, 16), (2, 2))
    cells = SigmaDelta((np.repeat(bias, 36) << 12).astype(np.int32), np.full(864, vth, np.int32), "relu", 6, "lost")
    sigma = SigmaDelta(nothing(100), nothing(100), "identity")
    matrix = Dense(np.load(gts / "layer2_weight.npy").astype(np.int16))
    flat = np.load(gts / "layer1.npy").reshape(-1, 16)  # its neurons are in netx's own order
    for name, network, x, record, what in (
        ("input.npy", made("delta", (3, 16, 16), 12, delta, each, 0), planes(image.astype(int)), "input", "sent"),
        ("layer1.npy, its first step", made("conv", (3, 16, 16), 16, cells, conv, 1),
         planes(np.load(gts / "input.npy"))[:1], "layer1", "sent"),
        ("layer2.npy (messages cut to 0 and 1)", made("sigma", (864,), 16, sigma, matrix, 1), planes(flat != 0),
         "layer2", "u"),
    ):  # fmt: skip
        truth = planes(np.load(gts / f"{record}.npy"))[: len(x)]
        for engine_name, found in runs(network, x):
            yield engine_name, [(name, truth, sent(found, "out") if what == "sent" else states(found, "u", "out"), 0)]


def verdict(recorded: Array, found: Array, most: int) -> tuple[int, int, str]:
    """How many recorded numbers there are, how many differ, and in words, with the delay at which the fewest do."""
    best: tuple[int, int, Array] | None = None
    for late in range(most + 1):
        steps = min(len(recorded) - late, len(found))
        different = recorded[late : late + steps] != found[:steps]
        if best is None or different.sum() < best[0]:
            best = int(different.sum()), late, different
    assert best is not None
    wrong, late, different = best
    text = f"{different.size:,} numbers" + (f", {late} steps later" if late else "")
    if not wrong:
        return different.size, 0, f"equal: {text}"
    step, neuron = (int(index) for index in np.argwhere(different)[0])
    there, here = int(recorded[step + late, neuron]), int(found[step, neuron])
    words = f"{wrong:,} of {text} differ; first: step {step}, neuron {neuron}, recorded {there}, here {here}"
    return different.size, wrong, words


def unpacked(folder: Path, into: Path) -> list[Path]:
    """The folder, and the networks and recordings of the packages in it."""
    for package in sorted(folder.glob("lava_dl-*.tar.gz")):
        with tarfile.open(package) as archive:
            wanted = [m for m in archive.getmembers() if m.name.endswith((".net", ".npy"))]
            archive.extractall(into, wanted, filter="data")
    for package in sorted(folder.glob("lava_dl-*.whl")):
        with zipfile.ZipFile(package) as wheel:
            wheel.extractall(into / package.stem, [n for n in wheel.namelist() if n.endswith((".net", ".npy"))])
    return [folder, into]


def different(roots: list[Path]) -> dict[str, list[Path]]:
    """The files by their content."""
    files: dict[str, list[Path]] = {}
    for path in sorted(path for root in roots for path in root.rglob("*.net")):
        files.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), []).append(path)
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded")
    args = parser.parse_args()
    if args.folder is None or not args.folder.is_dir():
        print(__doc__)
        return 2
    with tempfile.TemporaryDirectory() as scratch, recorded(__file__, args.record):
        failed = compared(unpacked(args.folder, Path(scratch)))
    return int(failed > 0)


def compared(roots: list[Path]) -> int:
    """Read and run all files; return how many are refused or differ."""
    failed = 0
    files = different(roots)
    for paths in files.values():
        root = next(root for root in roots if paths[0].is_relative_to(root))
        name = paths[0].relative_to(root).as_posix()
        print(f"\n{name}" + f" (and {len(paths) - 1} copies)" * (len(paths) > 1))
        try:
            network = read_net(paths[0])
        except NeurodeployError as error:
            print(f"  refused: {error}")
            failed += 1
            continue
        size = sum(p.size for p in network.populations if not p.external)
        print(f"  read: {len(network.populations)} populations, {size:,} neurons, output {network.outputs[0]}")
        known = [(path, run) for path in paths for end, run in RECORDED.items() if path.as_posix().endswith(end)]
        if not known:
            print("  no recording")
        for path, run in known[:1]:
            failed += shown(run(network, path.parent))
    with_gts = {str(p)[: str(p).index(GTS)] for ps in files.values() for p in ps if GTS in str(p)}
    for folder in sorted(with_gts)[:1]:
        print("\ngts/tinynet_sdnn, blocks without a file")
        failed += shown(blocks(Path(folder)))
    print(f"\n{len(files)} different files; {failed} refused or different")
    return failed


def shown(found: Iterator[tuple[str, list[Compared]]]) -> int:
    """Print what was compared; return how much of it differs."""
    failed = 0
    numbers: dict[str, list[int]] = {}
    for engine_name, parts in found:
        for what, recorded_numbers, here, most in parts:
            size, wrong, text = verdict(recorded_numbers, here, most)
            print(f"  {engine_name}: {what}: {text}")
            failed += wrong > 0
            numbers.setdefault(engine_name, [0, 0])
            numbers[engine_name] = [numbers[engine_name][0] + size, numbers[engine_name][1] + wrong]
    for engine_name, (size, wrong) in numbers.items():
        print(f"  {engine_name}: all of it: {size:,} numbers, {wrong:,} different")
    return failed


if __name__ == "__main__":
    sys.exit(main())
