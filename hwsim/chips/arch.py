"""Architecture files: what a chip holds and what its operations cost, every figure with its source.

A description file (``archs/*.yaml``, or a user's own) carries a mesh of tiles, limits per core, and prices. A price
without a source or a confidence is refused; one that nobody published is ``value: null`` with a note that says so, and
every bill lists it as missing. A file may extend another (`neurodeploy.hwsim.chips.extends`).

Cores are numbered tile by tile, tiles row by row from the north-west corner,

    tile = core // cores_per_tile,    x = tile mod columns,    y = tile // columns,

or column by column where the mesh says so, and messages take XY routes, first along x, so that two cores are
``|x1 - x2|`` east-west and ``|y1 - y2|`` north-south hops apart. A tile has four outgoing links, east, west, south and
north, numbered ``4 tile + direction``.

What a step costs is told apart as the counts are (`neurodeploy.hwsim.counts.counts`): a message received (``axon_in``),
a synaptic operation by the encoding of its synapses and a word of synaptic memory, a neuron update (active or not) and
that of the dendrite of a neuron at which something arrived, a spike sent (``spike_out``) and each message that it takes
(``axon_out``), and the hops of messages. A price that another one contains says so (``included_in``). Times are in ns,
or in cycles of a clock whose frequency the file gives.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from neurodeploy.errors import InvalidInputError, did_you_mean
from neurodeploy.files.atomic import existing_file
from neurodeploy.network import loihi_ranges

from . import extends
from .arithmetic import Arithmetic, Fact
from .figures import Confidence, Energy, Figure, Limit, Model, Name, NonNegative, Power, Price, Text, Time, refusal

FOLDER = Path(__file__).parent / "archs"


class Mesh(Model):
    """The grid of tiles.

    Args:
        columns, rows: of tiles.
        cores_per_tile: numbered one after the other.
        numbering: whether tiles are numbered row by row or column by column.
    """

    columns: Limit
    rows: Limit
    cores_per_tile: Limit
    numbering: Literal["rows", "columns"] = "rows"

    @model_validator(mode="after")
    def _not_empty(self) -> Mesh:
        if 0 in (self.columns.value, self.rows.value, self.cores_per_tile.value):
            raise ValueError("columns, rows and cores_per_tile must be at least 1")
        return self

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.columns.value * self.rows.value


class Limits(Model):
    """What one core holds, and the widths of its registers.

    Without a limit on axons or a width none was published, or the chip has no such thing. Synaptic memory is read in
    words of ``synapse_word_bits`` (64 where not given). ``thresholds_per_core`` is how many different thresholds the
    neurons of a core may have; without it each population gets one. ``spike_payload_bits`` is 0 where spikes carry no
    number.
    """

    neurons_per_core: Limit
    synapse_bytes_per_core: Limit
    synapse_word_bits: Limit | None = None
    axons_in_per_core: Limit | None = None
    axons_out_per_core: Limit | None = None
    weight_bits: Limit
    delay_max: Limit
    decay_bits: Limit | None = None
    state_bits: Limit | None = None
    bias_mantissa_bits: Limit | None = None
    bias_exponent_max: Limit | None = None
    threshold_mantissa_bits: Limit | None = None
    threshold_shift: Limit | None = None
    thresholds_per_core: Limit | None = None
    spike_payload_bits: Limit | None = None

    @model_validator(mode="after")
    def _enough(self) -> Limits:
        least = {"neurons_per_core": 1, "weight_bits": 1, "synapse_word_bits": 1, "axons_out_per_core": 1}
        least |= {"thresholds_per_core": 1, "bias_mantissa_bits": 2}
        for name, value in least.items():
            given = getattr(self, name)
            if given is not None and given.value < value:
                raise ValueError(f"{name} must be at least {value}")
        if self.threshold_shift is not None and self.threshold_shift.value != loihi_ranges.STATE_SHIFT:
            raise ValueError(
                f"threshold_shift can only be {loihi_ranges.STATE_SHIFT}, since thresholds are computed in units of "
                f"{1 << loihi_ranges.STATE_SHIFT}; leave it out for a chip with others"
            )
        return self


NOT_GIVEN = Price(value=None, unit="pJ", source="none", note="not in the chip's file")


class Energies(Model):
    """Energy of one operation each, in pJ; see the module's docstring.

    What learning takes (`neurodeploy.hwsim.prices.learning_bill`): ``learning_update`` changes a weight,
    ``learning_mac`` multiplies a weight with an error or an error with a trace and adds it up, ``learning_add`` adds an
    error to a gradient, ``learning_neuron`` changes a variable of a neuron (a derivative, a trace), ``learning_word``
    stores a word for the way back and reads it again. A file may leave the last four out.
    """

    axon_in: Energy
    synaptic_operation: Energy
    synaptic_operation_list: Energy
    synaptic_operation_kernel: Energy
    synaptic_word: Energy
    neuron_update_active: Energy
    neuron_update_inactive: Energy
    dendrite_update: Energy
    spike_out: Energy
    axon_out: Energy
    within_tile_spike: Energy
    hop_east_west: Energy
    hop_north_south: Energy
    learning_update: Energy
    learning_mac: Energy = NOT_GIVEN
    learning_add: Energy = NOT_GIVEN
    learning_neuron: Energy = NOT_GIVEN
    learning_word: Energy = NOT_GIVEN
    barrier: Energy
    host_message: Energy

    @model_validator(mode="after")
    def _all_in_stands_alone(self) -> Energies:
        if self.synaptic_operation.scope == "all-in":
            also = [
                n for n in type(self).model_fields if n != "synaptic_operation" and getattr(self, n).value is not None
            ]
            if also:
                raise ValueError(
                    f"an all-in price of synaptic_operation already contains {', '.join(also)}: make them null"
                )
        return self


class Times(Model):
    """Time of one operation each, in ns or cycles; see the module's docstring."""

    axon_in: Time
    synaptic_operation: Time
    synaptic_operation_list: Time
    synaptic_operation_kernel: Time
    synaptic_word: Time
    neuron_update_active: Time
    neuron_update_inactive: Time
    dendrite_update: Time
    spike_out: Time
    axon_out: Time
    within_tile_spike: Time
    hop_east_west: Time
    hop_north_south: Time
    learning_update: Time
    host_message: Time


