"""Chains of layers that learn event by event, in floats: MPD-ED, STD-ED, and surrogate gradients as a baseline.

`OnChip` packs a float network (`neurodeploy.network.event_rules.chain`) once, learns from samples in any portions, and
counts what it does. What it holds between two samples is in `OnChip.state`: stored and restored, a run goes on bit for
bit. Any other Program learns in `neurodeploy.hwsim.event_learning.program`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.event_rules import Chain, EventRule, chain
from neurodeploy.network.network import Network, Population
from neurodeploy.program.recording import Decisions

from ..chips.arch import Architecture
from .kernels import KINDS
from .layout import LEAKY, PENDING, ROWS, TIMED, WIDTH, Constants, Spikes, State, Work
from .loop import run_chain
from .tables import Home, Member, Synapses, Tables, build


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
        scores: ``[samples, classes]``.
        counts: int64 ``[samples, layers + 1, kinds]``; the last row is the read-out, kinds are `KINDS`.
    """

    right: Array
    scores: Array
    counts: Array

    @property
    def predicted(self) -> Array:
        """Class of each sample."""
        return np.asarray(self.scores.argmax(axis=1))

    @property
    def tied(self) -> Array:
        """Whether other classes score as high, or the scores are not numbers."""
        best = self.scores == self.scores.max(axis=1, keepdims=True)
        return np.asarray(best.sum(axis=1) != 1)

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
        home = None if core_of is None or arch is None else Home(core_of, arch, self.chain.readout.target)
        self.tables = tables = _tables(self.chain, rule, steps, home)
        self.net = tables.net
        thresholds = np.zeros(tables.neurons)
        for k, layer in enumerate(self.chain.layers, 1):
            thresholds[tables.place(k)] = layer.threshold
        weights = tables.packed([layer.projection.connectivity.weights for layer in self.chain.layers])
        readout = tables.ordered(self._last.name, self.chain.readout.connectivity.weights).T.astype(np.float64)
        self.constants = _constants(self.chain, rule, tables, thresholds)
        self._state = State(
            weights, readout.copy(), thresholds.copy(), np.zeros_like(weights), np.zeros(readout.shape),
            np.zeros(len(weights), np.uint8), np.zeros((tables.rows, 2), np.int64), np.zeros(tables.neurons, np.int64),
            np.zeros(4, np.int64),
        )  # fmt: skip
        if rule.weight_bits:
            grid, (low, high) = self.constants.grid, self.constants.limits[0]
            weights[:] = np.clip(np.rint(weights / grid[:-1]), low, high) * grid[:-1]
            self._state.readout[:] = np.clip(np.rint(readout / grid[-1]), low, high) * grid[-1]
        self._spikes, self._work = pools(tables, steps)
        extent = (steps, tables.neurons) if rule.name == "bptt" else (0, 0)
        self._clocked = np.zeros(extent), np.zeros(extent, np.uint8), np.zeros(extent)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the rows of counts."""
        return (*(layer.target.name for layer in self.chain.layers), "readout")

    @property
    def _last(self) -> Population:
        return self.chain.layers[-1].target

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
        right, scores = np.zeros(len(taken)), np.zeros((len(taken), self.chain.classes))
        counts = np.zeros((len(taken), len(self.net.projections) + 1, len(KINDS)), np.int64)
        if len(taken):
            run_chain(
                self.net, constants, self._state, self._spikes, self._work, *self._clocked, samples.first, neuron,
                samples.labels, taken, int(learning), scores, right, counts,
            )  # fmt: skip
        return Outcome(right, scores, counts)

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
        order = self.tables.order.get(self.chain.source.name)
        if order is None:
            return neuron
        new = np.empty(len(order), np.int32)
        new[order] = np.arange(len(order), dtype=np.int32)
        return new[neuron]

    def state(self) -> dict[str, Array]:
        """All that a run changes, as copies: what a checkpoint keeps."""
        return {name: value.copy() for name, value in self._state._asdict().items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take back what `state` gave.

        Raises:
            InvalidInputError: it is of another network.
        """
        restore(self._state, state, self.tables, self.rule.batch, self.chain.source.size)

    @property
    def thresholds(self) -> list[Array]:
        """Of each layer's neurons, as they are now."""
        found = []
        for k, layer in enumerate(self.chain.layers, 1):
            levels = self._state.threshold[self.tables.place(k)].copy()
            found.append(self.tables.in_network(layer.target.name, levels))
        return found

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
        shapes = [layer.projection.connectivity.weights.shape for layer in self.chain.layers]
        return [*self.tables.unpacked(flat, shapes), self.tables.in_network(self._last.name, readout.T.copy())]


