"""Learning on the chip, event by event: networks trained by MPD-ED or STD-ED, or by surrogate gradients as a baseline.

`OnChip` packs a float network (`neurodeploy.network.event_rules.chain`) once, learns from samples in any portions, and
counts what it does. What it holds between two samples is in `OnChip.state`: stored and restored, a run goes on bit for
bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d
from neurodeploy.network.event_rules import Chain, EventRule, chain
from neurodeploy.network.network import Network
from neurodeploy.program.recording import Decisions

from ..chips.arch import Architecture
from .kernels import C_IN, C_OUT, KERNEL, KINDS, LEAKY, TIMED, WEIGHTS, Net, Spikes, Work
from .loop import PENDING, ROWS, Constants, State, run_samples


@dataclass(frozen=True, eq=False)
class Samples:
    """Events of labelled samples, in order of sample, time and neuron.

    Args:
        first: those of sample b in step t are ``neuron[first[b, t] : first[b, t + 1]]``, ``[samples, steps + 1]``.
        neuron: in C order of the input's shape.
        labels: int64 ``[samples]``.
    """

    first: Array
    neuron: Array
    labels: Array

    @property
    def steps(self) -> int:
        """Time steps of a sample."""
        return int(self.first.shape[1]) - 1

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, inputs: Array, labels: Array) -> Samples:
        """From spikes ``[time, batch, *shape]`` (0 or 1) and classes ``[batch]``.

        Raises:
            InvalidInputError: not spikes, or another number of classes.
        """
        spikes = np.asarray(inputs)
        if spikes.ndim < 3 or spikes.shape[1] != len(labels) or not spikes.shape[0]:
            raise InvalidInputError(
                "the samples do not match their labels", found=f"{list(spikes.shape)} and {len(labels)} labels",
                allowed="[time, batch, *shape] and one label for each of the batch",
            )  # fmt: skip
        steps, samples = spikes.shape[:2]
        flat = spikes.reshape(steps, samples, -1)
        if not ((flat == 0) | (flat == 1)).all():
            raise InvalidInputError("the samples are not spikes", found=f"values up to {flat.max()}", allowed="0 and 1")
        flat = np.ascontiguousarray(flat.transpose(1, 0, 2))
        sizes = np.count_nonzero(flat, axis=2)
        ends = np.cumsum(sizes).reshape(sizes.shape)
        first = np.concatenate([ends[:, :1] - sizes[:, :1], ends], axis=1)
        return cls(first.astype(np.int64), np.nonzero(flat)[2].astype(np.int32), np.asarray(labels, np.int64))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What happened to some samples, in the order in which they were taken.

    Args:
        right: probability of the label before learning from the sample.
        predicted: class.
        tied: whether other classes score as high, or the scores are not numbers.
        counts: int64 ``[samples, layers + 1, kinds]``; the last row is the read-out, kinds are `KINDS`.
    """

    right: Array
    predicted: Array
    tied: Array
    counts: Array

    def total(self) -> dict[str, Array]:
        """Each kind's sum over the samples, ``[layers + 1]``."""
        return dict(zip(KINDS, self.counts.sum(axis=0).T, strict=True))