class Clock(Model):
    """The clock that times in cycles are of.

    Args:
        frequency: in MHz; None for an asynchronous chip.
        note: what there is to say about it.
    """

    frequency: Figure | None
    note: Text

    @model_validator(mode="after")
    def _in_megahertz(self) -> Clock:
        if self.frequency is not None and (self.frequency.unit != "MHz" or self.frequency.value <= 0):
            raise ValueError("the frequency must be above 0 and in MHz")
        return self


class Pipeline(Model):
    """How the work of a step overlaps.

    Args:
        core: ``serial`` where a core does everything one after another; ``parallel`` where what it receives (axons in,
            synapses) and what it does by itself (neurons, axons out) go on side by side.
        zero_weights: whether synapses with a weight of zero cost an operation.
        source, confidence, note: of all this.
        link_message: time for which a message occupies a link.
        link_buffer: messages that wait at the end of a link.
        core_queue: messages that wait at a core.
    """

    core: Literal["serial", "parallel"]
    zero_weights: Literal["walked", "skipped"] = "walked"
    source: Text
    confidence: Confidence
    note: str = ""
    link_message: Time
    link_buffer: Limit
    core_queue: Limit

    @model_validator(mode="after")
    def _room(self) -> Pipeline:
        if not (self.link_buffer.value and self.core_queue.value):
            raise ValueError("link_buffer and core_queue must be at least 1")
        return self


class Barrier(Model):
    """Time of the barrier that ends every step.

    Args:
        tiles: numbers of tiles for which it is given, ascending.
        latency: in ns, for each of them; None where it was not published.
        unit: of the latencies.
        between: what lies between them: linear, or constant.
        source, confidence, note: of the latencies.
    """

    tiles: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    latency: tuple[NonNegative, ...] | None
    unit: Literal["ns"]
    between: Literal["linear", "constant"] = "linear"
    source: Text
    confidence: Confidence
    note: str = ""

    @model_validator(mode="after")
    def _a_table(self) -> Barrier:
        if sorted(set(self.tiles)) != list(self.tiles) or (self.latency and len(self.tiles) != len(self.latency)):
            raise ValueError("tiles must ascend, with one latency for each")
        if not self.latency and not self.note:
            raise ValueError("a missing latency (null) needs a note that says why")
        return self


