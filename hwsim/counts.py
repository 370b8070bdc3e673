"""What a run did, in exact integers, whatever it is later priced at.

A *message* is one spike sent to one core that holds at least one of its synapses (a multicast to n cores is n
messages). A *synaptic operation* (SOP) is one stored synapse walked for one arriving spike; `nonzero_sops` leaves out
synapses whose weight is zero. A neuron *update* happens for every mapped neuron in every chip step, while the pipeline
fills and empties too; it is *active* where the neuron was not at rest (its arriving current, u, v or bias is not 0).

All of it follows from the events and from tables that depend on the network and its placement alone: the number of
synapses that each neuron has on each core. So nothing here walks a synapse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.errors import InvalidInputError
from neurodeploy.neurons import Lif, Source
from neurodeploy.program import Program
from neurodeploy.recording import Events, Recording
from neurodeploy.routing import FanOut, fan_out
from neurodeploy.schedule import schedule

if TYPE_CHECKING:
    from .arch import Architecture

LAYER = ("events_in", "events_out", "sops", "nonzero_sops", "updates", "active_updates", "messages_out")
CORE = ("messages_in", "sops", "nonzero_sops", "updates", "active_updates", "events_out", "messages_out")
FABRIC = ("within_tile", "hops_east_west", "hops_north_south", "between_chips", "host_events", "host_messages")


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of one run.

    Args:
        populations: rows of the arrays in `layer`.
        cores: rows of the arrays in `core`.
        layer: for each name in `LAYER`, int64 ``[populations, network steps, samples]``; synaptic operations are
            counted at the population that receives them.
        core: for each name in `CORE`, int64 ``[cores, chip steps, samples]``.
        fabric: for each name in `FABRIC`, int64 ``[chip steps, samples]``: messages that stay within a tile, hops of
            all messages on a chip over east-west and north-south links (XY routing), messages to another chip (whose
            hops are not counted), and input events and messages that come from the host (nor theirs, since where the
            host sits is not known).
        chips: over which the cores number on.
    """

    populations: tuple[str, ...]
    cores: tuple[int, ...]
    layer: Mapping[str, Array]
    core: Mapping[str, Array]
    fabric: Mapping[str, Array]
    chips: int = 1


def count(program: Program, recording: Recording, arch: Architecture) -> Counts:
    """Count what a recorded run did on the chip.

    Args:
        program: that ran.
        recording: from a back-end that counts active updates (hwsim).
        arch: for the distances between cores.

    Raises:
        InvalidInputError: the recording has no active updates, or a core is not on the chip.
    """
    network, times = program.network, schedule(program.network)
    chips = int(program.provenance.get("chips", "1"))
    check_cores(program.cores, chips, arch)
    missing = [
        p.name for p in network.populations if not isinstance(p.neuron, Source) and p.name not in recording.active
    ]
    if missing:
        raise InvalidInputError(
            f"the recording of {recording.backend} does not count active updates",
            found=f"none for {', '.join(missing)}",
            hint="count on a run of hwsim; the back-ends' spikes are equal",
        )
    tally = _Tally(program, recording, times.depth)
    for population in network.populations:
        tally.neurons(population.name, times.lag[population.name])
    for projection in network.projections:
        lag = times.lag[projection.source], times.lag[projection.target]
        table = fan_out(projection, program.core_of[projection.target])
        tally.projection(projection.source, projection.target, projection.delay, lag, table, arch)
    return Counts(tuple(tally.rows), program.cores, tally.layer, tally.core, tally.fabric, chips)


def check_cores(cores: tuple[int, ...], chips: int, arch: Architecture) -> None:
    """Refuse cores that so many chips do not have.

    Raises:
        InvalidInputError: names the core.
    """
    if cores and cores[-1] >= arch.cores * chips:
        arch.tile_of(cores[-1])


