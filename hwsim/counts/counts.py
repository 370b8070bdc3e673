"""What a run did, in exact integers, whatever it is later priced at.

A *message* is one spike sent to one core that holds at least one of its synapses (a multicast to n cores is n
messages). A *synaptic operation* (SOP) is one stored synapse walked for one arriving spike; `nonzero_sops` leaves out
synapses whose weight is zero. Synapses are read in words (of W bits, `limits.synapse_word_bits`) from where
`neurodeploy.program.memory` stores them: a message that finds n synapses of b bits in a matrix or a list reads
ceil(n b / W) *words*; of a shared kernel, it reads a row of c weights, one for each channel on the core, for each
position that it reaches, n / c rows of ceil(c b / W) words. A neuron *update* happens for every mapped neuron
in every chip step, while the pipeline fills and empties too; it is *active* where the neuron was not at rest (its
arriving current, bias, v, or what the decay leaves of its u is not 0; in floats it is active where anything arrived,
also where it added up to 0, which integers do not tell). A neuron that takes several of the chip's (compartments) is
updated that often, all active where it is; those of a MAX of currents that stand beside the soma are active, and
touched, where something arrives at them, and store nothing from one step to the next. A neuron is *touched* where
something arrived (what the MAX passes on, with one), and *changed* where a stored variable took another value: what a
chip that updates on events alone, and one that writes back only what is new, would do.

A core sends its spikes within the chip step in which its neurons fire, and the receivers walk their synapses before
the barrier that ends this step, so messages and synaptic work belong to the step of sending (what they add up acts one
step later, or more with a delay).

Where synapses learn, the learning engine's work at the end of an epoch is counted by core, too (see
`neurodeploy.program.recording.LEARNING_WORK`): synapses *visited*, those of them that *changed*, *products* computed,
and what traces got and lost, in the chip step in which the last spike of the epoch was heard. A source's traces are
kept on each core that holds synapses of its projection.

All of it follows from the events and from tables that depend on the network and its placement alone: the number of
synapses that each neuron has on each core. So nothing here walks a synapse. A `Counter` makes the tables once and
counts any number of runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d, Sparse
from neurodeploy.network.network import Projection
from neurodeploy.program.count_kinds import counted
from neurodeploy.program.limits import beside, compartments
from neurodeploy.program.memory import KERNEL, LIST, MATRIX, WEIGHT_BITS, stored
from neurodeploy.program.program import Program
from neurodeploy.program.recording import LEARNING_WORK, Events, Recording
from neurodeploy.program.routing import fan_out
from neurodeploy.program.schedule import schedule

from .kernels import count_links, count_routes, count_sent, sum_hops, sum_links

if TYPE_CHECKING:
    from ..chips.arch import Architecture

LAYER, IN, OUT, FABRIC = counted("layer"), counted("receiving"), counted("sending"), counted("fabric")
CORE = (*IN, *OUT)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of one run.

    Args:
        populations: rows of the arrays in `layer`.
        cores: rows of the arrays in `core`.
        layer: for each name in `LAYER`, ``[populations, network steps, samples]``; synaptic operations are counted at
            the population that receives them, in the step in which they act.
        core: for each name in `CORE`, ``[cores, chip steps, samples]``. `sops` are all synaptic operations,
            `sops_list` and `sops_kernel` those of synapses stored as a list or a shared kernel; of the two,
            `nonzero_list` and `nonzero_kernel` have a weight that is not zero.
        fabric: for each name in `FABRIC`, ``[chip steps, samples]``: messages that stay within a tile, hops of all
            messages on a chip over east-west and north-south links (XY routing), messages to another chip (whose hops
            are not counted), and input events and messages that come from the host (nor theirs, since where the host
            sits is not known).
        chips: over which the cores number on.
        links: messages over each directed link, ``[links, chip steps, samples]``, where they were asked for; see
            `Architecture.link`.
        learning: for each name in `LEARNING_WORK`, ``[cores, chip steps, samples]``; empty where nothing learns.
    """

    populations: tuple[str, ...]
    cores: tuple[int, ...]
    layer: Mapping[str, Array]
    core: Mapping[str, Array]
    fabric: Mapping[str, Array]
    chips: int = 1
    links: Array | None = None
    learning: Mapping[str, Array] = field(default_factory=dict)