class Architecture(Model):
    """A chip; see the module's docstring for the numbering of its cores.

    Args:
        format, version: of the file.
        name, title, description: as commands, tables and readers call it.
        clock: of a clocked chip.
        process, voltage: nm and V, for which the prices hold.
        mesh: of its tiles.
        limits: of one core.
        arithmetic: what it computes with.
        energy, latency: of one operation each.
        pipeline: how the work of a step overlaps.
        barrier: that ends a step.
        static_power_per_core: in mW.
        host: name of the processor that the chip carries (`neurodeploy.hwsim.chips.hosts`); empty for none.
        extends: chips that its file extends (`neurodeploy.hwsim.chips.extends`), the nearest first.
    """

    format: Literal["neurodeploy architecture"]
    version: Literal[1]
    name: Name
    title: Text
    description: Text
    clock: Clock
    process: Figure
    voltage: Figure
    mesh: Mesh
    limits: Limits
    arithmetic: Arithmetic = Arithmetic()
    energy: Energies
    latency: Times
    pipeline: Pipeline
    barrier: Barrier
    static_power_per_core: Power
    host: str = ""
    extends: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _barrier_covers_mesh(self) -> Architecture:
        if self.barrier.tiles[0] != 1 or self.barrier.tiles[-1] < self.mesh.tiles:
            raise ValueError(f"barrier.tiles must reach from 1 to all {self.mesh.tiles} tiles of the mesh")
        return self

    @model_validator(mode="after")
    def _cycles_have_a_clock(self) -> Architecture:
        times = {f"latency.{name}": getattr(self.latency, name) for name in Times.model_fields}
        times["pipeline.link_message"] = self.pipeline.link_message
        late = [name for name, price in times.items() if price.unit == "cycles" and price.value is not None]
        if late and self.clock.frequency is None:
            raise ValueError(f"{late[0]} is in cycles, so clock.frequency must be given")
        return self

    def ns(self, price: Price) -> float | None:
        """A time in ns; None where it is not known."""
        if price.value is None or price.unit == "ns":
            return price.value
        assert self.clock.frequency is not None
        return price.value * 1e3 / self.clock.frequency.value

    @cached_property
    def index_bits(self) -> int:
        """Bits that the index of a neuron on its core takes in a list of synapses."""
        return max(1, (self.limits.neurons_per_core.value - 1).bit_length())

    @property
    def word_bits(self) -> int:
        """Bits of a word of synaptic memory."""
        given = self.limits.synapse_word_bits
        return given.value if given is not None else 64

    @property
    def link_count(self) -> int:
        """Directed links of a chip."""
        return 4 * self.mesh.tiles

    @cached_property
    def cores(self) -> int:
        """Number of cores."""
        return self.mesh.tiles * self.mesh.cores_per_tile.value

    def chip_of(self, core: int) -> int:
        """Return the chip that holds a core: with several chips, cores number on from one to the next."""
        return core // self.cores

    def tile_of(self, core: int) -> int:
        """Return the tile that holds a core.

        Raises:
            InvalidInputError: the chip has no such core.
        """
        if not 0 <= core < self.cores:
            raise InvalidInputError(
                f"chip {self.name!r} has no core {core}", found=core, allowed=f"0 to {self.cores - 1}"
            )
        return core // self.mesh.cores_per_tile.value

    def tile_xy(self, tile: int) -> tuple[int, int]:
        """Return column and row of a tile.

        Raises:
            InvalidInputError: the chip has no such tile.
        """
        if not 0 <= tile < self.mesh.tiles:
            raise InvalidInputError(
                f"chip {self.name!r} has no tile {tile}", found=tile, allowed=f"0 to {self.mesh.tiles - 1}"
            )
        if self.mesh.numbering == "columns":
            return tile // self.mesh.rows.value, tile % self.mesh.rows.value
        return tile % self.mesh.columns.value, tile // self.mesh.columns.value

    def _tile_at(self, x: int, y: int) -> int:
        return x * self.mesh.rows.value + y if self.mesh.numbering == "columns" else y * self.mesh.columns.value + x

    def apart(self, core_a: int, core_b: int) -> tuple[int, int, int, int]:
        """Hops east-west and north-south, 1 within a tile, 1 between chips; cores number on over the chips."""
        if self.chip_of(core_a) != self.chip_of(core_b):
            return 0, 0, 0, 1
        east_west, north_south = self.hops(core_a % self.cores, core_b % self.cores)
        return east_west, north_south, int(east_west == north_south == 0), 0

    def links(self, core_a: int, core_b: int) -> tuple[int, ...]:
        """The links of the XY route between two cores of one chip; none between chips."""
        chip = self.chip_of(core_a)
        if chip != self.chip_of(core_b):
            return ()
        x, y = self.tile_xy(self.tile_of(core_a % self.cores))
        to_x, to_y = self.tile_xy(self.tile_of(core_b % self.cores))
        found = []
        while (x, y) != (to_x, to_y):
            at = 4 * self._tile_at(x, y)
            if x != to_x:
                found.append(at + (0 if to_x > x else 1))
                x += 1 if to_x > x else -1
            else:
                found.append(at + (2 if to_y > y else 3))
                y += 1 if to_y > y else -1
        return tuple(chip * self.link_count + link for link in found)

    def hops(self, core_a: int, core_b: int) -> tuple[int, int]:
        """Return ``(east-west, north-south)`` hops between two cores; ``(0, 0)`` within a tile."""
        xa, ya = self.tile_xy(self.tile_of(core_a))
        xb, yb = self.tile_xy(self.tile_of(core_b))
        return abs(xa - xb), abs(ya - yb)

    def barrier_ns(self, tiles: int) -> float:
        """Return the time of one barrier over ``tiles`` tiles; 0 for none, and where it was not published."""
        table = self.barrier
        if tiles == 0 or table.latency is None:
            return 0.0
        for index in range(1, len(table.tiles)):
            low, high = table.tiles[index - 1], table.tiles[index]
            if tiles < high and table.between == "constant":
                return table.latency[index - 1]
            if tiles <= high:
                part = (tiles - low) / (high - low)
                return table.latency[index - 1] + part * (table.latency[index] - table.latency[index - 1])
        return table.latency[-1]


