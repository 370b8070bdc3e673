"""Architecture files: what a chip holds and what its operations cost, every figure with its source.

A description file (``archs/*.yaml``, or a user's own) carries a mesh of tiles, limits per core, and prices. A price
without a source or a confidence is refused; one that nobody published is ``value: null`` with a note that says so, and
every bill lists it as missing.

Cores are numbered tile by tile, tiles row by row from the north-west corner,

    tile = core // cores_per_tile,    x = tile mod columns,    y = tile // columns,

and messages take XY routes, so that two cores are ``|x1 - x2|`` east-west and ``|y1 - y2|`` north-south hops apart.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from neurodeploy.errors import InvalidInputError
from neurodeploy.storage import existing_file, storage_errors

from .figures import Confidence, Energy, Figure, Limit, Model, NonNegative, Power, Text, Time

FOLDER = Path(__file__).parent / "archs"


class Mesh(Model):
    """The grid of tiles."""

    columns: Limit
    rows: Limit
    cores_per_tile: Limit

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

    Without a limit on axons none was published. ``thresholds_per_core`` is how many different thresholds the neurons of
    a core may have; without it each population gets one. ``spike_payload_bits`` is 0 where spikes carry no number.
    """

    neurons_per_core: Limit
    synapse_bytes_per_core: Limit
    axons_in_per_core: Limit | None = None
    axons_out_per_core: Limit | None = None
    weight_bits: Limit
    delay_max: Limit
    decay_bits: Limit
    state_bits: Limit
    bias_mantissa_bits: Limit
    bias_exponent_max: Limit
    threshold_mantissa_bits: Limit
    threshold_shift: Limit
    thresholds_per_core: Limit | None = None
    spike_payload_bits: Limit | None = None


class Energies(Model):
    """Energy of one operation each, in pJ."""

    synaptic_operation: Energy
    neuron_update_active: Energy
    neuron_update_inactive: Energy
    within_tile_spike: Energy
    hop_east_west: Energy
    hop_north_south: Energy
    learning_update: Energy
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
    """Time of one operation each, in ns."""

    synaptic_operation: Time
    neuron_update_active: Time
    neuron_update_inactive: Time
    within_tile_spike: Time
    hop_east_west: Time
    hop_north_south: Time
    learning_update: Time
    host_message: Time


class Barrier(Model):
    """Time of the barrier that ends every step, given for some numbers of tiles, linear between them."""

    tiles: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    latency: tuple[NonNegative, ...]
    unit: Literal["ns"]
    source: Text
    confidence: Confidence
    note: str = ""

    @model_validator(mode="after")
    def _a_table(self) -> Barrier:
        if len(self.tiles) != len(self.latency) or sorted(set(self.tiles)) != list(self.tiles):
            raise ValueError("tiles must ascend, with one latency for each")
        return self


class Architecture(Model):
    """A chip; see the module's docstring for the numbering of its cores."""

    format: Literal["neurodeploy architecture"]
    version: Literal[1]
    name: Text
    title: Text
    description: Text
    clock: Text
    process: Figure
    voltage: Figure
    mesh: Mesh
    limits: Limits
    energy: Energies
    latency: Times
    barrier: Barrier
    static_power_per_core: Power

    @model_validator(mode="after")
    def _barrier_covers_mesh(self) -> Architecture:
        if self.barrier.tiles[0] != 1 or self.barrier.tiles[-1] < self.mesh.tiles:
            raise ValueError(f"barrier.tiles must reach from 1 to all {self.mesh.tiles} tiles of the mesh")
        return self

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
        return tile % self.mesh.columns.value, tile // self.mesh.columns.value

    def hops(self, core_a: int, core_b: int) -> tuple[int, int]:
        """Return ``(east-west, north-south)`` hops between two cores; ``(0, 0)`` within a tile."""
        xa, ya = self.tile_xy(self.tile_of(core_a))
        xb, yb = self.tile_xy(self.tile_of(core_b))
        return abs(xa - xb), abs(ya - yb)

    def barrier_ns(self, tiles: int) -> float:
        """Return the time of one barrier over ``tiles`` tiles, interpolated linearly; 0 for none."""
        if tiles == 0:
            return 0.0
        table = self.barrier
        for index in range(1, len(table.tiles)):
            low, high = table.tiles[index - 1], table.tiles[index]
            if tiles <= high:
                part = (tiles - low) / (high - low)
                return table.latency[index - 1] + part * (table.latency[index] - table.latency[index - 1])
        return table.latency[-1]


def available() -> tuple[str, ...]:
    """Return the names of the chips that come with neurodeploy."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_architecture(name_or_path: str | Path) -> Architecture:
    """Return a chip by its name, or from a description file (``*.yaml``, ``*.yml``).

    Raises:
        MissingFileError: the path does not exist.
        InvalidInputError: an unknown chip, or a file that is not a valid description; names file and field.
    """
    import yaml

    text = str(name_or_path)
    own = isinstance(name_or_path, Path) or "/" in text or "\\" in text or text.endswith((".yaml", ".yml"))
    if not own and text not in available():
        raise InvalidInputError(
            "unknown chip",
            found=text,
            allowed=", ".join(available()),
            hint="give one of these names, or the path of your own .yaml description",
        )
    path = existing_file(text, "an architecture file (.yaml)") if own else FOLDER / f"{text}.yaml"
    with storage_errors("read", path):
        data = path.read_bytes()
    try:
        content: Any = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is not valid YAML", found=" ".join(str(error).split()), hint="compare with archs/loihi1.yaml"
        ) from error
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"{path} is not an architecture file", found=type(content).__name__, allowed="a mapping"
        )
    try:
        return Architecture.model_validate(content)
    except ValidationError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: ValidationError) -> InvalidInputError:
    """The first problem of a file, as file, field, found and allowed."""
    problems = error.errors(include_url=False)
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file as a whole"
    message = first["msg"].removeprefix("Value error, ")
    whole = first["type"] in ("missing", "value_error")
    found = "nothing" if first["type"] == "missing" else None if whole else repr(first["input"])[:80]
    if first["type"] == "extra_forbidden":
        message, found = "no such key here; check the spelling", field.rsplit(".", 1)[-1]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidInputError(
        f"{path}: {field} cannot be used{more}",
        found=found,
        allowed=message,
        hint="every figure needs value, unit, source and confidence; see archs/loihi1.yaml",
    )
