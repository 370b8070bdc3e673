"""What the host of a network does in a run, in exact integers, whatever it is later priced at.

- An *operator* of a stage's graph that multiplies matrices counts multiply-accumulates (MAC); any other counts the
  elements that it makes, under its name (`neurodeploy.backends.host.work` has the formulas).
- The *boundary* lies between the chip's neurons and the host's memory. What crosses it are *frames*: one step of one
  population, a value for each neuron, packed,

      bytes of a frame = ceil(neurons b / 8),    b = 1 for plain spikes, the bits of its messages for graded ones,
                                                     24 for the potential of an integer network, 32 for any float,

  whether or not anything spiked (a list of events would be shorter below one spike in log2(neurons) neurons). What
  several stages read crosses once. The user's own inputs are the host's already: their way to the chip is in the
  chip's counts (``host_messages``), as it is without stages.
- All steps of a *phase* run before the next. So what a later phase hears of an earlier one, be it through synapses of
  the chip, is kept by the host and sent again, step by step.
- A *barrier* of chip and host is a hand-over on which somebody waits: one behind each phase that is not the last word,
  and within a phase one in each step for each stage on the longest way through chip and host in turns. A stage whose
  values only a later phase hears keeps nobody waiting, nor does one that reads the user's inputs alone.
- *Buffered* are the frames of all steps that a stage between phases reads, that a later phase hears, or that a stage
  made for the phase behind it; those that wait out a delay; and 4 bytes a neuron for a sum over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from neurodeploy.network.host import HostStage, When, fed, phases
from neurodeploy.network.network import Network, Population

SUM_BYTES = 4
"""Of a sum over time, for each neuron."""


@dataclass(frozen=True)
class StageWork:
    """What one stage did; counts are sums over all samples.

    Args:
        name, when: of the stage.
        phase: behind whose last step it runs, or in whose steps; -1 before the first step.
        runs: of its graph for a sample: once, or once a step.
        macs: multiply-accumulates.
        operations: of other operators, by the operator's name.
        reads, gives: bytes over the boundary for it alone, though what two stages read crosses only once.
    """

    name: str
    when: When
    phase: int
    runs: int
    macs: int
    operations: Mapping[str, int]
    reads: int
    gives: int

    @property
    def others(self) -> int:
        """All operations that are no multiply-accumulates."""
        return sum(self.operations.values())


@dataclass(frozen=True)
class StageMeans:
    """What one stage did for a sample, on average; as `StageWork`."""

    name: str
    when: When
    phase: int
    runs: int
    macs: float
    operations: Mapping[str, float]
    bytes_read: float
    bytes_given: float


@dataclass(frozen=True)
class Crossing:
    """Frames of a population that cross the boundary for a sample.

    Args:
        population: whose they are.
        port: its spikes or its potential.
        to: where they go.
        phase: during which.
        frames: how many.
        frame_bytes: of each.
    """

    population: str
    port: Literal["spikes", "potential"]
    to: Literal["host", "chip"]
    phase: int
    frames: int
    frame_bytes: int

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return self.frames * self.frame_bytes


@dataclass(frozen=True)
class HostWork:
    """What the host did in a run.

    Args:
        steps, samples: of the run.
        stages: in the order of the network.
        crossings: for a sample.
        barriers: for a sample, by phase: within its steps and behind it.
        buffers: bytes that a sample takes, by what is kept.
    """

    steps: int
    samples: int
    stages: tuple[StageWork, ...]
    crossings: tuple[Crossing, ...]
    barriers: Mapping[int, int]
    buffers: Mapping[str, int]

    def means(self) -> tuple[StageMeans, ...]:
        """What each stage did, mean per sample."""
        n = self.samples
        return tuple(
            StageMeans(
                s.name, s.when, s.phase, s.runs, s.macs / n, {kind: often / n for kind, often in s.operations.items()},
                s.reads / n, s.gives / n,
            )
            for s in self.stages
        )  # fmt: skip

    def counts(self) -> dict[str, float]:
        """Kinds of `neurodeploy.program.count_kinds` that ``host`` counts, mean per sample, but for times."""
        to = {way: sum(c.bytes for c in self.crossings if c.to == way) for way in ("host", "chip")}
        return {
            "host_macs": sum(stage.macs for stage in self.stages) / self.samples,
            "host_operations": sum(stage.others for stage in self.stages) / self.samples,
            "host_buffered": float(sum(self.buffers.values())),
            "bytes_to_host": float(to["host"]),
            "bytes_to_chip": float(to["chip"]),
            "host_barriers": float(sum(self.barriers.values())),
        }


@dataclass(frozen=True)
class Wiring:
    """Which parts of a network with stages are computed where and when.

    Args:
        network: with its stages.
        phase: of each population (`neurodeploy.network.host.phases`).
    """

    network: Network
    phase: Mapping[str, int]

    @classmethod
    def of(cls, network: Network) -> Wiring:
        """Of a network."""
        return cls(network, phases(network))

    def computed(self, name: str) -> bool:
        """Whether neurons of the chip compute a population."""
        return not self.network.by_name[name].external

    @property
    def chip_phases(self) -> tuple[int, ...]:
        """Phases in which the chip computes, in order."""
        return tuple(sorted({self.phase[p.name] for p in self.network.populations if not p.external}))

    def stage_phase(self, stage: HostStage) -> int:
        """As `StageWork.phase`."""
        return -1 if stage.when == "before" else max(self.phase[taken.source] for taken in stage.takes)

    def heard_in(self, name: str) -> tuple[int, ...]:
        """Phases of the populations that synapses carry a population's messages to, in order."""
        return tuple(sorted({self.phase[p.target] for p in self.network.projections if p.source == name}))

    def carried(self) -> tuple[str, ...]:
        """Populations of the chip that synapses carry into a later phase, in order."""
        return tuple(
            p.name
            for p in self.network.populations
            if not p.external and any(later > self.phase[p.name] for later in self.heard_in(p.name))
        )

    def states(self) -> tuple[str, ...]:
        """State variables that a recording needs for the counts of the host, and for those of each phase."""
        read = any(taken.port == "potential" for stage in self.network.stages for taken in stage.takes)
        return ("v",) if read or any(not self.network.by_name[name].spiking for name in self.carried()) else ()