KINDS = (Architecture, Mesh, Limits, Arithmetic, Fact, Energies, Clock, Pipeline, Barrier, Price)
"""Of which a file is made; their keys are those that a misspelt one may have meant."""


def available() -> tuple[str, ...]:
    """Return the names of the chips that come with neurodeploy."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_architecture(name_or_path: str | Path) -> Architecture:
    """Return a chip by its name, or from a description file (``*.yaml``, ``*.yml``).

    Raises:
        MissingFileError: the path does not exist.
        InvalidInputError: an unknown chip, or a file that is not a valid description; names file and field.
    """
    text = str(name_or_path)
    own = isinstance(name_or_path, Path) or extends.is_path(text)
    if not own and text not in available():
        raise InvalidInputError(
            f"unknown chip{did_you_mean(text, available())}",
            found=text,
            allowed=", ".join(available()),
            hint="give one of these names, or the path of your own .yaml description",
        )
    path = existing_file(text, "an architecture file (.yaml)") if own else FOLDER / f"{text}.yaml"
    return _loaded(path, ())[0]


def _loaded(path: Path, above: tuple[Path, ...]) -> tuple[Architecture, dict[str, Any]]:
    """A chip and what its file says with all that it extends; ``above`` are the files that extend this one."""
    content = extends.read(path)
    if "extends" in content:
        base = extends.base_of(path, content["extends"], FOLDER, above)
        content = extends.merged(_loaded(base, (*above, path))[1], content, path)
    try:
        return Architecture.model_validate(content), content
    except ValidationError as error:
        said = f"{path} (extended by {above[-1]})" if above else str(path)
        raise refusal(said, error, KINDS, "archs/loihi1.yaml") from error
