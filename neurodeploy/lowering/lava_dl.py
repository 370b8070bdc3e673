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
SLAYER's ``Average`` behind it, which netx cannot read, is the network's answer: the mean of each group of neurons.

Sigma-delta (``SDNN``). A message has 6 fractional bits (netx's default ``spike_exp``; the file does not hold it) and a
state 6 more: thresholds and biases are shifted by 12, messages are ``s >> 6``, and what that cuts off is lost, as Loihi
2 and Lava 0.10 do. An input layer is Lava's ``Delta``: it takes values, ``<< 12``, and sends their changes. An output
layer (``sigma_output``) is Lava's ``Sigma``, the sum of what arrives: here sigma-delta with threshold 0. Biases act
from the first step on, so netx's step a hop sends them through the layers one after the other; here, as in SLAYER, all
layers act in one step. Projections with a delay of 1 are netx's time, and give its integers.

Clearing. netx clears u and v every ``reset_interval`` steps if its caller asks, each layer one step after the one
before, since each hop takes a step there. In network time that is the same step everywhere: before the input of every
step that ``reset_interval`` divides. The file holds the length of a sample (``simulation/tSample``), which is what
callers give; both stand in ``Network.notes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.hdf5 import damaged, opened
from neurodeploy.network.answer import Answer, Linear, Returned, Series
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Connectivity, Sparse
from neurodeploy.network.network import Handle, Network, Population, Projection
from neurodeploy.network.neurons import Neuron, Source

from .net_layer import KIND, NEEDS, Layer
from .net_neurons import (
    MESSAGE_BITS,
    SHIFT,
    SPIKE_EXP,
    STATE_EXP,
    UNIT,
    VALUE_BITS,
    input_weight,
    is_affine,
    is_sigma_delta,
    neuron,
)

if TYPE_CHECKING:
    import h5py

MOST_SYNAPSES = 1 << 22
"""Synapses of a layer whose channels have different delays (they are listed one by one)."""

AFFINE = (
    "{} has no neurons: it is SLAYER's Affine, here neurons without leak or threshold, whose potential is 64 times the "
    "sum of W s over all steps; the last step's is the score"
)
AVERAGE = "SLAYER's Average: in each step the mean of each {} neurons of {}, one group a class; netx does not read it"
SIGMA_DELTA = (
    f"as in netx with its spike_exp of {SPIKE_EXP}: the input's values come as whole numbers (SLAYER's in units of "
    f"1/{1 << SHIFT}), messages have {SPIKE_EXP} fractional bits more, states {STATE_EXP} more, which messages lose "
    f"(as on Loihi 2 and in Lava 0.10); a state of {UNIT} is SLAYER's 1; layers act in the "
    "same step, as in SLAYER, where netx takes a step a hop: changes below a threshold then add up in another order"
)


def read_net(path: Path | str) -> Network:
    """Read a network of dense and convolutional layers of CUBA or sigma-delta neurons.

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
            builder.add(Layer(path, index, layers[str(index)]))
        return builder.network(_time(path, file))


@dataclass(eq=False)
class _Builder:
    """Collects populations and projections layer by layer."""

    path: Path
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    flat: bool = False
    pending: list[Layer] = field(default_factory=list)
    delays: dict[str, Array] = field(default_factory=dict)
    """For each population, the steps that its spikes take to leave, where there are any."""

    groups: Layer | None = None
    """The layer that averages over groups of the output's neurons."""

    def add(self, layer: Layer) -> None:
        """Keep a layer; it is built by `network`, which knows the last one."""
        if self.groups is not None:
            raise self.groups.unsupported(
                "averages over neurons, and other layers follow it", layer.kind, "an average at the end", None
            )
        if layer.kind == "average":
            self.groups = layer
            return
        if layer.kind not in ("input", "dense", "conv", "flatten"):
            raise layer.unsupported(f"is of type {layer.kind}", layer.kind, "input, dense, conv, flatten, average")
        if layer.kind == "input" and layer.index:
            raise layer.invalid("is an input layer", f"after {layer.index} other layers", "the first layer only")
        self.pending.append(layer)

    def network(self, time: Mapping[str, Any]) -> Network:
        if not self.pending:
            raise InvalidInputError(f"{self.path} has no layer with neurons", allowed="dense and conv layers")
        last = self.pending[-1].index
        for layer in self.pending:
            if layer.kind == "flatten":
                self.flat = True
            elif layer.kind == "input":
                self._input(layer, layer.index == last)
            else:
                if not self.populations:
                    self._source(self._shape_before(layer), MESSAGE_BITS if is_sigma_delta(layer) else 1)
                source = self.populations[-1]
                connectivity = layer.connectivity(source.shape, self.flat)
                self._append(layer, neuron(layer, layer.index == last), connectivity)
                self.flat = False
        if len(self.populations) < 2:
            raise InvalidInputError(f"{self.path} has no layer with neurons", allowed="dense and conv layers")
        output, affine = self.populations[-1].name, is_affine(self.pending[-1])
        notes = {"read-out": AFFINE.format(output)} if affine else {}
        answer = None if self.groups is None else self._average(self.groups, notes)
        if any(is_sigma_delta(layer) for layer in self.pending):
            notes["sigma-delta"] = SIGMA_DELTA
        return Network(
            self.path.stem,
            tuple(self.populations),
            tuple(self.projections),
            (output,),
            time["dt"],
            arithmetic="loihi",
            read="last" if affine else "sum",
            notes=time["notes"] | self._delay_notes(output) | notes,
            answer=answer,
        )

    def _average(self, layer: Layer, notes: dict[str, str]) -> Answer:
        """What SLAYER's Average returns: in each step, the mean of each group of neurons that lie together."""
        output, groups = self.populations[-1], int(np.prod(layer.shape()))
        size = output.size // groups
        if not output.spiking or size * groups != output.size:
            raise layer.unsupported(
                "averages over neurons that it does not fit",
                f"{groups} groups of {output.size} neurons" if output.spiking else "a read-out before it",
                "spiking neurons, in groups of one size",
            )
        matrix = np.repeat(np.eye(groups), size, axis=1) / size
        notes["read-out"] = AVERAGE.format(size, output.name)
        return Answer((Returned(Linear(Series(output.name, "spikes", (output.size,)), matrix, None, (groups,))),))

    def _delay_notes(self, output: str) -> dict[str, str]:
        if not self.delays:
            return {}
        listed = ", ".join(f"{name} {d.min()} to {d.max()}" for name, d in self.delays.items())
        text = (
            f"steps that spikes take to leave: {listed}; as SLAYER trained them, while lava-dl's netx delays what a "
            "dense layer receives instead, by 62 at most (its own spikes come later, those of the next layer when they "
            "do here), and ignores those of a convolution"
        )
        if output in self.delays:
            text += f". Those of {output} have no effect, since nothing follows it: it is recorded when it sends"
        return {"delays": text}

    def _source(self, shape: tuple[int, ...], bits: int = 1) -> None:
        self.populations.append(Population("input", shape, Source(payload_bits=bits), Handle(nodes=("input",))))

    def _input(self, layer: Layer, last: bool) -> None:
        shape, size = layer.shape(), int(np.prod(layer.shape()))
        delta = is_sigma_delta(layer)
        self._source(shape, VALUE_BITS if delta else self._bits_after(layer))
        if "neuron" not in layer.group:
            return

        def one_to_one(weight: int, exponent: int = 0) -> Sparse:
            weights, each = np.full(size, weight, np.int16), np.arange(size, dtype=np.int32)
            return Sparse(weights, each, np.arange(size + 1), size, exponent)

        if delta:
            self._append(layer, neuron(layer, last), one_to_one(1 << SPIKE_EXP, STATE_EXP))
            return
        self._append(layer, neuron(layer, last), one_to_one(2 * input_weight(layer)))

    def _bits_after(self, layer: Layer) -> int:
        """Message bits of an input without neurons: those of the layer that it feeds."""
        behind = [other for other in self.pending if other.index > layer.index and other.kind != "flatten"]
        return MESSAGE_BITS if "neuron" not in layer.group and behind and is_sigma_delta(behind[0]) else 1

    def _shape_before(self, layer: Layer) -> tuple[int, ...]:
        if layer.kind == "conv":
            raise layer.unsupported(
                "is a convolution on an input of unknown size", "no input layer", "an input layer with a shape"
            )
        weights = layer.weights()
        return (max(1, weights.size // int(np.prod(layer.shape()))),)

    def _append(self, layer: Layer, cells: Neuron, connectivity: Connectivity) -> None:
        source, name = self.populations[-1], f"{layer.kind}{layer.index}"
        handle = Handle(nodes=(f"layer/{layer.index}",))
        unit = UNIT if is_sigma_delta(layer) else 1.0
        self.populations.append(Population(name, layer.shape(), cells, handle, unit))
        for suffix, delay, kind in self._by_delay(layer, source, connectivity):
            label = f"{source.name} -> {name}{suffix}"
            self.projections.append(Projection(label, source.name, name, kind, delay, handle=handle))
        delays = layer.delays()
        if delays.any():
            self.delays[name] = delays

    def _by_delay(
        self, layer: Layer, source: Population, kind: Connectivity
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
        fields = Layer(path, -1, group)
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
