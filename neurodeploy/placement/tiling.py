"""A mapping that is given, layer by layer: which tile of which layer one core holds.

A CSV with a header and a row a layer. Of its columns these are read; others are left alone, so that a table of Intel's
compiler (lava-dl's PilotNet example prints one) can be used as it is:

    layer_from_output   name of the layer; ``conv1`` also stands for a population whose name ends in ``conv1``
    Cores               number of cores
    shape_per_core      ``Conv(x, y, channels)``: the tile of an image; empty: neurons dealt evenly to the cores

Rows that name no population are matched by position: the last rows are the first layers, as the column's name says.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodeploy.errors import DoesNotFitError, InvalidInputError
from neurodeploy.files.atomic import existing_file, storage_errors
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, Population

COLUMNS = ("layer_from_output", "Cores", "shape_per_core")
_SHAPE = re.compile(r"\w*\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)")


@dataclass(frozen=True)
class Layer:
    """One row: ``tile`` is ``(x, y, channels)``."""

    name: str
    cores: int
    tile: tuple[int, int, int] | None


@dataclass(frozen=True)
class Tiling:
    """Layers from the input to the output."""

    layers: tuple[Layer, ...]
    source: str = ""

    @classmethod
    def read(cls, path: Path | str) -> Tiling:
        """Read a table.

        Raises:
            MissingFileError: there is no such file.
            InvalidInputError: not such a table; names line and column.
        """
        path = existing_file(path, "a table of tiles (.csv)")
        with storage_errors("read", path):
            text = path.read_text(encoding="utf-8", errors="replace")
        rows = csv.DictReader(text.splitlines())
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise InvalidInputError(
                f"{path} is not a table of tiles",
                found=f"no column {missing[0]!r}",
                allowed=", ".join(COLUMNS),
                hint="give it a header with these names",
            )
        return cls(tuple(_layer(path, rows.line_num, row) for row in rows)[::-1], str(path))

    def parts(self, network: Network) -> list[dict[str, Array]]:
        """What each core holds, in the order of the layers; inputs that the table names are on cores too.

        Raises:
            InvalidInputError: the table does not match the network's layers.
        """
        found = []
        for layer, population in self._matched(network):
            pieces = _pieces(layer, population)
            if len(pieces) != layer.cores:
                raise InvalidInputError(
                    f"{self.source}: the tiles of {layer.name!r} do not give the number of cores that stands there",
                    found=f"{len(pieces)} tiles of {layer.tile} over {list(population.shape)}",
                    allowed=f"{layer.cores} cores",
                )
            found += [{population.name: piece} for piece in pieces]
        return found

    def _matched(self, network: Network) -> list[tuple[Layer, Population]]:
        layers = [p for p in network.populations if not p.external]
        by_name = [(layer, _named(network, layer.name)) for layer in self.layers]
        if all(p is not None for _, p in by_name) and {p.name for p in layers} <= {p.name for _, p in by_name if p}:
            return [(layer, p) for layer, p in by_name if p is not None]
        if len(self.layers) == len(layers):
            return list(zip(self.layers, layers, strict=True))
        raise InvalidInputError(
            f"{self.source} does not match the layers of {network.name!r}",
            found=", ".join(layer.name for layer in self.layers),
            allowed=", ".join(p.name for p in layers),
            hint="name every layer as the network does, or give one row a layer in their order",
        )


def _named(network: Network, name: str) -> Population | None:
    if name in network.by_name:
        return network.by_name[name]
    ends = [p for p in network.populations if p.name.endswith(name)]
    return ends[0] if len(ends) == 1 else None


def _layer(path: Path, line: int, row: dict[str, str | None]) -> Layer:
    name, cores, shape = ((row[c] or "").strip() for c in COLUMNS)
    match = _SHAPE.fullmatch(shape)
    wrong = [
        column
        for column, right in (
            (COLUMNS[0], name),
            (COLUMNS[1], cores.isascii() and cores.isdigit() and int(cores) > 0),
            (COLUMNS[2], not shape or match is not None),
        )
        if not right
    ]
    if wrong:
        raise InvalidInputError(
            f"{path}, line {line}: not a layer (column {', '.join(wrong)})",
            found=f"{name or 'no name'}, {cores or 'no number of cores'}, {shape or 'no tile'}",
            allowed="a name, a number of cores, and nothing or a tile as in Conv(8,4,64)",
        )
    tile = (int(match[1]), int(match[2]), int(match[3])) if match else None
    return Layer(name, int(cores), tile)


def _pieces(layer: Layer, population: Population) -> list[Array]:
    index = np.arange(population.size)
    if layer.tile is None:
        if layer.cores > population.size:
            raise DoesNotFitError(
                f"layer {layer.name!r} has fewer neurons than cores", found=population.size, allowed=layer.cores
            )
        return list(np.array_split(index, layer.cores))
    if len(population.shape) != 3:
        raise InvalidInputError(
            f"layer {layer.name!r} has a tile, but is no image", found=list(population.shape), hint="leave the tile out"
        )
    image = index.reshape(population.shape)
    w, h, c = layer.tile
    channels, height, width = population.shape
    return [
        image[z : z + c, y : y + h, x : x + w].ravel()
        for z in range(0, channels, c)
        for y in range(0, height, h)
        for x in range(0, width, w)
    ]
