"""The `event` tier of timing: every message of a step, one by one, through a mesh with finite buffers.

Within a chip step each core walks its neurons in order (populations in the network's order, neurons by index). An
update takes t_inactive, or t_active where the neuron was not at rest; a spike adds t_spike, and each of its messages,
one for every core that holds one of its synapses, t_axon_out. A message enters its router's injection buffer, crosses
one link a hop (XY) into that link's buffer, and waits in the queue of its target core, which works through its queue in
order of arrival: t_axon_in, and t_e for each synaptic operation. A core sends and receives side by side.

Buffers are finite: `pipeline.link_buffer` messages at the end of each link and at each core's way into the network,
`pipeline.core_queue` at a core. A message moves on only when there is room ahead and what was before it in its buffer
has left (first in, first out); a core whose injection buffer is full stops. So a slow core holds up the links that lead
to it, and whoever else uses them. A link passes one message in each `pipeline.link_message`.

Messages claim buffers in the order in which their cores were ready to send them, oldest first, which lets one message
be followed to its end before the next one starts: all times are found in one pass, without a queue of events for every
hop. The step ends when the last core is done, and the barrier follows. Spikes from the host (whose place is not known)
stand in the queues when the step begins. Time that dendrites take (`latency.dendrite_update`, which no file of ours
prices) is not in this tier, and `Timing.missing` says so.

Beside SANA-FE's flit-level model (BookSim) of the same activity, step times of this one differ by 1.7 % in the mean on
its DVS gesture network, where its own `detailed` model differs by 6 % (``benchmarks/peer_sanafe.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.program.limits import compartments
from neurodeploy.program.recording import Recording

from ..counts.counts import ENCODINGS, Counter, Counts
from ..engine import Simulator
from ..function import neuron_kernels
from ..function.neuron_kernels import compiled
from .tiers import RECEIVING, SENDING, Timing, finished, parallel_timing

LOG = ("source", "target", "neuron", "ready", "sent", "arrived", "begun", "done")
"""Columns of a log of messages; cores are rows of `Counts.cores`, times in ns from the step's begin."""


@dataclass(frozen=True, eq=False)
class Message:
    """Columns of the log of one step; see `LOG`."""

    source: Array
    target: Array
    neuron: Array
    ready: Array
    sent: Array
    arrived: Array
    begun: Array
    done: Array