def count(program: Program, recording: Recording, arch: Architecture, *, links: bool = False) -> Counts:
    """Count what a recorded run did on the chip; see `Counter`."""
    return Counter(program, arch).count(recording, links=links)


def check_cores(cores: tuple[int, ...], chips: int, arch: Architecture) -> None:
    """Refuse cores that so many chips do not have.

    Raises:
        InvalidInputError: names the core.
    """
    if cores and cores[-1] >= arch.cores * chips:
        raise InvalidInputError(
            f"chip {arch.name!r} has no core {cores[-1]}",
            found=f"a Program on {len(cores)} cores, up to number {cores[-1]}",
            allowed=f"0 to {arch.cores * chips - 1}",
            hint=f"place the network on this chip: neurodeploy compile ... --chip {arch.name}",
        )


@dataclass(frozen=True, eq=False)
class Routes:
    """Where the events of one projection go.

    Args:
        projection: which it is.
        first: messages of source neuron i are entries ``first[i] : first[i + 1]``.
        slot: of each message, the row of its core in `cores`.
        synapses, nonzero: of each message; `nonzero` is empty where no weight is zero.
        words: of synaptic memory that each message reads.
        cores: rows of `Counter.cores`.
        encoding: how each of `cores` stores them, an index of `ENCODINGS`.
        hops: by source neuron, of all messages of a spike: hops east-west and north-south, messages within the tile
            and between chips, ``[neurons, 4]``.
    """

    projection: Projection
    first: Array
    slot: Array
    synapses: Array
    nonzero: Array
    words: Array
    cores: Array
    encoding: Array
    hops: Array

    @cached_property
    def _largest(self) -> int:
        """Largest count of a cell if all source neurons send."""
        each = np.maximum(self.synapses.astype(np.int64), self.words)
        total = np.zeros(len(self.cores), np.int64)
        np.add.at(total, self.slot, each)
        return int(total.max(initial=0))

    def portions(self, neuron: Array) -> Iterator[slice]:
        """The events of these source neurons in portions of which no count of a cell can reach `MOST`.

        A neuron sends at most once in a step, so where all of them together stay below it, one portion is enough.
        """
        if self._largest < MOST:
            yield slice(0, len(neuron))
            return
        each = np.maximum(self.synapses.astype(np.int64), self.words)
        ends = np.concatenate([[0], np.cumsum(each)])
        sent = np.cumsum((ends[self.first[1:]] - ends[self.first[:-1]])[neuron])
        begin = 0
        while begin < len(neuron):
            before = int(sent[begin - 1]) if begin else 0
            end = max(int(np.searchsorted(sent, before + MOST)), begin + 1)
            yield slice(begin, end)
            begin = end


ENCODINGS = (MATRIX, LIST, KERNEL)
LOW, MOST = (1 << 32) - 1, 1 << 31
"""Two counts share a number while events are walked; neither may reach the second of these."""


