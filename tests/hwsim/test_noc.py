"""The event tier against a plain re-telling of its docstring, and against times worked out by hand."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.hwsim.counts.counts import Counter
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.hwsim.timing.event_tier import Mesh
from neurodeploy.hwsim.timing.tiers import core_timing, link_timing
from neurodeploy.hwsim.timing.timeline import critical_path
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.program.program import Program
from neurodeploy.program.schedule import schedule
from tests.networks import placed, random_network, random_spikes


def chip(buffer: int = 16, queue: int = 8, link_ns: float = 1.0) -> Architecture:
    """SANA-FE's Loihi with other buffers."""
    content = load_architecture("sanafe-loihi").model_dump()
    content["pipeline"]["link_buffer"]["value"] = buffer
    content["pipeline"]["core_queue"]["value"] = queue
    content["pipeline"]["link_message"]["value"] = link_ns
    return Architecture.model_validate(content)


def lif(size: int, **changes: Any) -> Lif:
    zero = np.zeros(size)
    given = {"du": zero + 1, "dv": zero, "bias": zero, "threshold": zero + 0.5, "reset_to": zero, "initial": zero}
    return Lif(**{**given, **changes})


def two_layers(cores: dict[str, list[int]], weights: np.ndarray, bias: np.ndarray) -> Program:
    """Neurons with a bias that drive neurons without."""
    targets, sources = weights.shape
    populations = (
        Population("clock", (1,), Source()),
        Population("a", (sources,), lif(sources, bias=bias)),
        Population("b", (targets,), lif(targets, threshold=np.full(targets, 1e9))),
    )
    network = Network("n", populations, (Projection("ab", "a", "b", Dense(weights)),), ("b",), 1e-3)
    return Program(network, "sanafe-loihi", {name: np.array(c, np.int32) for name, c in cores.items()})


def timed(program: Program, arch: Architecture, x: Any, samples: int = 1) -> tuple[Any, Any, Any, Mesh]:
    simulator, counter = Simulator(program), Counter(program, arch)
    recording = simulator.run(x, flags=True)
    counts = counter.count(recording, links=True)
    mesh = Mesh(simulator, counter)
    return recording, counts, mesh.time(recording, counts), mesh


def test_two_cores_by_hand() -> None:
    """Neurons 0 and 1 of core 0 fire in every step, at cores 0 and 4 (tiles 0 and 1, a hop down in its numbering)."""
    program = two_layers({"a": [0, 0], "b": [0, 4, 4]}, np.ones((3, 2)), np.array([1.0, 1.0]))
    arch = chip()
    _, counts, timing, mesh = timed(program, arch, {"": np.zeros((4, 1, 1), np.uint8)})
    # A spike: update 9.7 and 30, then 5.1 for each message. Receiving: 16 and 3.8 a synapse, 1 synapse at core 0 and 2
    # at core 4. A hop north-south takes 6.5.
    first = 9.7 + 30 + 5.1
    ready = [first, first + 5.1, 2 * first + 5.1, 2 * first + 2 * 5.1]
    log = mesh.log(*_of(program, arch), step=1)
    np.testing.assert_allclose(log.ready, ready)
    np.testing.assert_allclose(log.sent, ready)
    np.testing.assert_allclose(log.arrived, [ready[0], ready[1] + 6.5, ready[2], ready[3] + 6.5])
    np.testing.assert_allclose(log.done - log.begun, [19.8, 23.6, 19.8, 23.6])
    # Core 4 ends the step, one of its neurons' updates is shorter.
    assert timing.step_ns[1, 0] == pytest.approx(ready[3] + 6.5 + 23.6 + 1000)  # two tiles: 1,000 ns of barrier
    assert counts.cores[timing.bound[1, 0]] == 4


def _of(program: Program, arch: Architecture) -> tuple[Any, Any]:
    simulator, counter = Simulator(program), Counter(program, arch)
    recording = simulator.run({"": np.zeros((4, 1, 1), np.uint8)}, flags=True)
    return recording, counter.count(recording)


def test_a_full_queue_stops_the_sender() -> None:
    """With room for one message everywhere, a fast core waits for a slow one that it floods."""
    program = two_layers({"a": [0] * 8, "b": [4] * 64}, np.ones((64, 8)), np.ones(8))
    slow = 16 + 64 * 3.8
    wide, narrow = (timed(program, chip(b, q), {"": np.zeros((3, 1, 1), np.uint8)})[2] for b, q in ((16, 8), (1, 1)))
    first = 9.7 + 30 + 5.1 + 6.5
    # The receiver is the bottleneck either way: it works without a pause from the first arrival on.
    assert wide.step_ns[1, 0] == pytest.approx(first + 8 * slow + 1000)
    assert narrow.step_ns[1, 0] == pytest.approx(first + 8 * slow + 1000)
    log = Mesh(Simulator(program), Counter(program, chip(1, 1))).log(*_of(program, chip(1, 1)), step=1)
    # One message at work, one in the queue, one in each buffer on the way: the fifth waits for the first to end.
    assert (log.sent[:4] == log.ready[:4]).all()
    assert (log.sent[4:] > log.ready[4:]).all()


