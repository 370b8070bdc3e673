"""The functional pass: who spikes when, event by event, in Loihi's integers or in floats.

`Simulator` prepares a Program once (`neurodeploy.hwsim.function.tables`) and runs it any number of times; the work is
done by one compiled loop (`neurodeploy.hwsim.function.loop`). Samples are independent, so a batch is cut into blocks
that run on as many threads as there are cores; the result does not depend on the cut. Step t of the result is network
step t (`neurodeploy.program.schedule`). What learns does so in the same loop
(`neurodeploy.hwsim.loihi_learning.kernels`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import Interrupted, InvalidInputError
from neurodeploy.network.arrays import Array, sole
from neurodeploy.program import overflow
from neurodeploy.program.codec import physical_memory
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Record, Recording, check_inputs

from .function import layout, loop, neuron_kernels
from .function.tables import Flat, flatten

BLOCK = 32
"""Samples that one thread runs at a time, at most."""
BUFFER = 1 << 20
"""Events that a thread keeps before it hands them over, at least."""
POLL_S = 0.1
"""Seconds between two looks at how far the threads are."""


def run(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a Program; see `neurodeploy.backends.Backend`. Fills `Recording.active` too."""
    return Simulator(program).run(inputs, record=record, progress=progress)


class Simulator:
    """A Program, prepared to run many times; what weights learn to be on the way, from one run to the next, it takes.

    Args:
        program: to run.
        precision: of a float network: float64, or float32 for half the memory (then no longer bit-equal to others).
        threads: at most so many samples at a time; as many as there are cores when not given.
    """

    def __init__(
        self,
        program: Program,
        precision: type[np.floating[Any]] = np.float64,
        threads: int | None = None,
    ) -> None:
        self.program = program
        self.flat = flatten(program, precision)
        self.threads = threads or os.cpu_count() or 1

    def run(
        self,
        inputs: Mapping[str, Array],
        *,
        record: Record = Record(),
        progress: Callable[[int, int], None] | None = None,
        flags: bool = False,
    ) -> Recording:
        """Run; see `neurodeploy.backends.Backend`.

        Args:
            flags: also record which neurons were not at rest and which fired, for
                `neurodeploy.hwsim.timing.event_tier`.

        Raises:
            InvalidInputError: also where the recording does not fit into memory.
            Interrupted: Ctrl-C; carries what was simulated until then.
        """
        flat = self.flat
        steps, samples, given = check_inputs(self.program.network, inputs)
        check_memory(self.needs_bytes(steps, samples, record, flags=flags), record)
        kept = Kept.of(flat, record, flags)
        size = max(1, min(BLOCK, -(-samples // self.threads)))
        starts = range(0, samples, size)
        halt = np.zeros(1, np.uint8)
        blocks = [
            Block(flat, kept, start, all_inputs(flat, given, slice(start, start + size)), halt) for start in starts
        ]
        if len(blocks) == 1 and progress is None:
            blocks[0].run()
        else:
            with ThreadPoolExecutor(min(self.threads, len(blocks))) as pool:
                waiting = {pool.submit(block.run) for block in blocks}
                try:
                    while waiting:
                        done, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
                        for job in done:
                            job.result()
                        if progress:
                            progress(sum(block.done for block in blocks), steps * samples)
                except BaseException as error:
                    halt[0] = 1
                    pool.shutdown(wait=True, cancel_futures=True)
                    if isinstance(error, KeyboardInterrupt):
                        raise _partial(flat, kept, blocks, steps, samples) from None
                    raise
        return recording_of(flat, kept, blocks, steps, samples)

    def needs_bytes(self, steps: int, samples: int, record: Record = Record(), *, flags: bool = False) -> int:
        """Memory that a run takes for what it records, beside its input and its events (4 bytes for each spike)."""
        kept = Kept.of(self.flat, record, flags)
        number, state = self.flat.number.itemsize, self.flat.initial.itemsize
        cell = kept.columns("u") * number + kept.columns("v") * state + kept.flags
        slots = max((s.stop for s in self.flat.slots.values()), default=0)
        cell += 16 * len(kept.populations) + 8 * len(neuron_kernels.KINDS) * slots
        rules, learned = self.flat.rules, 0
        if rules is not None:
            cell += 8 * rules.work_columns()
            learned = 8 * rules.columns() * (steps if kept.learning else 1)
        return steps * samples * cell + samples * learned


@dataclass(frozen=True, eq=False)
class Kept:
    """What is recorded: the table with the places of recorded populations, and these places."""

    populations: Array
    u: Mapping[str, slice]
    v: Mapping[str, slice]
    flags: int
    learning: bool

    @classmethod
    def of(cls, flat: Flat, record: Record, flags: bool) -> Kept:
        table = flat.populations.copy()
        found: dict[str, dict[str, slice]] = {"u": {}, "v": {}}
        at = {"u": 0, "v": 0}
        for row, population in enumerate(flat.network.populations):
            for name in record.kept(flat.network, population) & {"u", "v"}:
                table[row, layout.RECORD_U if name == "u" else layout.RECORD_V] = at[name]
                found[name][population.name] = slice(at[name], at[name] + population.size)
                at[name] += population.size
        return cls(table, found["u"], found["v"], len(flat.initial) if flags else 0, record.learning)

    def columns(self, name: str) -> int:
        places = self.u if name == "u" else self.v
        return max((place.stop for place in places.values()), default=0)


def check_memory(needed: int, record: Record) -> None:
    """Refuse a run whose recording does not fit into this machine's memory.

    Raises:
        InvalidInputError: says how much is needed and what there is.
    """
    there = physical_memory()
    if needed > there:
        less = f"do not record {', '.join(record.states)}, or " if record.states else ""
        raise InvalidInputError(
            "the recording of this run does not fit into memory",
            found=f"{needed / 2**30:,.1f} GiB",
            allowed=f"{there / 2**30:,.1f} GiB of this machine",
            hint=f"{less}give fewer samples or steps at a time",
        )


def _partial(flat: Flat, kept: Kept, blocks: list[Block], steps: int, samples: int) -> Interrupted:
    """What had been simulated: all samples up to the first that is not complete, or else a part of the first one."""
    whole = 0
    for block in blocks:
        whole += int(block.cursor[0])
        if block.cursor[0] < block.samples:
            break
    done = steps if whole else int(blocks[0].cursor[1])
    kept_samples = max(whole, min(1, done))
    if not kept_samples:
        return Interrupted(None, "nothing had been simulated yet")
    parts = []
    for block in blocks:
        if block.start < kept_samples:
            block.cut(done, kept_samples - block.start)
            parts.append(block)
    text = f"{whole} of {samples} samples" if whole else f"{done} of {steps} steps of the first sample"
    return Interrupted(recording_of(flat, kept, parts, done, kept_samples), text)


class Block:
    """The run of a few samples."""

    def __init__(self, flat: Flat, kept: Kept, start: int, given: Array, halt: Array) -> None:
        self.flat, self.kept, self.start, self.given, self.halt = flat, kept, start, given, halt
        self.cursor = np.zeros(4, np.int64)
        self.steps, self.samples = given.shape[:2]

    @property
    def done(self) -> int:
        """Steps that have run, over all samples."""
        return int(self.cursor[0] * self.steps + self.cursor[1])

    def run(self) -> None:
        flat, kept, steps, samples = self.flat, self.kept, self.steps, self.samples
        most = int(kept.populations[:, layout.SIZE].sum())
        capacity = max(2 * most * (flat.history + 1), min(BUFFER, most * steps * samples + most)) + 1
        number = flat.number
        events = np.empty(capacity, np.int32)
        values = np.empty(capacity if (flat.populations[:, layout.GRADED] == 1).any() else 0, number)
        self.bounds = np.zeros((samples, steps, len(kept.populations), 2), np.int64)
        slots = max((s.stop for s in flat.slots.values()), default=0)
        self.left = np.zeros((len(kept.populations), len(overflow.KINDS)), np.int64)
        kinds = len(neuron_kernels.KINDS) + bool(len(flat.joins[1]))
        self.marks = np.zeros((steps, samples, kinds, slots), np.int64)
        self.u = np.zeros((steps, samples, kept.columns("u")), number)
        self.v = np.zeros((steps, samples, kept.columns("v")), flat.initial.dtype)
        self.flags = np.zeros((steps, samples, kept.flags), np.uint8)
        pieces, carried = [], []
        state, scratch = flat.state(), np.zeros(flat.scratch, number)
        plastic = flat.rules.state(steps, samples, kept.learning) if flat.rules else ()
        self.learned: Array = plastic.kept if plastic else np.zeros(0)
        self.work: Array = plastic.work if plastic else np.zeros(0)
        finished = False
        while not finished:
            finished = loop.simulate(
                kept.populations, flat.projections, flat.scalars, flat.pools, flat.neurons, flat.slow, flat.initial,
                flat.slot, flat.block_slots, self.given, state, scratch, self.cursor, self.halt, events, values,
                self.bounds, self.marks, self.left, self.u, self.v, self.flags, flat.joins, plastic,
            )  # fmt: skip
            halted = bool(self.halt[0]) and not finished
            sample, step, count, base = (int(n) for n in self.cursor)
            keep = count
            if not finished and not halted and step and flat.history:
                keep = int(self.bounds[sample, max(step - flat.history, 0), 0, 0])
            pieces.append(events[: keep - base].copy())
            carried.append(values[: keep - base].copy())
            left = count - keep
            events[:left] = events[keep - base : count - base].copy()
            values[: min(left, len(values))] = values[keep - base : count - base].copy()
            self.cursor[3] = keep
            finished |= halted
        self.events = np.concatenate(pieces)
        self.values = np.concatenate(carried)

    def cut(self, steps: int, samples: int) -> None:
        """Keep the first steps and samples only."""
        self.steps, self.samples = steps, min(samples, self.samples)
        self.bounds = self.bounds[: self.samples, :steps]
        self.marks, self.u, self.v, self.flags = (
            a[:steps, : self.samples] for a in (self.marks, self.u, self.v, self.flags)
        )
        if self.flat.rules:
            self.learned, self.work = self.learned[:steps, : self.samples], self.work[:steps, : self.samples]


def all_inputs(flat: Flat, given: Mapping[str, Array], block: slice) -> Array:
    """All inputs of a block, ``[steps, samples, neurons]``."""
    number = np.dtype(np.uint8) if flat.integer and flat.plain else flat.number
    parts = [given[name][:, block].astype(number, copy=False) for name in flat.inputs]
    joined = np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)).view()
    joined.flags.writeable = False  # also where it is the user's own: the loop is compiled for one of the two
    return joined


def recording_of(flat: Flat, kept: Kept, blocks: list[Block], steps: int, samples: int) -> Recording:
    network = flat.network
    spikes = {}
    for row, population in enumerate(network.populations):
        if population.spiking:
            graded = bool(flat.populations[row, layout.GRADED])
            spikes[population.name] = _events(flat, blocks, row, population.name, graded, steps, samples)
    states: dict[str, dict[str, Array]] = {}
    for name, places in (("u", kept.u), ("v", kept.v)):
        for owner, place in places.items():
            parts = [getattr(block, name)[:, :, place] for block in blocks]
            values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
            if owner in flat.order:
                restored = np.empty_like(values)
                restored[:, :, flat.order[owner]] = values
                values = restored
            if flat.integer and not (name == "u" and owner in flat.wide):
                values = values.astype(np.int32, copy=False)
            elif not flat.integer:
                values = values.astype(np.float64, copy=False)
            states.setdefault(name, {})[owner] = sole(np.ascontiguousarray(values))
    whole = sole(blocks[0].marks if len(blocks) == 1 else np.concatenate([block.marks for block in blocks], axis=1))
    active, touched, changed = (
        {owner: whole[:, :, kind, place] for owner, place in flat.slots.items()}
        for kind in range(len(neuron_kernels.KINDS))
    )
    joins = [p.name for p in network.populations if p.join is not None]
    reached = {name: whole[:, :, loop.REACHED, flat.slots[name]] for name in joins}
    flags = sole(np.concatenate([block.flags for block in blocks], axis=1)) if kept.flags else None
    learned: Mapping[str, Mapping[str, Array]] = {}
    work: Mapping[str, Array] = {}
    if flat.rules:
        # What a sample has learned is known once its last spikes have been heard.
        ended = all(block.cursor[0] >= block.samples for block in blocks)
        learned = {} if not ended else flat.rules.learned(np.concatenate([block.learned for block in blocks], axis=1))
        work = flat.rules.work(np.concatenate([block.work for block in blocks], axis=1))
    total = np.sum([block.left for block in blocks], axis=0)
    left = overflow.found({p.name: total[row] for row, p in enumerate(network.populations)})
    return Recording("hwsim", steps, samples, spikes, states, active, touched, changed, learned, flags, work, left,
                     reached)  # fmt: skip


def _events(flat: Flat, blocks: list[Block], row: int, name: str, graded: bool, steps: int, samples: int) -> Events:
    """What a population sent, in order of time, sample and neuron."""
    sizes = np.zeros((steps, samples), np.int64)
    for block in blocks:
        bounds = block.bounds[:, :, row]
        sizes[:, block.start : block.start + block.samples] = (bounds[:, :, 1] - bounds[:, :, 0]).T
    total = int(sizes.sum())
    ends = np.cumsum(sizes.ravel()).reshape(sizes.shape)
    time, sample, neuron = (np.empty(total, np.int32) for _ in range(3))
    number = np.dtype(np.float64) if not flat.integer else np.dtype(np.int64 if not flat.plain else np.int32)
    payload = np.empty(total if graded else 0, number)
    order = flat.order.get(name, np.zeros(0, np.int32))
    for block in blocks if total else ():
        first = (ends - sizes)[:, block.start : block.start + block.samples]
        loop.gather(
            block.bounds[:, :, row], block.events, block.values, order, graded, first, block.start,
            time, sample, neuron, payload,
        )  # fmt: skip
    time, sample, neuron, payload = map(sole, (time, sample, neuron, payload))
    carried = None if not graded or (payload == 1).all() else payload
    return Events(time, sample, neuron, steps, samples, flat.network.by_name[name].size, carried)
