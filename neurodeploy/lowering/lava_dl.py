"""Reading lava-dl's `.net` files (SLAYER's HDF5 network exchange) into a `Network` in Loihi's integers.

The meaning of every field is the one that lava-dl's own reader gives it (``lava.lib.dl.netx.hdf5``, lava-dl 0.6):

- Images are ``(channels, height, width)``; kernels ``[c_out, c_in / groups, k_h, k_w]``, strides, padding and dilation
  ``(vertical, horizontal)``. netx flips and transposes all of them for Lava's flipped convolution over ``(x, y, c)``,
  which is torch's cross-correlation over ``(c, y, x)``; a flatten is in the order ``c, y, x``.
- Weights are whole numbers and act as they stand; biases are shifted by 6 bits. Where netx cuts off fractions, or Loihi
  would cut off bits (odd weights of both signs beyond 127, biases wider than their mantissa), they are refused.
- ``iDecay``, ``vDecay``, ``vThMant``: du = iDecay - 1, dv = vDecay, threshold = vThMant << 6, reset to 0.
- An input layer is a neuron a pixel: the current is ``2 weight x - weight + bias`` for the pixel x. Here that is a
  synapse of ``2 weight`` and a bias.
- Several-step refractoriness and weight exponents are ignored by netx; here they are refused.
- Delays are ignored by netx too. Here they act as in SLAYER, where they were trained: the spikes of a layer's channel
  (a dense layer's neuron) arrive everywhere that many steps later. Channels with different delays get projections of
  their own.

The last layer is a read-out of its potential if its threshold is the largest that there is. Without a neuron it is
SLAYER's ``Affine``, for which netx 0.6 takes an integrator without leak that never spikes (older ones fail): its
potential is the sum of ``W s`` over the steps so far, shifted by 6 bits, and the one of the last step is the score.

Clearing. netx clears u and v every ``reset_interval`` steps if its caller asks, each layer one step after the one
before, since each hop takes a step there. In network time that is the same step everywhere: before the input of every
step that ``reset_interval`` divides. The file holds the length of a sample (``simulation/tSample``), which is what
callers give; both stand in ``Network.notes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.files.hdf5 import damaged, numbers, opened, text
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse
from neurodeploy.network.network import Handle, Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.nir_graph.shapes import LARGEST

if TYPE_CHECKING:
    import h5py

KIND = "a lava-dl network"
NEEDS = "HDF5 with a group /layer, as SLAYER's export_hdf5 makes it"
SHIFT = 6
"""Loihi's alignment of weights, biases and thresholds with the 24-bit state."""

_SIGMA_DELTA = (
    "sigma-delta neurons, whose integers only mean something with Lava's shifts of states and messages; here "
    "sigma-delta exists in floats only"
)

MOST_DELAY, MOST_SYNAPSES = 1 << 12, 1 << 22
"""Steps of a delay, and synapses of a layer whose channels have different delays (they are listed one by one)."""

AFFINE = (
    "{} has no neurons: it is SLAYER's Affine, here neurons without leak or threshold, whose potential is 64 times the "
    "sum of W s over all steps; the last step's is the score"
)

MOST_WEIGHT, MOST_THRESHOLD = 256, (1 << 17) - 1