def streams_of(
    program: Program, arch: Architecture, recording: Any, counts: Any, step: int, sample: int
) -> tuple[Any, Any, Any]:
    """What each core does by itself in a step: its messages (work before, target, receiving time), its work after the
    last of them, and until when spikes of the host keep it busy."""
    network, lag, t = program.network, schedule(program.network).lag, arch.latency
    price = {name: arch.ns(getattr(t, name)) or 0.0 for name in type(t).model_fields}
    encoding = {0: "synaptic_operation", 1: "synaptic_operation_list", 2: "synaptic_operation_kernel"}
    counter = Counter(program, arch)
    flat = Simulator(program).flat
    messages: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for routes in counter.routes:
        for i in range(routes.projection.connectivity.inputs):
            for k in range(routes.first[i], routes.first[i + 1]):
                slot = routes.slot[k]
                work = price["axon_in"] + routes.synapses[k] * price[encoding[int(routes.encoding[slot])]]
                messages[routes.projection.source, i].append((counts.cores[routes.cores[slot]], work))
    offsets, at = {}, 0
    for population in network.populations:
        if not isinstance(population.neuron, Source):
            offsets[population.name] = at
            at += population.size
    streams: dict[int, list[tuple[float, int, float]]] = {}
    tails = {}
    free: dict[int, float] = defaultdict(float)
    for core in counts.cores:
        stream, work = [], 0.0
        for population in network.populations:
            name = population.name
            if name not in program.core_of:
                continue
            when = step - lag[name]
            for i in np.flatnonzero(program.core_of[name] == core):
                inside = 0 <= when < recording.steps
                if isinstance(population.neuron, Source):
                    events = recording.spikes[name]
                    fired = inside and ((events.time == when) & (events.sample == sample) & (events.neuron == i)).any()
                else:
                    column = offsets[name] + (np.flatnonzero(flat.order[name] == i)[0] if name in flat.order else i)
                    flag = recording.flags[when, sample, column] if inside else 0
                    work += price["neuron_update_active"] if flag & 1 else price["neuron_update_inactive"]
                    fired = bool(flag & 2)
                    work += price["spike_out"] if fired else 0.0
                if fired:
                    for target, takes in messages[name, int(i)]:
                        stream.append((work + price["axon_out"], target, takes))
                        work = 0.0
        streams[core], tails[core] = stream, work
    for population in network.inputs:
        if population.name not in program.core_of:
            events = recording.spikes[population.name]
            last = {p.name: recording.steps - p.delay for p in network.projections}
            for routes in counter.routes:
                if (
                    routes.projection.source != population.name
                    or step - lag[population.name] >= last[routes.projection.name]
                ):
                    continue
                chosen = (events.time == step - lag[population.name]) & (events.sample == sample)
                for i in events.neuron[chosen]:
                    for k in range(routes.first[i], routes.first[i + 1]):
                        work = (
                            price["axon_in"]
                            + routes.synapses[k] * price[encoding[int(routes.encoding[routes.slot[k]])]]
                        )
                        free[counts.cores[routes.cores[routes.slot[k]]]] += work
    return streams, tails, free


def retold(program: Program, arch: Architecture, recording: Any, counts: Any, step: int, sample: int) -> float:
    """The end of one step, as the module's docstring tells it, with lists and loops."""
    streams, tails, free = streams_of(program, arch, recording, counts, step, sample)
    b, q = arch.pipeline.link_buffer.value, arch.pipeline.core_queue.value
    room: dict[Any, deque[float]] = defaultdict(lambda: deque([0.0] * b, maxlen=b))
    queue: dict[int, deque[float]] = defaultdict(lambda: deque([0.0] * q, maxlen=q))
    passed: dict[int, float] = defaultdict(lambda: -np.inf)
    clock = dict.fromkeys(counts.cores, 0.0)
    end = max([0.0, *free.values(), *(tails[c] for c in counts.cores if not streams[c])])
    position = dict.fromkeys(counts.cores, 0)
    hop = hops_ns(arch)
    while True:
        waiting = [(clock[c] + streams[c][position[c]][0], c) for c in counts.cores if position[c] < len(streams[c])]
        if not waiting:
            return end
        ready, core = min(waiting)
        _, target, takes = streams[core][position[core]]
        sent = now = max(ready, room["in", core][0])
        behind: Any = ("in", core)
        for link in arch.links(core, target):
            now = max(now + hop[link % 4], passed[link] + (arch.ns(arch.pipeline.link_message) or 0.0), room[link][0])
            passed[link] = now
            room[behind].append(now)
            behind = link
        now = max(now, queue[target][0])
        room[behind].append(now)
        begun = max(now, free[target])
        queue[target].append(begun)
        free[target] = begun + takes
        end = max(end, free[target])
        clock[core] = sent
        position[core] += 1
        if position[core] == len(streams[core]):
            end = max(end, sent + tails[core])


