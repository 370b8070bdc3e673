"""The flit tier against a plain re-telling of its docstring, cycle by cycle, and against the event tier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.hwsim.counts.counts import Counter
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.timing.event_tier import Mesh
from neurodeploy.hwsim.timing.flit_tier import flit_timing
from neurodeploy.program.program import Program
from tests.hwsim.test_noc import chip, hops_ns, streams_of, timed, two_layers
from tests.networks import placed, random_network, random_spikes


class Retold:
    """One step, with a list for every buffer and no cycle skipped."""

    def __init__(self, program: Program, arch: Architecture, flits: int) -> None:
        self.arch, self.flits, self.cores = arch, flits, program.cores
        self.cycle = (arch.ns(arch.pipeline.link_message) or 0.0) / flits
        self.deep = arch.pipeline.link_buffer.value * flits
        self.queue = arch.pipeline.core_queue.value
        self.inputs: dict[int, list[Any]] = {tile: [] for tile in range(arch.mesh.tiles)}
        each = arch.mesh.cores_per_tile.value
        for a in range(arch.mesh.tiles):
            for b in range(arch.mesh.tiles):
                if sum(arch.hops(a * each, b * each)) == 1:
                    self.inputs[b] += arch.links(a * each, b * each)
        for core in self.cores:
            self.inputs[arch.tile_of(core)].append(("in", core))

    def end(self, streams: Any, tails: Any, free: dict[int, float]) -> float:
        """The end of a step whose cores send these messages."""
        todo = {core: list(stream) for core, stream in streams.items()}
        ready = {core: stream[0][0] for core, stream in todo.items() if stream}
        buffers: dict[Any, list[dict[str, Any]]] = {name: [] for names in self.inputs.values() for name in names}
        queues: dict[int, list[tuple[float, float]]] = {core: [] for core in self.cores}
        reserved = dict.fromkeys(self.cores, 0)
        owner: dict[Any, Any] = {}
        turn: dict[Any, int] = {}
        end = max([0.0, *free.values(), *(tails[c] for c in self.cores if not todo[c])])
        n, serial = 0, 0
        while ready or any(reserved.values()) or any(buffers.values()):
            now = n * self.cycle
            for core in self.cores:
                mine = buffers["in", core]
                if core in ready and ready[core] <= now and len(mine) + self.flits <= self.deep:
                    _, target, takes = todo[core].pop(0)
                    path = [*self.arch.links(core, target), ("core", target)]
                    serial += 1
                    for f in range(self.flits):
                        mine.append({"id": serial, "f": f, "path": path, "at": 0, "usable": now, "takes": takes})
                    since = ready.pop(core) if ready[core] > now - self.cycle else now
                    ready.pop(core, None)
                    if todo[core]:
                        ready[core] = since + todo[core][0][0]
                    else:
                        end = max(end, since + tails[core])
                while queues[core] and max(free[core], queues[core][0][0]) <= now:
                    arrived, takes = queues[core].pop(0)
                    free[core] = max(free[core], arrived) + takes
                    end = max(end, free[core])
                    reserved[core] -= 1
            lengths = {name: len(buffer) for name, buffer in buffers.items()}
            moves = []
            for names in self.inputs.values():
                asks: dict[Any, list[int]] = {}
                for i, name in enumerate(names):
                    if not buffers[name] or buffers[name][0]["usable"] > now:
                        continue
                    flit = buffers[name][0]
                    out = flit["path"][flit["at"]]
                    if owner.get(out, name) != name:
                        continue
                    if isinstance(out, tuple):
                        full = flit["f"] == 0 and reserved[out[1]] >= self.queue
                    else:
                        full = lengths[out] >= self.deep
                    if not full:
                        asks.setdefault(out, []).append(i)
                for out, who in asks.items():
                    chosen = min(who, key=lambda i: (i - turn.get(out, -1) - 1) % len(names))
                    turn[out] = chosen
                    moves.append((names[chosen], out))
            for name, out in moves:
                flit = buffers[name].pop(0)
                final = flit["f"] == self.flits - 1
                if final:
                    owner.pop(out, None)
                else:
                    owner[out] = name
                if isinstance(out, tuple):
                    reserved[out[1]] += flit["f"] == 0
                    if final:
                        queues[out[1]].append((now + self.cycle, flit["takes"]))
                else:
                    later = max(now + hops_ns(self.arch)[out % 4], now + self.cycle)
                    buffers[out].append({**flit, "at": flit["at"] + 1, "usable": later})
            n += 1
        return end


def in_eighths(arch: Architecture) -> Architecture:
    """With all times in eighths of a ns, whose sums have no rounding that could move something to another cycle."""
    content = arch.model_dump()
    for price in content["latency"].values():
        if price["value"] is not None:
            price["value"] = round(price["value"] * 8) / 8
    return Architecture.model_validate(content)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_take_the_time_that_the_docstring_tells(seed: int) -> None:
    program = placed(random_network(seed, "float", slow=False), cores=9)
    arch = in_eighths(chip(buffer=1 + seed % 3, queue=1 + seed % 2, link_ns=(4.0, 32.0)[seed % 2]))
    x = {"input": random_spikes(program.network, seed, steps=8, rate=0.5)}
    recording, counts, _, mesh = timed(program, arch, x)
    messages = 0
    for flits in (1, 4):
        timing = flit_timing(mesh, recording, counts, flits)
        barrier = arch.barrier_ns(timing.tiles)
        retold = Retold(program, arch, flits)
        for step in range(timing.step_ns.shape[0]):
            streams, tails, free = streams_of(program, arch, recording, counts, step, 0)
            messages += sum(map(len, streams.values()))
            expected = retold.end(streams, tails, free) + barrier
            assert timing.step_ns[step, 0] == pytest.approx(expected), (step, flits)
        assert sum(timing.terms.values()) == pytest.approx(timing.inference_ns.mean())
    assert messages > 0 or seed == 3, "one of these networks has a single layer on its only core"


def test_without_contention_a_message_takes_its_hops_and_its_flits() -> None:
    """One spike from tile 0 to tile 1: ready, on to the next cycle, the hop, and the other flits behind the first."""
    program = two_layers({"a": [0], "b": [4, 4]}, np.ones((2, 1)), np.array([1.0]))
    x = {"": np.zeros((3, 1, 1), np.uint8)}
    recording, counts, event, mesh = timed(program, chip(link_ns=0.5), x)
    ready = 9.7 + 30 + 5.1
    assert event.step_ns[1, 0] == pytest.approx(ready + 6.5 + 16 + 2 * 3.8 + 1000)
    for flits in (1, 2, 8):
        cycle = 0.5 / flits
        taken = np.ceil(ready / cycle) * cycle
        over = np.ceil((taken + 6.5) / cycle) * cycle + flits * cycle
        # The next flit leaves one cycle later, and the last one is there one cycle after it was passed on.
        expected = over + 16 + 2 * 3.8 + 1000
        assert flit_timing(mesh, recording, counts, flits).step_ns[1, 0] == pytest.approx(expected)


def test_both_network_tiers_agree_where_the_network_is_fast() -> None:
    """With cycles of a nanosecond and room for many messages, a whole step differs by a few cycles."""
    program = placed(random_network(4, "float", slow=False), cores=9)
    x = {"input": random_spikes(program.network, 4, steps=6)}
    recording, counts, event, mesh = timed(program, chip(buffer=64, queue=64), x)
    flit = flit_timing(mesh, recording, counts)
    assert counts.core["messages_out"].sum() > 50
    np.testing.assert_allclose(flit.step_ns, event.step_ns, atol=40)


def test_what_the_tier_needs_is_asked_for() -> None:
    program = two_layers({"a": [0], "b": [4]}, np.ones((1, 1)), np.ones(1))
    x = {"": np.zeros((2, 1, 1), np.uint8)}
    recording, counts, _, mesh = timed(program, chip(), x)
    with pytest.raises(InvalidInputError, match="number of flits"):
        flit_timing(mesh, recording, counts, 0)
    content = chip().model_dump()
    content["pipeline"]["link_message"].update(value=None, note="not published")
    arch = Architecture.model_validate(content)
    mesh = Mesh(Simulator(program), Counter(program, arch))
    with pytest.raises(InvalidInputError, match="passes a message"):
        flit_timing(mesh, recording, counts)