class Mesh:
    """A Program's messages on a chip, prepared to time many runs.

    Args:
        simulator: of the Program.
        counter: of the Program on the chip.

    Raises:
        InvalidInputError: the Program is spread over several chips.
    """

    def __init__(self, simulator: Simulator, counter: Counter) -> None:
        if counter.chips > 1:
            raise InvalidInputError(
                "the event tier of timing knows one chip only",
                found=f"{counter.chips} chips",
                hint="use the core or link tier",
            )
        self.simulator, self.counter, self.arch = simulator, counter, counter.arch
        network, flat = counter.network, simulator.flat
        self.sources = [p for p in network.populations if p.external and p.name in counter.core_row]
        self.columns: dict[str, slice] = {}
        at = 0
        for population in [p for p in network.populations if p.name in flat.slots] + self.sources:
            self.columns[population.name] = slice(at, at + population.size)
            at += population.size
        self.neurons = at
        self._order()
        self._messages()
        self._routes()

    def _order(self) -> None:
        """Neurons by core, in the order in which a core walks them."""
        counter, flat, of_subtract = self.counter, self.simulator.flat, self.arch.arithmetic.of_subtract
        columns, homes, lags, works = [], [], [], []
        for population in counter.network.populations:
            name = population.name
            if name in self.columns:
                own = np.arange(population.size)
                if name in flat.order:
                    own = np.argsort(flat.order[name])
                columns.append(self.columns[name].start + own)
                homes.append(counter.core_row[name])
                lags.append(np.full(population.size, counter.times.lag[name]))
                none = np.zeros(population.size, np.int64)
                works.append(none if population.external else compartments(counter.network, name, of_subtract))
        home = np.concatenate(homes)
        by_core = np.argsort(home, kind="stable")
        self.order = np.concatenate(columns)[by_core].astype(np.int32)
        self.lag = np.concatenate(lags)[by_core].astype(np.int32)
        self.works = np.concatenate(works)[by_core].astype(np.int32)
        self.first = np.searchsorted(home[by_core], np.arange(len(counter.cores) + 1)).astype(np.int64)
        # Runs of neurons with one lag, so that a step looks at one row of flags a run.
        cut = np.flatnonzero((np.diff(self.lag) != 0) | (np.diff(self.works) != 0)) + 1
        self.runs = np.unique(np.concatenate([[0, len(self.order)], cut, self.first])).astype(np.int64)

    def _messages(self) -> None:
        """Target and receiving time of every message that a neuron's spike takes."""
        counter, flat = self.counter, self.simulator.flat
        price = {name: self.arch.ns(getattr(self.arch.latency, name)) or 0.0 for name in (*RECEIVING, *SENDING)}
        self.price = price
        by_encoding = np.array(
            [price["synaptic_operation"], price["synaptic_operation_list"], price["synaptic_operation_kernel"]]
        )
        assert len(ENCODINGS) == len(by_encoding)
        sizes = np.zeros(self.neurons, np.int64)
        parts = []
        self.host = []
        for routes in counter.routes:
            takes = price["axon_in"] + routes.synapses * by_encoding[routes.encoding[routes.slot]]
            takes = takes + routes.words * price["synaptic_word"]
            name = routes.projection.source
            target = routes.cores[routes.slot].astype(np.int32)
            if name not in self.columns:
                self.host.append((name, routes.projection.delay, routes.first, target, takes))
                continue
            count = np.diff(routes.first)
            order = flat.order.get(name, np.arange(len(count)))
            sizes[self.columns[name]] += count[order]
            parts.append((self.columns[name].start + np.arange(len(count)), routes.first, order, target, takes))
        self.message = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.target = np.zeros(self.message[-1], np.int32)
        self.takes = np.zeros(self.message[-1])
        filled = self.message[:-1].copy()
        for column, first, order, target, takes in parts:
            place_messages(column, first, order, target, takes, filled, self.target, self.takes)

    def _routes(self) -> None:
        """Links between all pairs of used cores' tiles, and their latencies."""
        arch, cores = self.arch, self.counter.cores
        tiles = [arch.tile_of(core) for core in cores]
        used = sorted(set(tiles))
        self.tile = np.array([used.index(tile) for tile in tiles], np.int32)
        first, links = [0], []
        each = arch.mesh.cores_per_tile.value
        for a in used:
            for b in used:
                links += list(arch.links(a * each, b * each))
                first.append(len(links))
        self.route_first, self.route = np.array(first, np.int64), np.array(links, np.int32)
        hops = [arch.ns(arch.latency.hop_east_west) or 0.0, arch.ns(arch.latency.hop_north_south) or 0.0]
        self.hop = np.array([hops[0], hops[0], hops[1], hops[1]] * arch.mesh.tiles)

    def time(self, recording: Recording, counts: Counts) -> Timing:
        """Return the times of a run in the `event` tier.

        Args:
            recording: of the simulator with ``flags=True``.
            counts: of the same run.

        Raises:
            InvalidInputError: the recording has no flags.
        """
        ends, bound, _ = self._walk(recording, counts)
        return self.finished("event", counts, ends, bound)

    def finished(self, tier: str, counts: Counts, ends: Array, bound: Array) -> Timing:
        """A `Timing` from the working time of every step and the core that ends it."""
        base = parallel_timing(replace(counts, learning={}), self.arch)
        learned = bool(counts.learning) and bool(counts.learning["visited"].any())
        missing = (*base.missing, *(("dendrite_update",) if self.price["dendrite_update"] else ()))
        missing = (*missing, *(("learning_update",) if learned else ()))
        terms = {name: value for name, value in base.terms.items() if name != "barrier"}
        terms["network"] = float(ends.sum() / ends.shape[1]) - sum(terms.values())
        return finished(tier, counts, self.arch, ends, bound, terms, base.core_ns, missing)

    def messages(self, flags: Array, chip_steps: int) -> Array:
        """Messages that cores send, ``[chip steps, samples]``: those too that act after the end of the run."""
        sent = np.zeros((chip_steps, flags.shape[1]), np.int64)
        sizes = np.diff(self.message)
        for lag in np.unique(self.lag):
            columns = self.order[self.lag == lag]
            sent[lag : lag + len(flags)] += ((flags[:, :, columns] & neuron_kernels.FIRED) > 0) @ sizes[columns]
        return sent

    def neuron(self, column: int) -> tuple[str, int]:
        """Population and index of a neuron in the log."""
        for name, place in self.columns.items():
            if place.start <= column < place.stop:
                order = self.simulator.flat.order.get(name)
                return name, column - place.start if order is None else int(order[column - place.start])
        raise IndexError(column)

    def log(self, recording: Recording, counts: Counts, step: int, sample: int = 0) -> Message:
        """All messages of one chip step, in the order in which they were ready to be sent."""
        _, _, log = self._walk(recording, counts, step, sample)
        return Message(*log.T)

    def given(self, recording: Recording, counts: Counts) -> tuple[Array, Array]:
        """Marks of all neurons, ``[steps, samples, neurons]``, and the work that events from the host give to cores.

        Raises:
            InvalidInputError: the recording has no flags.
        """
        if recording.flags is None:
            raise InvalidInputError(
                "the recording does not say when neurons were active", hint="run the simulator with flags=True"
            )
        flags = recording.flags
        if self.sources:
            given = [recording.spikes[p.name].dense().astype(np.uint8) * neuron_kernels.FIRED for p in self.sources]
            flags = np.concatenate([flags, *given], axis=2)
        chip_steps, samples = counts.core["updates"].shape[1:]
        waiting = np.zeros((chip_steps, samples, len(counts.cores)))
        for name, delay, first, target, takes in self.host:
            events, lag = recording.spikes[name], self.counter.times.lag[name]
            queue_host(
                events.time, events.sample, events.neuron, recording.steps - delay, lag, first, target, takes, waiting
            )
        return flags, waiting

    def _walk(
        self, recording: Recording, counts: Counts, step: int = -1, sample: int = 0
    ) -> tuple[Array, Array, Array]:
        flags, waiting = self.given(recording, counts)
        chip_steps, samples = waiting.shape[:2]
        pipeline, price = self.arch.pipeline, self.price
        ends = np.zeros((chip_steps, samples))
        bound = np.zeros((chip_steps, samples), np.int64)
        messages = 0 if step < 0 else self.messages(flags, chip_steps)[step, sample]
        log = np.zeros((messages, len(LOG)))
        walk(
            flags, self.order, self.lag, self.works, self.first, self.runs, self.message, self.target, self.takes,
            (price["neuron_update_inactive"], price["neuron_update_active"], price["spike_out"], price["axon_out"]),
            self.tile, self.route_first, self.route, self.hop, self.arch.ns(pipeline.link_message) or 0.0,
            pipeline.link_buffer.value, pipeline.core_queue.value, waiting, ends, bound, step, sample, log,
        )  # fmt: skip
        return ends, bound, log