def hops_ns(arch: Architecture) -> list[float]:
    """Latency of a link, by direction."""
    return [arch.ns(getattr(arch.latency, name)) or 0.0 for name in ("hop_east_west",) * 2 + ("hop_north_south",) * 2]


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_take_the_time_that_the_docstring_tells(seed: int) -> None:
    program = placed(random_network(seed, "float", slow=False), cores=9)
    arch = chip(buffer=1 + seed % 3, queue=1 + seed % 2, link_ns=(0.0, 40.0)[seed % 2])
    x = {"input": random_spikes(program.network, seed, steps=5, samples=2)}
    recording, counts, timing, _ = timed(program, arch, x)
    barrier = arch.barrier_ns(timing.tiles)
    for step in range(timing.step_ns.shape[0]):
        for sample in range(2):
            expected = retold(program, arch, recording, counts, step, sample) + barrier
            assert timing.step_ns[step, sample] == pytest.approx(expected), (step, sample)


@pytest.mark.parametrize("seed", range(6))
def test_tiers_agree_where_they_should(seed: int) -> None:
    """No tier is faster than the slowest core alone, and the log passes each link as often as it is counted."""
    program = placed(random_network(seed, "float", slow=False), cores=9)
    x = {"input": random_spikes(program.network, seed, steps=6)}
    arch = chip(link_ns=50.0)
    recording, counts, event, mesh = timed(program, arch, x)
    core, link = core_timing(counts, arch), link_timing(counts, arch)
    assert (link.step_ns >= core.step_ns - 1e-6).all()
    assert (event.step_ns >= core.step_ns - 1e-6).all()
    for timing in (core, link, event):
        assert sum(timing.terms.values()) == pytest.approx(timing.inference_ns.mean())
    step = int(counts.core["messages_out"].sum(axis=(0, 2)).argmax())
    log = mesh.log(recording, counts, step)
    used = np.zeros(counts.links.shape[0], int)
    for source, target in zip(log.source, log.target, strict=True):
        for passed in arch.links(counts.cores[int(source)], counts.cores[int(target)]):
            used[passed] += 1
    np.testing.assert_array_equal(used, counts.links[:, step, 0])


def test_a_slow_link_ends_the_step() -> None:
    """Eight spikes over one link that takes 1,000 ns for each: the link tier waits for the network, not for a core."""
    program = two_layers({"a": [0] * 8, "b": [4, 4]}, np.ones((2, 8)), np.ones(8))
    arch = chip(link_ns=1000.0)
    x = {"": np.zeros((3, 1, 1), np.uint8)}
    _, counts, event, _ = timed(program, arch, x)
    link = link_timing(counts, arch)
    assert link.step_ns[1, 0] == pytest.approx(8 * 1000 + 1000)
    assert link.bound[1, 0] == -1
    assert link.terms["network"] > 0
    # The first message crosses the link at once, the others a microsecond apart; then the last one is received.
    first = 9.7 + 30 + 5.1 + 6.5
    assert event.step_ns[1, 0] == pytest.approx(first + 7 * 1000 + 16 + 2 * 3.8 + 1000)


def test_a_critical_path_is_all_that_follows_without_a_pause() -> None:
    program = two_layers({"a": [0] * 8, "b": [4] * 64}, np.ones((64, 8)), np.ones(8))
    recording, counts, timing, mesh = timed(program, chip(), {"": np.zeros((3, 1, 1), np.uint8)})
    path = critical_path(mesh, recording, counts, timing, 1)
    assert (path.core, path.receiving, path.messages, path.source) == (4, True, 8, 0)
    assert path.begin_ns == pytest.approx(9.7 + 30 + 5.1 + 6.5)
    assert "receives 8 messages without a pause" in str(path)
    idle = critical_path(mesh, recording, counts, timing, 0)
    assert not idle.receiving
    assert "updates its neurons" in str(idle)


def test_a_core_that_works_through_what_the_host_sent_is_said_to() -> None:
    """64 spikes of the input onto one core: their synapses take longer than its two neurons."""
    populations = (Population("in", (64,), Source()), Population("n", (2,), lif(2)))
    projections = (Projection("p", "in", "n", Dense(np.ones((2, 64)))),)
    network = Network("fed", populations, projections, ("n",), 1e-3)
    program = Program(network, "test", {"n": np.zeros(2, np.int32)})
    recording, counts, timing, mesh = timed(program, chip(), {"": np.ones((3, 1, 64), np.uint8)})
    path = critical_path(mesh, recording, counts, timing, 0)
    assert (path.receiving, path.messages, path.source) == (True, 0, None)
    assert path.end_ns == pytest.approx(path.working_ns)
    assert "works through what the host sent until the end (100%" in str(path)


def test_what_the_tiers_need_is_asked_for() -> None:
    program = two_layers({"a": [0, 0], "b": [0, 4, 4]}, np.ones((3, 2)), np.ones(2))
    simulator, counter = Simulator(program), Counter(program, chip())
    recording = simulator.run({"": np.zeros((2, 1, 1), np.uint8)})
    counts = counter.count(recording)
    with pytest.raises(InvalidInputError, match="flags=True"):
        Mesh(simulator, counter).time(recording, counts)
    with pytest.raises(InvalidInputError, match="links=True"):
        link_timing(counts, chip())