def read_net(path: Path | str) -> Network:
    """Read a network of dense and convolutional layers of CUBA neurons.

    Returns:
        An integer network: an input ``input`` and a population for each layer, named by type and number.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: not such a file, or damaged; the message names the layer.
        UnsupportedError: a layer, a neuron or an option that is not expressed; the message names it.
    """
    path = Path(path)
    allowed = "a lava-dl network in HDF5, as SLAYER's export_hdf5 makes it"
    with opened(path, kind=KIND, suffix=".net", allowed=allowed, needs=NEEDS) as file:
        if "layer" not in file or not hasattr(file["layer"], "keys"):
            raise InvalidInputError(
                f"{path} is HDF5 but not {KIND}",
                found=f"top-level groups: {', '.join(file) or 'none'}",
                allowed="a group /layer with the layers 0, 1, ...",
            )
        layers = file["layer"]
        missing = [str(i) for i in range(len(layers)) if str(i) not in layers]
        if missing or not len(layers):
            raise damaged(path, KIND, NEEDS, f"layers {', '.join(layers) or 'none'}")
        builder = _Builder(path)
        for index in range(len(layers)):
            builder.add(_Layer(path, index, layers[str(index)]))
        return builder.network(_time(path, file))


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer of the file; its methods read and check fields."""

    path: Path
    index: int
    group: h5py.Group

    @property
    def kind(self) -> str:
        if not hasattr(self.group, "keys") or "type" not in self.group:
            raise damaged(self.path, KIND, NEEDS, f"layer {self.index} has no type")
        return text(self.group["type"][()])

    def invalid(self, what: str, found: object, allowed: object) -> InvalidInputError:
        return InvalidInputError(
            f"{self.path}: layer {self.index} {what}", found=found, allowed=allowed, hint="export the network again"
        )

    def unsupported(self, what: str, found: object, allowed: object, hint: str | None = None) -> UnsupportedError:
        return UnsupportedError(f"{self.path}: layer {self.index} {what}", found=found, allowed=allowed, hint=hint)

    def whole(self, key: str, default: int | None = None) -> Array:
        """A field of whole numbers, stored as any kind of number.

        Raises:
            InvalidInputError: fractions, which netx would cut off without a word.
        """
        item = self.group.get(key)
        if item is None:
            if default is None:
                raise damaged(self.path, KIND, NEEDS, f"layer {self.index} has no {key}")
            return np.array(default)
        array = numbers(item[()]) if hasattr(item, "shape") else None
        if array is None or not array.size or not np.isfinite(array).all() or (np.abs(array) > 1 << 40).any():
            raise self.invalid(f"has a {key} that cannot be used", "no usable numbers", "whole numbers")
        if (broken := array != np.trunc(array)).any():
            raise InvalidInputError(
                f"{self.path}: layer {self.index} has a {key} with fractions",
                found=f"{int(broken.sum()):,} of {array.size:,}, the first {array[broken][0]:g}",
                allowed="whole numbers, as SLAYER's export_hdf5 writes them; lava-dl's netx cuts fractions off",
                hint="round them, so that it is you who decides what they become, and export the network again",
            )
        return array.astype(np.int64)

    def one(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A field of one number in a range."""
        found = np.unique(self.whole(key, default))
        if len(found) != 1:
            raise self.unsupported(f"has several values of {key}", found[:8].tolist(), "one for the layer")
        value = int(found[0])
        if not least <= value <= most:
            raise self.invalid(f"has a {key} that cannot be used", value, f"{least} to {most}")
        return value

    def pair(self, key: str, least: int, default: int) -> tuple[int, int]:
        """A field of one or two numbers: (vertical, horizontal)."""
        found = self.whole(key, default).ravel()
        if len(found) > 2 or (found < least).any() or (found > 1 << 20).any():
            raise self.invalid(f"has a {key} that cannot be used", found[:8].tolist(), f"one or two from {least} on")
        return int(found[0]), int(found[-1])

    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of the layer, or the number of its neurons."""
        found = self.whole("shape").ravel().tolist()
        size = 1
        for length in found:
            size *= length
        if len(found) > 3 or min(found) < 1 or size > LARGEST:
            raise self.invalid("has a shape that cannot be used", found[:8], f"up to three, of 1 to {LARGEST:,} values")
        return tuple(found)

    def weights(self) -> Array:
        found = self.whole("weight")
        if (np.abs(found) > MOST_WEIGHT).any():
            raise self.invalid(
                "has weights beyond Loihi's eight bits", int(np.abs(found).max()), f"magnitudes up to {MOST_WEIGHT}"
            )
        beyond = _beyond(found)
        if beyond.any():
            raise self.invalid(
                "has weights that eight bits cannot hold",
                f"{int(beyond.sum()):,} of {found.size:,}, the first {int(found[beyond][0])}",
                "from -255 to 255 where all have one sign; else even from -256 to 254, or any from -128 to 127",
            )
        return found.astype(np.int16)

    def affine(self, last: bool) -> Lif:
        """The read-out that stands for a layer without neurons; see the module's docstring."""
        if not last:
            raise self.unsupported(
                "has no neurons: it is an affine output layer, and other layers follow it", "nothing",
                "neurons, or no layer behind it", "put a neuron into the block, or end the network here",
            )  # fmt: skip
        if self.whole("bias", 0).any():
            raise self.unsupported(
                "has no neurons: it is an affine output layer, and has a bias",
                f"biases up to {int(np.abs(self.whole('bias')).max())}, which SLAYER adds in every step and netx once",
                "an affine output layer without a bias", "set bias=False, or give the block a neuron",
            )  # fmt: skip
        full: Callable[[int], Array] = lambda value: np.full(int(np.prod(self.shape())), value, np.int32)  # noqa: E731
        return Lif(
            du=full(4095), dv=full(0), bias=full(0), threshold=full(MOST_THRESHOLD << SHIFT), reset_to=full(0),
            initial=full(0), reset="none", spiking=False,
        )  # fmt: skip

    @property
    def is_affine(self) -> bool:
        group = self.group.get("neuron")
        return self.kind in ("dense", "conv") and (group is None or not hasattr(group, "keys"))

    def neuron(self, shape: tuple[int, ...], last: bool) -> Lif:
        """The neurons of the layer, with its bias."""
        if self.is_affine:
            return self.affine(last)
        group = self.group["neuron"]
        kind = text(group["type"][()]) if "type" in group else "CUBA"
        if kind not in ("LOIHI", "CUBA"):
            raise self.unsupported(
                f"has neurons of type {kind}",
                {"SDNN": _SIGMA_DELTA}.get(kind, kind),
                "CUBA or LOIHI: current-based leaky integrate-and-fire",
                "export the conventional network as ONNX and convert that" if kind == "SDNN" else None,
            )
        fields = replace(self, group=group)
        if fields.one("refDelay", 0, 1 << 20, 1) > 1:
            raise self.unsupported("has a refractory time of several steps", fields.one("refDelay", 0, 1 << 20), 1)
        for key in ("wgtExp", "messageBits", "gradedSpike"):
            if fields.one(key, -64, 64, 0):
                raise self.unsupported(f"has {key} other than 0", fields.one(key, -64, 64), 0)
        size = int(np.prod(shape))
        threshold = fields.one("vThMant", 0, MOST_THRESHOLD + 1)
        full: Callable[[int], Array] = lambda value: np.full(size, value, np.int32)  # noqa: E731
        readout = last and threshold >= MOST_THRESHOLD
        return Lif(
            du=full(fields.one("iDecay", 0, 4096) - 1),
            dv=full(fields.one("vDecay", 0, 4096)),
            bias=self.bias(shape),
            threshold=full(threshold << SHIFT),
            reset_to=full(0),
            initial=full(0),
            reset="none" if readout else "hard",
            spiking=not readout,
        )

    def delays(self) -> Array:
        """Steps that the spikes of each neuron take to leave, ``[neurons]``."""
        shape, found = self.shape(), self.whole("delay", 0).ravel()
        size = int(np.prod(shape))
        if len(found) not in (1, shape[0], size) or (found < 0).any() or (found > MOST_DELAY).any():
            raise self.invalid(
                "has delays that cannot be used",
                f"{len(found)}, from {found.min()} to {found.max()} steps",
                f"{shape[0]} from 0 to {MOST_DELAY:,}",
            )
        return np.repeat(found, size // len(found))

    def bias(self, shape: tuple[int, ...]) -> Array:
        found = self.whole("bias", 0).ravel()
        size = int(np.prod(shape))
        if len(found) not in (1, shape[0], size) or (np.abs(found) >= 1 << 17).any():
            raise self.invalid(
                "has a bias that cannot be used", f"{len(found)} of up to {int(np.abs(found).max())}", f"{shape[0]}"
            )
        return np.repeat(found, size // len(found)).astype(np.int32) << SHIFT

    def checked(self, neuron: Lif) -> Lif:
        """Neurons whose bias the registers can hold: 13 bits, shifted by up to 7."""
        mantissa = neuron.bias >> SHIFT
        wide = (mantissa < -4096) | (mantissa > 4095)
        wide &= (mantissa % 2 != 0) | (mantissa < -8192) | (mantissa > 8191)
        if wide.any():
            raise self.invalid(
                "has biases that 13 bits cannot hold",
                f"{int(wide.sum()):,} of {wide.size:,}, the first {int(mantissa[wide][0])}"
                + (" (bias less weight)" if self.kind == "input" else ""),
                "from -4096 to 4095, or even from -8192 to 8190",
            )
        return neuron

    def connectivity(self, source: tuple[int, ...], flat: bool) -> Connectivity:
        """The synapses of a dense or convolutional layer on a layer of shape ``source``."""
        weights = self.weights()
        if self.kind == "conv":
            return self._conv(weights, source)
        outputs = int(np.prod(self.shape()))
        if weights.size % outputs or (weights.ndim > 1 and weights.shape[0] != outputs):
            raise self.invalid("has weights of the wrong shape", list(weights.shape), f"[{outputs}, inputs]")
        weights = weights.reshape(outputs, -1)
        if not flat and max(source[1:], default=1) > 1:
            raise self.invalid("follows an image without a flatten layer", list(source), "a flatten layer before it")
        if weights.shape[1] != np.prod(source):
            raise self.invalid("does not fit the layer before it", list(source), f"{weights.shape[1]} neurons")
        return Dense(weights)

    def _conv(self, weights: Array, source: tuple[int, ...]) -> Conv2d:
        if weights.ndim < 4 or max(weights.shape[4:], default=1) > 1 or len(source) != 3:
            raise self.invalid(
                "has weights of the wrong shape",
                f"{list(weights.shape)} on {list(source)}",
                "[channels out, channels in / groups, height, width] on an image",
            )
        weights = weights.reshape(weights.shape[:4])
        groups = self.one("groups", 1, weights.shape[0], 1)
        padding, dilation = self.pair("padding", 0, 0), self.pair("dilation", 1, 1)
        if weights.shape[1] * groups != source[0] or weights.shape[0] % groups:
            raise self.invalid(
                "does not fit the layer before it",
                f"{source[0]} channels",
                f"{weights.shape[1]} channels in each of {groups} groups",
            )
        if max(padding) > max(source[1:]) + max(weights.shape[2:]) * max(dilation):
            raise self.invalid("has more padding than image", list(padding), "less")
        kind = Conv2d(weights, (source[0], source[1], source[2]), self.pair("stride", 1, 1), padding, dilation, groups)
        if kind.output_shape != self.shape():
            raise self.invalid(
                "does not have the shape that its convolution gives", list(self.shape()), kind.output_shape
            )
        return kind


@dataclass(eq=False)
class _Builder:
    """Collects populations and projections layer by layer."""

    path: Path
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    flat: bool = False
    pending: list[_Layer] = field(default_factory=list)
    delays: dict[str, Array] = field(default_factory=dict)
    """For each population, the steps that its spikes take to leave, where there are any."""

    def add(self, layer: _Layer) -> None:
        """Keep a layer; it is built by `network`, which knows the last one."""
        if layer.kind not in ("input", "dense", "conv", "flatten"):
            raise layer.unsupported(f"is of type {layer.kind}", layer.kind, "input, dense, conv, flatten")
        if layer.kind == "input" and layer.index:
            raise layer.invalid("is an input layer", f"after {layer.index} other layers", "the first layer only")
        self.pending.append(layer)

    def network(self, time: Mapping[str, Any]) -> Network:
        last = self.pending[-1].index
        for layer in self.pending:
            if layer.kind == "flatten":
                self.flat = True
            elif layer.kind == "input":
                self._input(layer, layer.index == last)
            else:
                if not self.populations:
                    self._source(self._shape_before(layer))
                source = self.populations[-1]
                connectivity = layer.connectivity(source.shape, self.flat)
                self._append(layer, layer.neuron(layer.shape(), layer.index == last), connectivity)
                self.flat = False
        if len(self.populations) < 2:
            raise InvalidInputError(f"{self.path} has no layer with neurons", allowed="dense and conv layers")
        output, affine = self.populations[-1].name, self.pending[-1].is_affine
        return Network(
            self.path.stem,
            tuple(self.populations),
            tuple(self.projections),
            (output,),
            time["dt"],
            arithmetic="loihi",
            read="last" if affine else "sum",
            notes=time["notes"] | self._delay_notes(output) | ({"read-out": AFFINE.format(output)} if affine else {}),
        )

    def _delay_notes(self, output: str) -> dict[str, str]:
        if not self.delays:
            return {}
        listed = ", ".join(f"{name} {d.min()} to {d.max()}" for name, d in self.delays.items())
        text = f"steps that spikes take to leave: {listed}; as SLAYER trained them, while lava-dl's netx ignores them"
        if output in self.delays:
            text += f". Those of {output} have no effect, since nothing follows it: it is recorded when it sends"
        return {"delays": text}

    def _source(self, shape: tuple[int, ...]) -> None:
        self.populations.append(Population("input", shape, Source(), Handle(nodes=("input",))))

    def _input(self, layer: _Layer, last: bool) -> None:
        shape = layer.shape()
        self._source(shape)
        if "neuron" not in layer.group:
            return
        weight = layer.one("weight", -MOST_WEIGHT // 2, MOST_WEIGHT // 2, 64)
        neuron = layer.neuron(shape, last)
        size = int(np.prod(shape))
        one_to_one = Sparse(
            np.full(size, 2 * weight, np.int16), np.arange(size, dtype=np.int32), np.arange(size + 1), size
        )
        self._append(layer, replace(neuron, bias=neuron.bias - np.int32(weight << SHIFT)), one_to_one)

    def _shape_before(self, layer: _Layer) -> tuple[int, ...]:
        if layer.kind == "conv":
            raise layer.unsupported(
                "is a convolution on an input of unknown size", "no input layer", "an input layer with a shape"
            )
        weights = layer.weights()
        return (max(1, weights.size // int(np.prod(layer.shape()))),)

    def _append(self, layer: _Layer, neuron: Lif, connectivity: Connectivity) -> None:
        source, name = self.populations[-1], f"{layer.kind}{layer.index}"
        handle = Handle(nodes=(f"layer/{layer.index}",))
        self.populations.append(Population(name, layer.shape(), layer.checked(neuron), handle))
        for suffix, delay, kind in self._by_delay(layer, source, connectivity):
            label = f"{source.name} -> {name}{suffix}"
            self.projections.append(Projection(label, source.name, name, kind, delay, handle=handle))
        delays = layer.delays()
        if delays.any():
            self.delays[name] = delays

    def _by_delay(
        self, layer: _Layer, source: Population, kind: Connectivity
    ) -> Iterator[tuple[str, int, Connectivity]]:
        """The synapses of a layer by the delay of their source: end of the name, delay, synapses."""
        delays = self.delays.get(source.name, np.zeros(1, np.int64))
        steps = np.unique(delays)
        if len(steps) == 1:
            yield "", int(steps[0]), kind
            return
        synapses = kind.outputs * int(np.prod(kind.weights.shape[1:]))
        if synapses > MOST_SYNAPSES:
            raise layer.unsupported(
                "follows a layer whose channels have different delays, and is too large for that",
                f"about {synapses:,} synapses",
                f"{MOST_SYNAPSES:,}",
                "give the layer before it one delay",
            )
        matrix = kind.to_csr()
        for delay in steps:
            rows = matrix.copy()
            rows.data = np.where(np.repeat(delays == delay, np.diff(matrix.indptr)), matrix.data, _ABSENT)
            yield f" ({delay} steps)", int(delay), _present(rows)


def _beyond(weights: Array) -> Array:
    """Where no 8-bit register gives a weight exactly: of one sign steps are 1, of both 2, or finer by a shift."""
    if (weights >= 0).all() or (weights <= 0).all():
        return np.asarray(np.abs(weights) > 255)
    if (weights % 2 == 0).all():
        return np.asarray((weights < -256) | (weights > 254))
    return np.asarray((weights % 2 != 0) & ((weights < -128) | (weights > 127)) | (np.abs(weights) > 255))


_ABSENT = np.int16(np.iinfo(np.int16).min)
"""Marks a synapse that is not there; no weight has this value, while 0 is a weight like others."""


def _present(matrix: Any) -> Sparse:
    kept = matrix.data != _ABSENT
    first = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return Sparse(matrix.data[kept], matrix.indices[kept].astype(np.int32), first, int(matrix.shape[1]))


def _time(path: Path, file: h5py.File) -> dict[str, Any]:
    """Step length and notes from the group ``simulation``."""
    group = file.get("simulation")
    step = interval = 0
    if group is not None and hasattr(group, "keys"):
        fields = _Layer(path, -1, group)
        step, interval = fields.one("Ts", 0, 1 << 20, 0), fields.one("tSample", 0, 1 << 31, 0)
    notes = {
        "dt": f"{step or 1} ms ({'simulation/Ts' if step else 'assumed'})",
        "semantics": "as lava-dl's netx reads the file: du = iDecay - 1, threshold and bias << 6, kernels as in torch",
    }
    if interval:
        notes |= {
            "reset_interval": str(interval),
            "reset_offset": "0",
            "clearing": f"the file's samples are {interval} steps long; lava-dl clears u and v before the input of "
            f"every step that {interval} divides. This network does not do it by itself; a run starts from rest, so "
            f"samples of {interval} steps, given as a batch [{interval}, samples, ...], are the same",
        }
    return {"dt": 1e-3 * (step or 1), "notes": notes}