@compiled
def place_messages(
    column: Array,
    first: Array,
    order: Array,
    target: Array,
    takes: Array,
    filled: Array,
    targets: Array,
    all_takes: Array,
) -> None:
    """Copy the messages of one projection to their neurons' places."""
    for n in range(len(column)):
        i = order[n]
        for k in range(first[i], first[i + 1]):
            at = filled[column[n]]
            targets[at] = target[k]
            all_takes[at] = takes[k]
            filled[column[n]] = at + 1


@compiled
def queue_host(
    time: Array, sample: Array, neuron: Array, steps: int, lag: int, first: Array, target: Array, takes: Array,
    waiting: Array,
) -> None:  # fmt: skip
    """Add the work that events from the host give to cores."""
    for e in range(len(time)):
        if time[e] < steps:
            at = waiting[time[e] + lag, sample[e]]
            for k in range(first[neuron[e]], first[neuron[e] + 1]):
                at[target[k]] += takes[k]


@compiled
def _renew(leaf: int, time: float, times: Array, winners: Array) -> None:
    """Give a core another time in the tree that finds the earliest, ``winners[1]``; of equal ones the lower number.

    Args:
        times, winners: ``[2 leaves]``; node n stands above nodes 2 n and 2 n + 1.
    """
    at = leaf + len(times) // 2
    times[at] = time
    winner = leaf
    while at > 1:
        other = at ^ 1
        beside = times[other]
        wins = beside < time or (beside == time and other < at)
        winner = winners[other] if wins else winner
        time = beside if wins else time
        at >>= 1
        times[at] = time
        winners[at] = winner