class OnChip:
    """A network that learns; see the module's docstring.

    Args:
        network: floats, a chain of layers.
        rule: to learn by.
        steps: of a sample.
        core_of: core of each neuron by population (as `neurodeploy.program.program.Program.core_of`), with ``arch`` for
            the hops; without them nothing is placed, and messages are not counted.

    Raises:
        UnsupportedError: the rule cannot train this network; says why.
        InvalidInputError: no steps.
    """

    def __init__(
        self,
        network: Network,
        rule: EventRule,
        steps: int,
        core_of: Mapping[str, Array] | None = None,
        arch: Architecture | None = None,
    ) -> None:
        if steps < 1:
            raise InvalidInputError("a sample needs at least one step", found=steps, allowed="1 or more")
        self.chain, self.rule, self.steps = chain(network, rule.name), rule, steps
        self.net, positions = _net(self.chain, rule, steps, core_of, arch)
        table, layers = self.net.table, len(self.net.table)
        sizes = [self.chain.source.size, *(layer.target.size for layer in self.chain.layers)]
        thresholds = np.array([layer.threshold for layer in self.chain.layers])
        self.constants = _constants(rule, thresholds)
        weights = np.concatenate([_packed(self.chain, n).reshape(-1) for n in range(layers)])
        readout = _channels_last(self.chain.readout.connectivity.weights, self._last_shape).T.copy()
        self._state = State(
            weights, readout, thresholds.copy(), np.zeros_like(weights), np.zeros_like(readout),
            np.zeros(len(weights), np.uint8), np.zeros((int((table[:, C_IN] * table[:, KERNEL]).sum()), 2), np.int64),
            np.zeros(layers, np.int64), np.zeros(4, np.int64),
        )  # fmt: skip
        if rule.weight_bits:
            for n, (begin, end) in enumerate(self._places):
                weights[begin:end] = self._on_grid(weights[begin:end], n)
            readout[:] = self._on_grid(readout, layers)
        base = np.concatenate([[0], np.cumsum(np.array(sizes) * steps)]).astype(np.int64)
        pool = int(base[-1])
        self._spikes = Spikes(
            base, np.zeros((layers + 1, steps + 1), np.int64), np.zeros(pool, np.int32), np.zeros(pool), np.zeros(pool)
        )
        total, cores = sum(sizes), len(self.net.distance)
        self._work = Work(
            np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(positions, np.int64),
            np.zeros(positions, np.int64), np.zeros(sizes[-1], np.int64), np.zeros(sizes[-1]), np.zeros(sizes[-1]),
            np.zeros(cores, np.uint8),
        )  # fmt: skip
        extent = (steps, total) if rule.name == "bptt" else (0, 0)
        self._clocked = np.zeros(extent), np.zeros(extent, np.uint8), np.zeros(extent)

    @property
    def _last_shape(self) -> tuple[int, ...]:
        return self.chain.layers[-1].target.shape

    @property
    def _places(self) -> list[tuple[int, int]]:
        table = self.net.table
        sizes = table[:, C_IN] * table[:, KERNEL] * table[:, C_OUT]
        return [(int(begin), int(begin + size)) for begin, size in zip(table[:, WEIGHTS], sizes, strict=True)]

    def _on_grid(self, weights: Array, layer: int) -> Array:
        grid, limit = self.constants.grid[layer], self.constants.limit
        return np.asarray(np.clip(np.rint(weights / grid), -limit, limit) * grid)

    def learn(self, samples: Samples, order: Array | None = None, rate: float = 1.0) -> Outcome:
        """Learn from samples, one after the other.

        Args:
            order: samples to take (all, in their order, when not given).
            rate: factor of the rule's learning rate.

        Raises:
            InvalidInputError: samples of another length or shape, or a label that is no class.
        """
        return self._run(samples, order, self.constants._replace(rate=self.constants.rate * rate), learning=True)

    def infer(self, samples: Samples, order: Array | None = None) -> Outcome:
        """Run samples without learning; see `learn`."""
        return self._run(samples, order, self.constants, learning=False)

    def accuracy(self, samples: Samples) -> float:
        """Share of samples whose class is right."""
        return self.decisions(samples).accuracy(samples.labels)

    def decisions(self, samples: Samples) -> Decisions:
        """What it decides as it is now; a read-out is never silent: where nothing spikes, its classes are tied."""
        outcome = self.infer(samples)
        return Decisions(outcome.predicted, outcome.tied, np.zeros(len(samples), bool))

    def _run(self, samples: Samples, order: Array | None, constants: Constants, *, learning: bool) -> Outcome:
        self._check(samples)
        taken = np.arange(len(samples)) if order is None else np.asarray(order, np.int64)
        if len(taken) and not 0 <= taken.min() <= taken.max() < len(samples):
            raise InvalidInputError(
                "an order names a sample that is not there", found=f"{taken.min()} to {taken.max()}",
                allowed=f"0 to {len(samples) - 1}",
            )  # fmt: skip
        neuron = self._reordered(samples.neuron)
        right, predicted, tied = np.zeros(len(taken)), np.zeros(len(taken), np.int64), np.zeros(len(taken), bool)
        counts = np.zeros((len(taken), len(self.net.table) + 1, len(KINDS)), np.int64)
        run_samples(
            self.net, constants, self._state, self._spikes, self._work, *self._clocked, samples.first, neuron,
            samples.labels, taken, int(learning), right, predicted, tied, counts,
        )  # fmt: skip
        return Outcome(right, predicted, tied, counts)

    def _check(self, samples: Samples) -> None:
        size, classes = self.chain.source.size, self.chain.classes
        if samples.steps != self.steps:
            raise InvalidInputError("samples of another length", found=f"{samples.steps} steps", allowed=self.steps)
        if len(samples.neuron) and not 0 <= samples.neuron.min() <= samples.neuron.max() < size:
            raise InvalidInputError(
                "samples of another shape", found=f"events of neurons {samples.neuron.min()} to {samples.neuron.max()}",
                allowed=f"neurons 0 to {size - 1} of {self.chain.source.shape}",
            )  # fmt: skip
        if len(samples) and not 0 <= samples.labels.min() <= samples.labels.max() < classes:
            raise InvalidInputError(
                "a label that is no class of this network", found=f"{samples.labels.min()} to {samples.labels.max()}",
                allowed=f"0 to {classes - 1}",
            )  # fmt: skip

    def _reordered(self, neuron: Array) -> Array:
        shape = self.chain.source.shape
        if len(shape) != 3 or shape[0] == 1 or not _is_image(self.chain, 0):
            return neuron
        channel, place = np.divmod(neuron, shape[1] * shape[2])
        return (place * shape[0] + channel).astype(np.int32)

    def state(self) -> dict[str, Array]:
        """All that a run changes, as copies: what a checkpoint keeps."""
        return {name: value.copy() for name, value in self._state._asdict().items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take back what `state` gave.

        Raises:
            InvalidInputError: it is of another network.
        """
        own = self._state._asdict()
        for name, value in own.items():
            if name not in state or state[name].shape != value.shape or state[name].dtype != value.dtype:
                raise InvalidInputError(
                    f"the checkpoint is of another network: {name}",
                    found=f"{state[name].dtype} {list(state[name].shape)}" if name in state else "nothing",
                    allowed=f"{value.dtype} {list(value.shape)}",
                )
        self._check_state(state)
        for name, value in own.items():
            value[...] = state[name]

    def _check_state(self, state: Mapping[str, Array]) -> None:
        """Refuse numbers that the kernels would follow out of their arrays."""
        listed, rows = state["counter"][ROWS], state["rows"]
        starts = [
            range(begin, end, int(row[C_OUT])) for (begin, end), row in zip(self._places, self.net.table, strict=True)
        ]
        fine = (
            0 <= listed <= len(rows)
            and all(0 <= n < len(starts) and w in starts[n] for w, n in rows[:listed].tolist())
            and set(np.flatnonzero(state["listed"]).tolist()) == set(rows[:listed, 0].tolist())
            and len(set(rows[:listed, 0].tolist())) == listed
            and 0 <= state["counter"][PENDING] < self.rule.batch
            and all(np.isfinite(state[name]).all() for name in ("weights", "readout", "threshold"))
            and (state["threshold"] > 0).all()
        )
        if not fine:
            raise InvalidInputError("the checkpoint is damaged: its numbers do not fit", hint="begin the run anew")

    @property
    def thresholds(self) -> list[float]:
        """Of the layers, as they are now."""
        return [float(level) for level in self._state.threshold]

    def weights(self) -> list[Array]:
        """Of the layers, in their projections' layout, as they are now; the read-out's last."""
        return self._unpacked(self._state.weights, self._state.readout)

    def gradients(self) -> list[Array]:
        """What has been summed since the last change of weights; as `weights`."""
        return self._unpacked(self._state.gradient, self._state.readout_gradient)

    def network(self) -> Network:
        """The network with weights and thresholds as they are now."""
        *weights, readout = self.weights()
        return self.chain.with_learned(weights, readout, self.thresholds)

    def _unpacked(self, flat: Array, readout: Array) -> list[Array]:
        found = []
        for n, (begin, end) in enumerate(self._places):
            layer, row = self.chain.layers[n], self.net.table[n]
            block = flat[begin:end].reshape(row[C_IN], row[KERNEL], row[C_OUT])
            shape = layer.projection.connectivity.weights.shape
            if _is_image(self.chain, n):
                found.append(block.transpose(2, 0, 1).reshape(shape).copy())
            else:
                rows = block[:, 0].T
                found.append(_channels_first(rows, layer.source.shape) if n else rows.copy())
        return [*found, _channels_first(readout.T, self._last_shape)]


def _is_image(which: Chain, n: int) -> bool:
    return isinstance(which.layers[n].projection.connectivity, Conv2d)


def _channels_last(weights: Array, shape: tuple[int, ...]) -> Array:
    """Columns of dense weights from C order of an image to positions and channels."""
    if len(shape) != 3:
        return weights
    return weights.reshape(len(weights), shape[0], -1).transpose(0, 2, 1).reshape(len(weights), -1)


def _channels_first(weights: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `_channels_last`."""
    if len(shape) != 3:
        return weights.copy()
    return weights.reshape(len(weights), -1, shape[0]).transpose(0, 2, 1).reshape(len(weights), -1).copy()


def _packed(which: Chain, n: int) -> Array:
    """Weights of a layer, ``[sources' channels, kernel, targets' channels]``."""
    layer = which.layers[n]
    weights = layer.projection.connectivity.weights.astype(np.float64)
    if _is_image(which, n):
        return weights.reshape(*weights.shape[:2], -1).transpose(1, 2, 0)
    # The sources of a dense layer are in the order in which the layer before numbers them; the input's is C order.
    ordered = _channels_last(weights, layer.source.shape) if n else weights
    return ordered.T[:, None]


def _taps(kind: Conv2d) -> tuple[list[int], list[int], list[int]]:
    """For each input position, its output positions and kernel elements: (first, out, kernel)."""
    _, height, width = kind.input_shape
    _, rows, columns = kind.output_shape
    k_h, k_w = kind.weights.shape[2:]
    first, out, kernel = [0], [], []
    for y in range(height):
        for x in range(width):
            for ky in range(k_h):
                oy, ry = divmod(y + kind.padding[0] - ky * kind.dilation[0], kind.stride[0])
                for kx in range(k_w):
                    ox, rx = divmod(x + kind.padding[1] - kx * kind.dilation[1], kind.stride[1])
                    if ry == rx == 0 and 0 <= oy < rows and 0 <= ox < columns:
                        out.append(oy * columns + ox)
                        kernel.append(ky * k_w + kx)
            first.append(len(out))
    return first, out, kernel


def _net(
    which: Chain, rule: EventRule, steps: int, core_of: Mapping[str, Array] | None, arch: Architecture | None
) -> tuple[Net, int]:
    """Pack a network; also how many output positions all layers have."""
    rows, firsts, outs, kernels = [], [], [], []
    weight = tap = listed = places = 0
    at = which.source.size
    start = 0
    for layer in which.layers:
        kind = layer.projection.connectivity
        if isinstance(kind, Conv2d):
            first, out, kernel = _taps(kind)
            c_out, height, width = kind.output_shape
            shape = (kind.input_shape[0], c_out, height * width, int(np.prod(kind.weights.shape[2:])))
        else:
            first, out, kernel = [0, 1], [0], [0]
            shape = (kind.inputs, kind.outputs, 1, 1)
        rows.append([*shape, weight, start, at, places, tap, len(first) - 1])
        firsts += [listed + f for f in first]
        outs += out
        kernels += kernel
        weight += shape[0] * shape[1] * shape[3]
        tap, listed, places = tap + len(first), listed + len(out), places + shape[2]
        start, at = at, at + kind.outputs
    b, left = which.keep, steps - np.arange(steps)
    kappa = (1 - b**left) / (1 - b) / steps if b else np.full(steps, 1 / steps)
    above = -(b ** (left - 1.0)) / steps if rule.name == "std-ed" else kappa
    core, distance, readers = _cores(which, core_of, arch)
    net = Net(
        np.array(rows, np.int64), np.array([layer.keep for layer in which.layers]), np.array(firsts, np.int64),
        np.array(outs, np.int64), np.array(kernels, np.int64), kappa, above, core, distance, readers,
    )  # fmt: skip
    return net, places


def _cores(which: Chain, core_of: Mapping[str, Array] | None, arch: Architecture | None) -> tuple[Array, Array, Array]:
    """Core of each neuron, hops between cores, and the read-out's cores; numbered among the cores in use."""
    nothing = np.zeros(0, np.int64)
    if core_of is None or arch is None:
        return nothing, np.zeros((0, 0, 3), np.int64), nothing
    used = np.unique(np.concatenate([np.asarray(cores) for cores in core_of.values()]))
    distance = np.array([[arch.apart(int(a), int(b))[:3] for b in used] for a in used], np.int64)
    home = [np.full(which.source.size, -1, np.int64)]
    for layer in which.layers:
        cores = np.searchsorted(used, np.asarray(core_of[layer.target.name]))
        home.append(_channels_last(cores[None], layer.target.shape)[0].astype(np.int64))
    readers = np.unique(np.searchsorted(used, np.asarray(core_of[which.readout.target]))).astype(np.int64)
    return np.concatenate(home), distance, readers


def _constants(rule: EventRule, thresholds: Array) -> Constants:
    adapt = rule.adapt
    grid, limit = np.zeros(len(thresholds) + 1), 0.0
    if rule.weight_bits:
        limit = 2.0 ** (rule.weight_bits - 1) - 1
        grid = np.append(thresholds, thresholds[-1]) * rule.weight_range / limit
    return Constants(
        TIMED if rule.name == "std-ed" else LEAKY, int(rule.name == "bptt"), rule.learning_rate, rule.width, rule.slope,
        rule.batch, rule.skip, grid, limit, rule.seed, adapt.window if adapt else 0, adapt.target if adapt else 0.0,
        adapt.lowest if adapt else 0.0, adapt.down if adapt else 1.0, adapt.up if adapt else 1.0, thresholds.copy(),
    )  # fmt: skip