def pools(tables: Tables, steps: int) -> tuple[Spikes, Work]:
    """Room for the events of a sample, and scratch."""
    sizes = [tables.place(k).stop - tables.place(k).start for k in range(len(tables.net.populations))]
    base = np.concatenate([[0], np.cumsum(np.array(sizes) * steps)]).astype(np.int64)
    pool, total, last = int(base[-1]), tables.neurons, sizes[-1]
    spikes = Spikes(
        base, np.zeros((len(sizes), steps + 1), np.int64), np.zeros(pool, np.int32), np.zeros(pool), np.ones(pool),
        np.zeros(pool),
    )  # fmt: skip
    return spikes, Work(
        np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(total),
        np.zeros(tables.positions, np.int64), np.zeros(tables.positions, np.int64), np.zeros(last, np.int64),
        np.zeros(last), np.zeros(last), np.zeros(len(tables.net.distance), np.uint8),
    )  # fmt: skip


def restore(own: State, state: Mapping[str, Array], tables: Tables, batch: int, sources: int) -> None:
    """Take a state back, and nothing of it where it is another's, or holds what kernels would follow out of arrays.

    Args:
        own: that it replaces.
        batch: samples between two changes of weights.
        sources: neurons of sources, which have no threshold.

    Raises:
        InvalidInputError: it is of another network, or damaged.
    """
    for name, value in own._asdict().items():
        if name not in state or state[name].shape != value.shape or state[name].dtype != value.dtype:
            raise InvalidInputError(
                f"the checkpoint is of another network: {name}",
                found=f"{state[name].dtype} {list(state[name].shape)}" if name in state else "nothing",
                allowed=f"{value.dtype} {list(value.shape)}",
            )
    listed, rows = state["counter"][ROWS], state["rows"]
    starts = [
        range(part.start, part.stop, int(row[WIDTH]))
        for part, row in zip(tables.parts, tables.net.projections, strict=True)
    ]
    fine = (
        0 <= listed <= len(rows)
        and all(0 <= n < len(starts) and w in starts[n] for w, n in rows[:listed].tolist())
        and set(np.flatnonzero(state["listed"]).tolist()) == set(rows[:listed, 0].tolist())
        and len(set(rows[:listed, 0].tolist())) == listed
        and 0 <= state["counter"][PENDING] < batch
        and all(np.isfinite(state[name]).all() for name in ("weights", "readout", "threshold"))
        and (state["threshold"][sources:] > 0).all()
    )
    if not fine:
        raise InvalidInputError("the checkpoint is damaged: its numbers do not fit", hint="begin the run anew")
    for name, value in own._asdict().items():
        value[...] = state[name]


def _tables(which: Chain, rule: EventRule, steps: int, home: Home | None) -> Tables:
    timed = rule.name == "std-ed"
    members = [Member(which.source)]
    for layer in which.layers:
        keep = (1.0, layer.keep) if timed else (layer.keep, 0.0)
        members.append(Member(layer.target, TIMED if timed else LEAKY, keep))
    synapses = [Synapses(layer.projection, sends_back=n > 0) for n, layer in enumerate(which.layers)]
    b, left = which.keep, steps - np.arange(steps)
    kappa = (1 - b**left) / (1 - b) / steps if b else np.full(steps, 1 / steps)
    above = -(b ** (left - 1.0)) / steps if timed else kappa
    return build(members, synapses, kappa, above, home)


def _constants(which: Chain, rule: EventRule, tables: Tables, thresholds: Array) -> Constants:
    adapt, layers, count = rule.adapt, len(which.layers), len(tables.packing)
    grid, limit = np.zeros(0), 0.0
    if rule.weight_bits:
        limit = 2.0 ** (rule.weight_bits - 1) - 1
        steps = [layer.threshold * rule.weight_range / limit for layer in which.layers]
        sizes = [part.stop - part.start for part in tables.parts]
        grid = np.concatenate([*(np.full(n, step) for n, step in zip(sizes, steps, strict=True)), [steps[-1]]])
    every = np.ones(layers + 1)
    return Constants(
        int(rule.name == "bptt"), rule.learning_rate * np.ones(count + 1), rule.width * every, rule.slope * every,
        rule.batch, rule.skip, grid, np.tile([-limit, limit], (count + 1, 1)), rule.seed,
        adapt.window if adapt else 0, adapt.target if adapt else 0.0, adapt.lowest if adapt else 0.0,
        adapt.down if adapt else 1.0, adapt.up if adapt else 1.0, int(adapt is not None and adapt.each == "neuron"),
        thresholds.copy(), np.ones(layers + 1, np.int64),
    )  # fmt: skip