class Counter:
    """Counts the runs of one Program on one chip.

    Args:
        program: placed on ``arch``.
        arch: for the distances between cores and the width of an index.

    Raises:
        InvalidInputError: a core is not on the chip.
    """

    def __init__(self, program: Program, arch: Architecture) -> None:
        self.program, self.arch = program, arch
        self.network, self.times = program.network, schedule(program.network)
        self.chips = int(program.provenance.get("chips", "1"))
        check_cores(program.cores, self.chips, arch)
        self.cores = program.cores
        self.row = {core: row for row, core in enumerate(self.cores)}
        self.core_row = {
            name: np.searchsorted(np.array(self.cores), cores).astype(np.int32)
            for name, cores in program.core_of.items()
        }
        self.routes = tuple(self._routes(p) for p in self.network.projections)

    def _routes(self, projection: Projection) -> Routes:
        home = self.network.by_name[projection.target].at(projection.port, self.core_row[projection.target])
        table = fan_out(projection, home)
        rows = np.unique(home)
        slot = np.searchsorted(rows, table.cores).astype(np.uint16 if len(rows) < 1 << 16 else np.int32)
        how = self._encodings(projection, home, rows, slot, table.synapses)
        words = self._words(projection, home, rows, how, slot, table.synapses)
        narrow = np.uint16 if table.synapses.max(initial=0) < 1 << 16 else np.int32
        synapses = table.synapses.astype(narrow)
        nonzero = table.nonzero.astype(narrow)
        neurons = projection.connectivity.inputs
        hops = np.zeros((neurons, 4), np.int32)
        apart = self._apart(projection, rows)
        if projection.source in self.core_row:
            sum_hops(table.indptr, slot, self.core_row[projection.source], apart, hops)
        return Routes(
            projection,
            table.indptr,
            slot,
            synapses,
            nonzero if (nonzero != synapses).any() else nonzero[:0],
            words.astype(np.uint16 if words.max(initial=0) < 1 << 16 else np.int32),
            rows,
            np.array([ENCODINGS.index(e) for e in how], np.int64),
            hops,
        )

    def _encodings(self, projection: Projection, home: Array, rows: Array, slot: Array, synapses: Array) -> list[str]:
        """How each core stores its synapses."""
        bits = self.arch.index_bits
        if not isinstance(projection.connectivity, Sparse):
            return [stored(projection, np.flatnonzero(home == row), bits).encoding for row in rows]
        there = np.bincount(slot, synapses, minlength=len(rows))
        pairs = np.bincount(slot, minlength=len(rows)) * np.bincount(home, minlength=len(self.cores))[rows]
        return [
            LIST if n < most else stored(projection, np.flatnonzero(home == row), bits).encoding
            for row, n, most in zip(rows, there, pairs, strict=True)
        ]

    def _words(
        self, projection: Projection, home: Array, rows: Array, how: list[str], slot: Array, synapses: Array
    ) -> Array:
        """Words of synaptic memory that each message reads."""
        word = self.arch.word_bits
        bits = np.array([WEIGHT_BITS + (self.arch.index_bits if e == LIST else 0) for e in how])
        words = -(-synapses * bits[slot] // word)
        kind = projection.connectivity
        if isinstance(kind, Conv2d):
            plane = kind.output_shape[1] * kind.output_shape[2]
            channels = np.array([len(np.unique(np.flatnonzero(home == row) // plane)) for row in rows])
            kernel = np.array([e == KERNEL for e in how])[slot]
            rowwise = -(-synapses // channels[slot]) * -(-channels * WEIGHT_BITS // word)[slot]
            words = np.where(kernel, rowwise, words)
        return np.asarray(words)

    def _apart(self, projection: Projection, rows: Array) -> Array:
        """Hops east-west and north-south, within the tile, between chips: ``[source rows, target rows, 4]``."""
        apart = np.zeros((len(self.cores), len(rows), 4), np.int32)
        for origin in np.unique(self.core_row.get(projection.source, np.zeros(0, np.int32))):
            for slot, row in enumerate(rows):
                apart[origin, slot] = self.arch.apart(self.cores[origin], self.cores[row])
        return apart

    def count(self, recording: Recording, *, links: bool = False) -> Counts:
        """Count a run.

        Args:
            recording: from a back-end that counts active updates (hwsim).
            links: count the messages over each link too.

        Raises:
            InvalidInputError: the recording has no active updates.
        """
        network = self.network
        missing = [p.name for p in network.populations if not p.external and p.name not in recording.active]
        if missing:
            raise InvalidInputError(
                f"the recording of {recording.backend} does not count active updates",
                found=f"none for {', '.join(missing)}",
                hint="count on a run of hwsim; the back-ends' spikes are equal",
            )
        tally = _Tally(self, recording, links)
        for population in network.populations:
            tally.neurons(population.name)
        for routes in self.routes:
            tally.routes(routes)
        for projection in network.projections:
            if projection.local_rule:
                tally.learning(projection)
        return tally.counts()

    @cached_property
    def link_routes(self) -> tuple[tuple[Array, Array, Array], ...]:
        """For each projection, the links that the messages of a source neuron take: (first, link, messages)."""
        return tuple(self._links(routes) for routes in self.routes)

    def _links(self, routes: Routes) -> tuple[Array, Array, Array]:
        home = self.core_row.get(routes.projection.source)
        if home is None:
            none = np.zeros(0, np.int32)
            return np.zeros(routes.projection.connectivity.inputs + 1, np.int64), none, none
        paths: list[int] = []
        ends = np.zeros((len(self.cores) * len(routes.cores)), np.int64)
        used = set(np.unique(home).tolist())
        for origin, core in enumerate(self.cores):
            for slot, row in enumerate(routes.cores):
                if origin in used:
                    paths += self.arch.links(core, self.cores[row])
                ends[origin * len(routes.cores) + slot] = len(paths)
        first = np.concatenate([[0], ends])
        return sum_links(
            routes.first, routes.slot, home, len(routes.cores), first, np.array(paths, np.int32),
            self.arch.link_count * self.chips,
        )  # fmt: skip


class _Tally:
    """The arrays of `Counts` while they are filled."""

    def __init__(self, counter: Counter, recording: Recording, links: bool) -> None:
        self.counter, self.recording = counter, recording
        self.rows = {p.name: row for row, p in enumerate(counter.network.populations)}
        steps, samples = recording.steps, recording.samples
        chip_steps, cores = steps + counter.times.depth, len(counter.cores)
        self.layer = {name: np.zeros((len(self.rows), steps, samples), np.int64) for name in LAYER}
        self.incoming = np.zeros((chip_steps, samples, cores, len(IN)), np.int64)
        self.outgoing = np.zeros((chip_steps, samples, cores, len(OUT)), np.int64)
        self.fabric = {name: np.zeros((chip_steps, samples), np.int64) for name in FABRIC}
        self.links = (
            np.zeros((chip_steps, samples, counter.arch.link_count * counter.chips), np.int64) if links else None
        )
        learns = any(p.local_rule for p in counter.network.projections)
        self.learned = np.zeros((chip_steps, samples, len(LEARNING_WORK) if learns else 0, cores), np.int64)
        self.sent: dict[str, Events] = {}

    def counts(self) -> Counts:
        """What was counted."""
        core = {name: self.incoming[..., k].transpose(2, 0, 1) for k, name in enumerate(IN)}
        core |= {name: self.outgoing[..., k].transpose(2, 0, 1) for k, name in enumerate(OUT)}
        links = None if self.links is None else self.links.transpose(2, 0, 1)
        learned = LEARNING_WORK if self.learned.shape[2] else ()
        return Counts(
            populations=tuple(self.rows),
            cores=self.counter.cores,
            layer=self.layer,
            core=core,
            fabric=self.fabric,
            chips=self.counter.chips,
            links=links,
            learning={name: self.learned[:, :, k].transpose(2, 0, 1) for k, name in enumerate(learned)},
        )

    def learning(self, projection: Projection) -> None:
        """What the synapses of one projection learned."""
        lag = self.counter.times.lag[projection.source]
        used = np.unique(self.counter.core_row[projection.target])
        work = self.recording.learning_work[projection.name]
        self.learned[lag : lag + len(work), :, :, used] += work

    def neurons(self, name: str) -> None:
        """Updates and events of one population."""
        counter, recording = self.counter, self.recording
        row, lag = self.rows[name], counter.times.lag[name]
        window = slice(lag, lag + recording.steps)
        population = counter.network.by_name[name]
        home = counter.core_row.get(name)
        if not population.external:
            assert home is not None
            taken = compartments(counter.network, name, counter.arch.arithmetic.of_subtract)
            used = np.unique(home)
            sizes = np.bincount(home, taken, len(counter.cores)).astype(np.int64)[used]
            self.layer["updates"][row] = taken.sum()
            self.outgoing[:, :, used, OUT.index("updates")] += sizes
            each = int((taken - beside(counter.network, name)).max())
            for kind in ("active", "touched", "changed"):
                here = getattr(recording, kind)[name] * each
                if kind != "changed" and name in recording.reached:
                    here = here + recording.reached[name]
                self.layer[f"{kind}_updates"][row] = here.sum(axis=2)
                self.outgoing[window, :, used, OUT.index(f"{kind}_updates")] += here
        if not self._heard(name):
            return
        events = self._events(name)
        cell = events.time.astype(np.int64) * events.samples + events.sample
        here = np.bincount(cell, minlength=recording.steps * recording.samples)
        self.layer["events_out"][row] = here.reshape(recording.steps, recording.samples)
        if home is None:
            self.fabric["host_events"][window] += self.layer["events_out"][row]
        else:
            count_sent(events.time, events.sample, events.neuron, lag, home, self.outgoing, OUT.index("events_out"))

    def _heard(self, name: str) -> bool:
        network = self.counter.network
        return network.by_name[name].spiking or any(p.source == name for p in network.projections)

    def _events(self, name: str) -> Events:
        """What a population has sent; a read-out that others hear sends its potential in every step."""
        population = self.counter.network.by_name[name]
        if population.spiking:
            return self.recording.spikes[name]
        if name not in self.sent:
            shift = population.neuron.send_shift
            potential = self.recording.states["v"][name]
            self.sent[name] = Events.from_dense(potential >> shift if shift else potential)
        return self.sent[name]

    def routes(self, routes: Routes) -> None:
        """Synaptic operations and messages of one projection. Events that act after the run are not counted."""
        counter, projection = self.counter, routes.projection
        events, steps, samples = self._events(projection.source), self.recording.steps, self.recording.samples
        delay = projection.delay
        if steps <= delay:
            return
        lag = counter.times.lag[projection.source]
        home = counter.core_row.get(projection.source)
        used = int(np.searchsorted(events.time, steps - delay))
        time, sample, neuron = (a[:used] for a in (events.time, events.sample, events.neuron))
        hops = np.zeros((steps, samples, 4), np.int64)
        walked = np.zeros((4, steps, samples, len(routes.cores)), np.int64)
        for part in routes.portions(neuron):
            here = np.zeros((steps, samples, len(routes.cores), 2), np.int64)
            count_routes(
                time[part], sample[part], neuron[part], routes.first, routes.slot, routes.synapses, routes.nonzero,
                routes.words, routes.hops, home if home is not None else np.zeros(0, np.int32), lag, here, hops,
                self.outgoing, OUT.index("messages_out"),
            )  # fmt: skip
            walked += (here[..., 1] >> 32, here[..., 0] >> 32, here[..., 1] & LOW, here[..., 0] & LOW)
        window = slice(lag, lag + steps)
        at = self.incoming[window]
        received = dict(zip(("messages_in", "sops", "nonzero_sops", "words"), walked, strict=True))
        for name, values in received.items():
            at[:, :, routes.cores, IN.index(name)] += values
        for encoding, name in ((1, "list"), (2, "kernel")):
            which = np.flatnonzero(routes.encoding == encoding)
            if len(which):
                for own, whole in ((f"sops_{name}", "sops"), (f"nonzero_{name}", "nonzero_sops")):
                    at[:, :, routes.cores[which], IN.index(own)] += received[whole][:, :, which]
        source, target = self.rows[projection.source], self.rows[projection.target]
        totals = {name: values.sum(axis=2) for name, values in received.items()}
        self.layer["messages_out"][source] += totals["messages_in"]
        for name in ("sops", "nonzero_sops", "words"):
            self.layer[name][target, delay:] += totals[name][: steps - delay]
        self.layer["events_in"][target, delay:] += self.layer["events_out"][source, : steps - delay]
        if home is None:
            self.fabric["host_messages"][window] += totals["messages_in"]
            return
        for column, name in enumerate(("hops_east_west", "hops_north_south", "within_tile", "between_chips")):
            self.fabric[name][window] += hops[:, :, column]
        if self.links is not None:
            first, link, times = counter.link_routes[counter.routes.index(routes)]
            count_links(time, sample, neuron, lag, first, link, times, self.links)