def frame_bits(network: Network, population: Population, port: str) -> int:
    """Bits of one step of a population over the boundary; see the module's docstring."""
    integer, neuron = network.arithmetic == "loihi", population.neuron
    if port == "potential":
        bits = 24 if integer else 32
    elif neuron.graded(network.arithmetic):
        bits = max(1, neuron.message_bits(network.arithmetic)) if integer else 32
    else:
        bits = 1
    return population.size * bits


def frame_bytes(network: Network, population: Population, port: str) -> int:
    """Bytes of one step of a population over the boundary, packed."""
    return -(-frame_bits(network, population, port) // 8)


def crossings(network: Network, steps: int) -> tuple[Crossing, ...]:
    """What crosses the boundary for a sample of so many steps."""
    wiring, found = Wiring.of(network), dict[tuple[str, str, str, int], Crossing]()

    def cross(name: str, port: Literal["spikes", "potential"], to: Literal["host", "chip"], phase: int) -> None:
        size = frame_bytes(network, network.by_name[name], port)
        found.setdefault((name, port, to, phase), Crossing(name, port, to, phase, steps, size))

    for stage in network.stages:
        for taken in stage.takes:
            if wiring.computed(taken.source):
                cross(taken.source, taken.port, "host", wiring.phase[taken.source])
    for name in wiring.carried():
        cross(name, "spikes", "host", wiring.phase[name])
        for later in wiring.heard_in(name):
            if later > wiring.phase[name]:
                cross(name, "spikes", "chip", later)
    for name in fed(network.stages):
        for phase in wiring.heard_in(name):
            cross(name, "spikes", "chip", phase)
    return tuple(found.values())


def levels(wiring: Wiring) -> Mapping[str, int]:
    """For each stage of every step, how many hand-overs to the host a step has needed when it has run.

    What stands between two stages on the chip makes the second wait for another one; what the host hands from stage to
    stage, what is sent a step later, and what comes of an earlier phase do not.
    """
    network = wiring.network
    by_step = [stage for stage in network.stages if stage.when == "step"]
    known = {p.name: 0 for p in network.populations}
    level = {stage.name: 0 for stage in by_step}
    for _ in range(len(known) + len(level) + 1):  # each turn settles at least one more, since no step waits for itself
        before = dict(known), dict(level)
        for stage in by_step:
            here = [t.source for t in stage.takes if wiring.phase[t.source] == wiring.stage_phase(stage)]
            level[stage.name] = max((known[name] + wiring.computed(name) for name in here), default=0)
            known |= {g.target: level[stage.name] for g in stage.gives if not g.delay}
        for p in network.projections:
            if not p.delay and wiring.phase[p.source] == wiring.phase[p.target]:
                known[p.target] = max(known[p.target], known[p.source])
        if (known, level) == before:
            break
    return level


def barriers(network: Network, steps: int) -> Mapping[int, int]:
    """Barriers of chip and host for a sample, by phase of the chip; see the module's docstring."""
    wiring = Wiring.of(network)
    level, found = levels(wiring), dict[int, int]()
    for index, phase in enumerate(wiring.chip_phases):
        within = [
            level[stage.name]
            for stage in network.stages
            if stage.when == "step" and wiring.stage_phase(stage) == phase
            if any(phase in wiring.heard_in(given.target) for given in stage.gives)
        ]
        later = index + 1 < len(wiring.chip_phases) or any(
            stage.when in ("phase", "behind") and wiring.computed(taken.source) and wiring.phase[taken.source] == phase
            for stage in network.stages
            for taken in stage.takes
        )
        found[phase] = steps * max(within, default=0) + later
    return found


def buffers(network: Network, steps: int, single: frozenset[str] = frozenset()) -> Mapping[str, int]:
    """Bytes that the host keeps for a sample, by what it keeps.

    Args:
        network: with its stages.
        steps: of the sample.
        single: populations for which a stage made one value that stands for all steps.
    """
    wiring = Wiring.of(network)
    found = {f"spikes of {name}": steps * _frame(network, name) for name in wiring.carried()}
    kept = {t.source for s in network.stages if s.when in ("phase", "behind") for t in s.takes if t.over == "steps"}
    for stage in network.stages:
        found |= dict(_read(wiring, stage, steps))
        for given in stage.gives:
            later = max(wiring.heard_in(given.target), default=0) > wiring.phase.get(given.target, 0)
            waits = given.delay if not later and given.target not in kept else steps
            held = waits if stage.when == "step" else 1 if given.target in single else steps
            if given.target and held:
                found[f"made for {given.target}"] = held * _frame(network, given.target)
    return found


def _read(wiring: Wiring, stage: HostStage, steps: int) -> Iterator[tuple[str, int]]:
    """What is kept for a stage of what others did."""
    network, made = wiring.network, fed(wiring.network.stages)
    for taken in stage.takes:
        if taken.over == "sum" and (wiring.computed(taken.source) or taken.source in made):
            yield f"{taken}", SUM_BYTES * network.by_name[taken.source].size
        elif not wiring.computed(taken.source):
            continue
        elif stage.when != "step" or wiring.phase[taken.source] < wiring.stage_phase(stage):
            yield f"{taken}", steps * _frame(network, taken.source, taken.port)


def _frame(network: Network, name: str, port: str = "spikes") -> int:
    return frame_bytes(network, network.by_name[name], port)