@compiled
def _later(a: float, b: float) -> float:
    """The larger one, by selection: which one it is cannot be foreseen."""
    return a if a > b else b


@compiled
def own_work(
    flags: Array, step: int, sample: int, order: Array, lag: Array, works: Array, first: Array, runs: Array,
    message: Array, price: tuple[float, float, float, float], fired: Array, gap: Array, of_core: Array, tail: Array,
    upto: Array, place: Array,
) -> None:  # fmt: skip
    """What each core does by itself in one step: its spikes that somebody hears, and the work between them.

    Args:
        flags .. price: as in `walk`.
        fired, gap: written: neurons that fire, by core, and the work before each of them since the one before.
        of_core: written: where each core begins in them.
        tail: written: the work of each core after its last spike.
        upto, place: scratch, as long as `fired`.
    """
    t_inactive, t_active, t_spike, _ = price
    cores = len(first) - 1
    count, r = 0, 0
    for c in range(cores):
        of_core[c] = count
        work = 0.0
        while runs[r] < first[c + 1]:
            low, high = runs[r], runs[r + 1]
            r += 1
            t = step - lag[low]
            if t < 0 or t >= len(flags):
                work += (high - low) * t_inactive * works[low]
                continue
            # Without a branch for each neuron: every neuron is noted, and the place is kept if it fired.
            row, began, active = flags[t, sample], count, 0
            for k in range(low, high):
                flag = row[order[k]]
                active += flag & neuron_kernels.ACTIVE
                fired[count], upto[count], place[count] = order[k], active, k + 1
                count += (flag & neuron_kernels.FIRED) >> 1
            # Spikes that no core hears take their time and send nothing.
            since, at, listed = 0, low, count
            count = began
            for n in range(began, listed):
                if works[low] != 0:
                    own = (upto[n] - since) * t_active + (place[n] - at - upto[n] + since) * t_inactive
                    work += works[low] * own + t_spike
                since, at = upto[n], place[n]
                i = fired[n]
                if message[i] < message[i + 1]:
                    fired[count], gap[count] = i, work
                    count += 1
                    work = 0.0
            if works[low] != 0:
                work += works[low] * ((active - since) * t_active + (high - at - active + since) * t_inactive)
        tail[c] = work
    of_core[cores] = count