class _Tally:
    """The arrays of `Counts` while they are filled."""

    def __init__(self, program: Program, recording: Recording, depth: int) -> None:
        self.program, self.recording = program, recording
        self.rows = {p.name: row for row, p in enumerate(program.network.populations)}
        self.core_row = {core: row for row, core in enumerate(program.cores)}
        steps, samples = recording.steps, recording.samples
        self.chip_steps = steps + depth
        self.layer = {name: np.zeros((len(self.rows), steps, samples), np.int64) for name in LAYER}
        self.core = {name: np.zeros((len(self.core_row), self.chip_steps, samples), np.int64) for name in CORE}
        self.fabric = {name: np.zeros((self.chip_steps, samples), np.int64) for name in FABRIC}

    def neurons(self, name: str, lag: int) -> None:
        """Updates and events of one population."""
        steps, row = self.recording.steps, self.rows[name]
        window = slice(lag, lag + steps)
        population = self.program.network.by_name[name]
        if not isinstance(population.neuron, Source):
            active = self.recording.active[name]
            self.layer["updates"][row] = population.size
            self.layer["active_updates"][row] = active.sum(axis=2)
            for slot, core in enumerate(self.program.cores_of(name)):
                at = self.core_row[core]
                self.core["updates"][at] += int((self.program.core_of[name] == core).sum())
                self.core["active_updates"][at, window] += active[:, :, slot]
        if not self._heard(name):
            return
        events = self._events(name)
        self.layer["events_out"][row] = _total(events, np.ones(events.neurons, np.int64))
        if name not in self.program.core_of:
            self.fabric["host_events"][window] += self.layer["events_out"][row]
            return
        for core in self.program.cores_of(name):
            here = (self.program.core_of[name] == core).astype(np.int64)
            self.core["events_out"][self.core_row[core], window] += _total(events, here)

    def _heard(self, name: str) -> bool:
        network = self.program.network
        return network.by_name[name].spiking or any(p.source == name for p in network.projections)

    def _events(self, name: str) -> Events:
        """What a population has sent; a read-out that others hear sends its potential in every step."""
        population = self.program.network.by_name[name]
        if population.spiking:
            return self.recording.spikes[name]
        shift = population.neuron.send_shift if isinstance(population.neuron, Lif) else 0
        potential = self.recording.states["v"][name]
        return Events.from_dense(potential >> shift if shift else potential)

    def projection(
        self, source: str, target: str, delay: int, lag: tuple[int, int], table: FanOut, arch: Architecture
    ) -> None:
        """Synaptic operations and messages of one projection. Events that arrive after the run are not counted."""
        events, steps = self._events(source), self.recording.steps
        sent = slice(0, steps - delay)
        arrival = slice(delay, steps)
        leaves = slice(lag[0], lag[0] + max(steps - delay, 0))
        arrives = slice(lag[1] + delay, lag[1] + max(steps, delay))
        if steps <= delay:
            return
        neurons = np.repeat(np.arange(events.neurons), np.diff(table.indptr))

        def per_neuron(values: Array) -> Array:
            return np.bincount(neurons, values, minlength=events.neurons).astype(np.int64)

        row = self.rows[target]
        self.layer["events_in"][row, arrival] += _total(events, (per_neuron(table.synapses) > 0).astype(np.int64))[sent]
        self.layer["sops"][row, arrival] += _total(events, per_neuron(table.synapses))[sent]
        self.layer["nonzero_sops"][row, arrival] += _total(events, per_neuron(table.nonzero))[sent]
        self.layer["messages_out"][self.rows[source], sent] += _total(events, np.diff(table.indptr))[sent]
        for core in np.unique(table.cores):
            at, on_core = self.core_row[int(core)], table.cores == core
            self.core["sops"][at, arrives] += _total(events, per_neuron(table.synapses * on_core))[sent]
            self.core["nonzero_sops"][at, arrives] += _total(events, per_neuron(table.nonzero * on_core))[sent]
            reaches = per_neuron(on_core)
            messages = _total(events, reaches)[sent]
            self.core["messages_in"][at, arrives] += messages
            if source not in self.program.core_of:
                self.fabric["host_messages"][leaves] += messages
                continue
            for origin in self.program.cores_of(source):
                from_here = _total(events, reaches * (self.program.core_of[source] == origin))[sent]
                self.core["messages_out"][self.core_row[origin], leaves] += from_here
                if arch.chip_of(origin) != arch.chip_of(int(core)):
                    self.fabric["between_chips"][leaves] += from_here
                    continue
                east_west, north_south = arch.hops(origin % arch.cores, int(core) % arch.cores)
                if east_west == north_south == 0:
                    self.fabric["within_tile"][leaves] += from_here
                self.fabric["hops_east_west"][leaves] += from_here * east_west
                self.fabric["hops_north_south"][leaves] += from_here * north_south


def _total(events: Events, per_neuron: Array) -> Array:
    """Sum of a per-neuron number over the events, ``[steps, samples]``."""
    cell = events.time.astype(np.int64) * events.samples + events.sample
    # Sums stay far below 2^53, so the float weights of bincount are exact.
    total = np.bincount(cell, per_neuron[events.neuron], minlength=events.steps * events.samples)
    return total.astype(np.int64).reshape(events.steps, events.samples)
