"""The `flit` tier of timing: the network-on-chip cycle by cycle, for whoever doubts the `event` tier.

Cores work as in the `event` tier (`neurodeploy.hwsim.timing.event_tier`). A message is cut into F flits, the units of
flow control (W. J. Dally and B. Towles, Principles and Practices of Interconnection Networks, 2004, chapters 12 and
13), and a cycle is the time in which a link passes one of them, `pipeline.link_message` / F. Every tile has a router
with a first-in, first-out buffer for each link that ends there and for each core's way in. In each cycle

1. a core whose next message is ready puts it into its injection buffer, if that has room for the whole message;
2. a core that is free takes the next message from its queue;
3. every output of a router (a link, or the queue of a core) passes at most one flit, and every input gives at most one.
   Once the first flit of a message has passed, the output belongs to that message until its last flit has (wormhole);
   among several first flits the output takes turns (round robin).

A flit moves on only when the buffer ahead had room at the begin of the cycle: `pipeline.link_buffer` messages of F
flits each, and at a core `pipeline.core_queue` messages, which are reserved by the first flit. It can move on again
after the latency of the link, at the earliest in the next cycle. Routes are XY routes, which cannot deadlock, and there
is one virtual channel.

Cycles in which nothing can happen are skipped. What this tier does not know is how a chip's routers arbitrate and how
many flits its messages have: no maker of a chip in our files has published either.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.program.recording import Recording

from ..counts.counts import Counts
from ..function.neuron_kernels import compiled
from .event_tier import Mesh, own_work
from .tiers import Timing

EMPTY = -1


def flit_timing(mesh: Mesh, recording: Recording, counts: Counts, flits: int = 1) -> Timing:
    """Return the times of a run in the `flit` tier; see the module's docstring.

    Args:
        mesh: of the Program on the chip.
        recording: of the mesh's simulator with ``flags=True``.
        counts: of the same run.
        flits: of each message.

    Raises:
        InvalidInputError: the recording has no flags, the number of flits, or a chip without `pipeline.link_message`.
    """
    arch = mesh.arch
    if not 1 <= flits <= 1024:
        raise InvalidInputError("the number of flits of a message cannot be used", found=flits, allowed="1 to 1024")
    link_ns = arch.ns(arch.pipeline.link_message)
    if not link_ns:
        raise InvalidInputError(
            f"the flit tier of timing needs the time in which a link of {arch.name!r} passes a message",
            found=arch.pipeline.link_message.note or "none",
            hint="use the core or event tier, or give pipeline.link_message in an architecture file of your own",
        )
    marks, waiting = mesh.given(recording, counts)
    routers = _Routers(mesh)
    price, pipeline = mesh.price, arch.pipeline
    most = int(mesh.messages(marks, len(waiting)).max(initial=0))
    ends = np.zeros(waiting.shape[:2])
    bound = np.zeros(waiting.shape[:2], np.int64)
    walk_flits(
        marks, mesh.order, mesh.lag, mesh.works, mesh.first, mesh.runs, mesh.message, mesh.target, mesh.takes,
        (price["neuron_update_inactive"], price["neuron_update_active"], price["spike_out"], price["axon_out"]),
        mesh.tile, mesh.route_first, mesh.route, mesh.hop, link_ns / flits, flits, pipeline.link_buffer.value,
        pipeline.core_queue.value, routers.first, routers.inputs, waiting, most, ends, bound,
    )  # fmt: skip
    return mesh.finished("flit", counts, ends, bound)


class _Routers:
    """The inputs of each router: links that end at its tile, and then its cores' injection buffers.

    Buffer l is that at the end of link l; buffer ``links + c`` is the injection buffer of the c-th used core.
    """

    def __init__(self, mesh: Mesh) -> None:
        arch, cores = mesh.arch, mesh.counter.cores
        ending: list[list[int]] = [[] for _ in range(arch.mesh.tiles)]
        each = arch.mesh.cores_per_tile.value
        for tile in range(arch.mesh.tiles):
            x, y = arch.tile_xy(tile)
            for other in range(arch.mesh.tiles):
                to_x, to_y = arch.tile_xy(other)
                if abs(x - to_x) + abs(y - to_y) == 1:
                    ending[other].extend(arch.links(tile * each, other * each))
        for row, core in enumerate(cores):
            ending[arch.tile_of(core)].append(arch.link_count + row)
        self.first = np.concatenate([[0], np.cumsum([len(inputs) for inputs in ending])]).astype(np.int64)
        self.inputs = np.array([buffer for inputs in ending for buffer in inputs], np.int64)


@compiled
def walk_flits(
    flags: Array, order: Array, lag: Array, works: Array, first: Array, runs: Array, message: Array, target: Array,
    takes: Array, price: tuple[float, float, float, float], tile: Array, route_first: Array, route: Array, hop: Array,
    cycle: float, flits: int, buffer: int, queue: int, router_first: Array, router_inputs: Array, waiting: Array,
    most: int, ends: Array, bound: Array,
) -> None:  # fmt: skip
    """Find the end of every step; see the module's docstring.

    Args:
        flags .. hop: as in `neurodeploy.hwsim.timing.event_tier.walk`.
        cycle: ns.
        flits: of a message.
        buffer, queue: messages that wait at the end of a link (and at a core's way in), and at a core.
        router_first, router_inputs: buffers that each router reads.
        waiting, ends, bound: as in `neurodeploy.hwsim.timing.event_tier.walk`.
        most: messages in any step.
    """
    cores, links, tiles = len(first) - 1, len(hop), tile.max() + 1
    t_out = price[3]
    room = len(order) + 1
    fired, upto, place = np.zeros(room, np.int32), np.zeros(room, np.int32), np.zeros(room, np.int32)
    gap = np.zeros(room)
    of_core, tail = np.zeros(cores + 1, np.int64), np.zeros(cores)
    spike, at_message, stop = np.zeros(cores, np.int64), np.zeros(cores, np.int64), np.zeros(cores, np.int64)
    ready, free = np.zeros(cores), np.zeros(cores)
    # Messages of a step: which core they go to, the receiving time, the end of their route.
    to, work, last_link = np.zeros(most, np.int64), np.zeros(most), np.zeros(most, np.int64)
    # Buffers of flits: message, number of the flit, place in the route of the link that it came over, time from which
    # it can move on; how many there are, and the oldest.
    deep = buffer * flits
    held, number = np.zeros((links + cores, deep), np.int64), np.zeros((links + cores, deep), np.int64)
    came = np.zeros((links + cores, deep), np.int64)
    usable = np.zeros((links + cores, deep))
    size, head = np.zeros(links + cores, np.int64), np.zeros(links + cores, np.int64)
    left = np.zeros(links + cores, np.int64)
    # Outputs: links, and the queues of cores. Which buffer owns them, and whose turn was last.
    owner, turn = np.full(links + cores, EMPTY), np.full(links + cores, EMPTY)
    # Queues at cores: messages, reserved places, those that are there.
    queued, arrival = np.zeros((cores, queue), np.int64), np.zeros((cores, queue))
    reserved, there, oldest = np.zeros(cores, np.int64), np.zeros(cores, np.int64), np.zeros(cores, np.int64)
    widest = 0
    for r in range(len(router_first) - 1):
        widest = max(widest, router_first[r + 1] - router_first[r])
    wants = np.zeros(widest, np.int64)
    for b in range(ends.shape[1]):
        for s in range(ends.shape[0]):
            own_work(
                flags, s, b, order, lag, works, first, runs, message, price, fired, gap, of_core, tail, upto, place
            )
            end, last = 0.0, 0
            turn[:] = EMPTY
            for c in range(cores):
                free[c] = waiting[s, b, c]
                if free[c] > end:
                    end, last = free[c], c
                spike[c], ready[c] = of_core[c], np.inf
                if of_core[c] < of_core[c + 1]:
                    i = fired[of_core[c]]
                    at_message[c], stop[c] = message[i], message[i + 1]
                    ready[c] = gap[of_core[c]] + t_out
                elif tail[c] > end:
                    end, last = tail[c], c
            sent, inside, n, busy = 0, 0, 0, True
            while busy:
                now = n * cycle
                moved, busy, soonest = False, False, np.inf
                for c in range(cores):
                    if ready[c] <= now and size[links + c] + flits <= deep:
                        k = at_message[c]
                        pair = tile[c] * tiles + tile[target[k]]
                        to[sent], work[sent], last_link[sent] = target[k], takes[k], route_first[pair + 1]
                        for f in range(flits):
                            at = (head[links + c] + size[links + c]) % deep
                            held[links + c, at], number[links + c, at] = sent, f
                            came[links + c, at], usable[links + c, at] = route_first[pair] - 1, now
                            size[links + c] += 1
                        inside += 1
                        sent += 1
                        moved = True
                        # A core that was not held up goes on from when its message was ready, not from the next cycle.
                        since = ready[c] if ready[c] > now - cycle else now
                        at_message[c] = k + 1
                        ready[c] = since + t_out
                        if k + 1 == stop[c]:
                            m = spike[c] + 1
                            spike[c] = m
                            if m < of_core[c + 1]:
                                at_message[c], stop[c] = message[fired[m]], message[fired[m] + 1]
                                ready[c] += gap[m]
                            else:
                                ready[c] = np.inf
                                if since + tail[c] > end:
                                    end, last = since + tail[c], c
                    busy = busy or ready[c] < np.inf
                    if now < ready[c] < soonest:
                        soonest = ready[c]
                    while there[c] > 0:
                        at = oldest[c]
                        begun = max(free[c], arrival[c, at])
                        if begun > now:
                            soonest = min(soonest, begun)
                            break
                        free[c] = begun + work[queued[c, at]]
                        if free[c] > end:
                            end, last = free[c], c
                        oldest[c] = (at + 1) % queue
                        there[c] -= 1
                        reserved[c] -= 1
                        inside -= 1
                        moved = True
                for r in range(len(router_first) - 1):
                    low = router_first[r]
                    inputs = router_first[r + 1] - low
                    for i in range(inputs):
                        x = router_inputs[low + i]
                        wants[i] = EMPTY
                        if size[x] - left[x] <= 0:
                            continue
                        h = head[x]
                        if usable[x, h] > now:
                            soonest = min(soonest, usable[x, h])
                            continue
                        m, onward = held[x, h], came[x, h] + 1
                        out = route[onward] if onward < last_link[m] else links + to[m]
                        if owner[out] != EMPTY and owner[out] != x:
                            continue
                        if out < links:
                            if size[out] == deep:
                                continue
                        elif number[x, h] == 0 and reserved[to[m]] == queue:
                            continue
                        wants[i] = out
                    for i in range(inputs):
                        out = wants[i]
                        if out == EMPTY:
                            continue
                        chosen, best = i, inputs
                        for j in range(i, inputs):
                            if wants[j] == out:
                                behind = (j - turn[out] - 1) % inputs
                                if behind < best:
                                    chosen, best = j, behind
                        for j in range(i, inputs):
                            if wants[j] == out:
                                wants[j] = EMPTY
                        x = router_inputs[low + chosen]
                        h = head[x]
                        m, f = held[x, h], number[x, h]
                        turn[out] = chosen
                        owner[out] = EMPTY if f == flits - 1 else x
                        if out < links:
                            at = (head[out] + size[out] - left[out]) % deep
                            held[out, at], number[out, at], came[out, at] = m, f, came[x, h] + 1
                            usable[out, at] = max(now + hop[out], now + cycle)
                            size[out] += 1
                        else:
                            c = to[m]
                            if f == 0:
                                reserved[c] += 1
                            if f == flits - 1:
                                at = (oldest[c] + there[c]) % queue
                                queued[c, at], arrival[c, at] = m, now + cycle
                                there[c] += 1
                        head[x] = (h + 1) % deep
                        left[x] += 1
                        moved = True
                for x in range(links + cores):
                    size[x] -= left[x]
                    left[x] = 0
                busy = busy or inside > 0
                n += 1
                if not moved and soonest < np.inf:
                    n = max(n, int(np.ceil(soonest / cycle)))
            ends[s, b] = end
            bound[s, b] = last