@compiled
def walk(
    flags: Array, order: Array, lag: Array, works: Array, first: Array, runs: Array, message: Array, target: Array,
    takes: Array, price: tuple[float, float, float, float], tile: Array, route_first: Array, route: Array, hop: Array,
    link_ns: float, buffer: int, queue: int, waiting: Array, ends: Array, bound: Array, logged: int, log_sample: int,
    log: Array,
) -> None:  # fmt: skip
    """Find the end of every step; see the module's docstring.

    Args:
        flags: which neurons were active and fired, ``[steps, samples, neurons]``.
        order, lag, works: neuron, lag in steps and how often it is updated in a step (its compartments, which are
            taken to be active where it is), by core.
        first: where each core begins.
        runs: where `lag` or `works` or the core changes.
        message, target, takes: messages of each neuron, their target and receiving time.
        price: ns of an inactive and an active update, a spike and a message sent.
        tile, route_first, route, hop: tile of each core, links between pairs of tiles, latency of each link.
        waiting: work that waits at each core when a step begins, ``[chip steps, samples, cores]``.
        ends, bound: written: working time of each step and the core that ends it.
        logged, log_sample, log: step and sample whose messages are logged, and where to.
    """
    cores = len(first) - 1
    tiles = tile.max() + 1
    t_out = price[3]
    room = len(order) + 1
    fired, upto, place = np.zeros(room, np.int32), np.zeros(room, np.int32), np.zeros(room, np.int32)
    gap = np.zeros(room)
    of_core, tail = np.zeros(cores + 1, np.int64), np.zeros(cores)
    spike, at_message, stop = np.zeros(cores, np.int64), np.zeros(cores, np.int64), np.zeros(cores, np.int64)
    leaves = 1
    while leaves < cores:
        leaves *= 2
    times, winners = np.full(2 * leaves, np.inf), np.zeros(2 * leaves, np.int64)
    winners[leaves:] = np.arange(leaves)
    link_ring, link_at = np.zeros(len(hop) * buffer), np.zeros(len(hop), np.int64)
    in_ring, in_at = np.zeros((cores, buffer)), np.zeros(cores, np.int64)
    link_free = np.zeros(len(hop))
    core_ring, core_at, free = np.zeros((cores, queue)), np.zeros(cores, np.int64), np.zeros(cores)
    begin = 0.0
    for b in range(ends.shape[1]):
        for s in range(ends.shape[0]):
            own_work(
                flags, s, b, order, lag, works, first, runs, message, price, fired, gap, of_core, tail, upto, place
            )
            # All times count on from step to step, so buffers of earlier steps are empty by themselves.
            end, last = begin, 0
            for c in range(cores):
                free[c] = begin + waiting[s, b, c]
                if free[c] > end:
                    end, last = free[c], c
                spike[c] = of_core[c]
                if of_core[c] < of_core[c + 1]:
                    i = fired[of_core[c]]
                    at_message[c], stop[c] = message[i], message[i + 1]
                    _renew(c, begin + gap[of_core[c]] + t_out, times, winners)
                elif begin + tail[c] > end:
                    end, last = begin + tail[c], c
            n = 0
            while times[1] < np.inf:
                ready, c = times[1], winners[1]
                k = at_message[c]
                d = target[k]
                # Into the network ...
                sent = _later(ready, in_ring[c, in_at[c]])
                now = sent
                pair = tile[c] * tiles + tile[d]
                low, high = route_first[pair], route_first[pair + 1]
                before = -1
                for h in range(low, high):
                    link = route[h]
                    entry = link * buffer + link_at[link]
                    now = _later(now + hop[link], _later(link_free[link], link_ring[entry]))
                    link_free[link] = now + link_ns
                    if before < 0:
                        in_ring[c, in_at[c]] = now
                    else:
                        link_ring[before] = now
                    before = entry
                    link_at[link] += 1
                    if link_at[link] == buffer:
                        link_at[link] = 0
                # ... and out of it, into the queue of its core.
                now = _later(now, core_ring[d, core_at[d]])
                if before < 0:
                    in_ring[c, in_at[c]] = now
                else:
                    link_ring[before] = now
                in_at[c] += 1
                if in_at[c] == buffer:
                    in_at[c] = 0
                begun = _later(now, free[d])
                core_ring[d, core_at[d]] = begun
                core_at[d] += 1
                if core_at[d] == queue:
                    core_at[d] = 0
                done = begun + takes[k]
                free[d] = done
                if done > end:
                    end, last = done, d
                if s == logged and b == log_sample:
                    log[n, 0], log[n, 1], log[n, 2] = c, d, fired[spike[c]]
                    log[n, 3], log[n, 4], log[n, 5] = ready - begin, sent - begin, now - begin
                    log[n, 6], log[n, 7] = begun - begin, done - begin
                    n += 1
                # The core's next message.
                next_ready = sent + t_out
                at_message[c] = k + 1
                if k + 1 == stop[c]:
                    m = spike[c] + 1
                    spike[c] = m
                    if m < of_core[c + 1]:
                        at_message[c], stop[c] = message[fired[m]], message[fired[m] + 1]
                        next_ready += gap[m]
                    else:
                        next_ready = np.inf
                        if sent + tail[c] > end:
                            end, last = sent + tail[c], c
                _renew(c, next_ready, times, winners)
            ends[s, b] = end - begin
            bound[s, b] = last
            begin = end
