"""A mapping that is given, layer by layer: which tile of which layer one core holds.

A CSV with a header and a row a layer. Of its columns these are read; others are left alone, so that a table of Intel's
compiler (lava-dl's PilotNet example prints one) can be used as it is:

    layer_from_output   name of the layer; ``conv1`` also stands for a population whose name ends in ``conv1``
    Cores               number of cores
    shape_per_core      ``Conv(x, y, channels)``: the tile of an image; empty: neurons dealt evenly to the cores

Rows that name no population are matched by position, where there is a row for each layer and no name that is almost a
layer's: the last rows are the first layers, as the column's name says.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodeploy.errors import DoesNotFitError, InvalidInputError, did_you_mean
from neurodeploy.files.atomic import existing_file, storage_errors
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, Population

COLUMNS = ("layer_from_output", "Cores", "shape_per_core")
_NUMBER = r"\s*0*([1-9][0-9]{0,8})\s*"
_CORES = re.compile(_NUMBER)
_SHAPE = re.compile(rf"\w*\({_NUMBER},{_NUMBER},{_NUMBER}\)")


@dataclass(frozen=True)
class Layer:
    """One row: ``tile`` is ``(x, y, channels)``; ``line`` that of the table."""

    name: str
    cores: int
    tile: tuple[int, int, int] | None
    line: int = 0


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
        header = list(rows.fieldnames or ())
        if wrong := [name for name in COLUMNS if header.count(name) != 1]:
            times = "no column" if wrong[0] not in header else "more than one column"
            raise InvalidInputError(
                f"{path} is not a table of tiles",
                found=f"{times} {wrong[0]!r} in line 1: {', '.join(header)[:200] or 'nothing'}",
                allowed=", ".join(COLUMNS),
                hint="give it a header with these names, each once",
            )
        layers = tuple(_layer(path, rows.line_num, row) for row in rows)[::-1]
        if not layers:
            raise InvalidInputError(f"{path} has no rows", allowed="one for each layer", hint="add them")
        return cls(layers, str(path))

    def parts(self, network: Network) -> list[dict[str, Array]]:
        """What each core holds, in the order of the layers; inputs that the table names are on cores too.

        Raises:
            InvalidInputError: the table does not match the network's layers.
        """
        found = []
        for layer, population in self._matched(network):
            pieces = self._pieces(layer, population)
            if len(pieces) != layer.cores:
                raise InvalidInputError(
                    f"{self.where(layer)}: the tiles of {layer.name!r} do not give the number of cores there",
                    found=f"{len(pieces)} tiles of {layer.tile} over {list(population.shape)}",
                    allowed=f"{layer.cores} cores",
                )
            found += [{population.name: piece} for piece in pieces]
        return found

    def where(self, layer: Layer) -> str:
        """A row for messages."""
        return f"{self.source}, line {layer.line}" if layer.line else self.source

    def _matched(self, network: Network) -> list[tuple[Layer, Population]]:
        layers = [p for p in network.populations if not p.external]
        by_name = [(layer, _named(network, layer.name)) for layer in self.layers]
        known = [p.name for p in (*network.inputs, *layers)]
        if len(self.layers) == len(layers):
            placed = list(zip(self.layers, layers, strict=True))
            alike = (
                p is found or p.external if p else not did_you_mean(layer.name, known)
                for (layer, p), (_, found) in zip(by_name, placed, strict=True)
            )
            if all(alike):
                return placed
        rows: dict[str, Layer] = {}
        for layer, population in by_name[::-1]:
            if population is None:
                raise InvalidInputError(
                    f"{self.where(layer)}: no layer has this name",
                    found=f"{layer.name!r}{did_you_mean(layer.name, known)}",
                    allowed=", ".join(known),
                    hint="name every layer as the network does, or give one row a layer in their order",
                )
            if other := rows.get(population.name):
                raise InvalidInputError(
                    f"{self.where(layer)}: the layer {population.name!r} stands twice",
                    found=f"{other.name!r} in line {other.line}, {layer.name!r} in line {layer.line}",
                    allowed="one row for a layer",
                    hint="remove one of them",
                )
            rows[population.name] = layer
        if missing := [p.name for p in layers if p.name not in rows]:
            raise InvalidInputError(
                f"{self.source} does not match the layers of {network.name!r}",
                found=f"no row for {', '.join(missing)}",
                allowed=", ".join(p.name for p in layers),
                hint="name every layer as the network does, or give one row a layer in their order",
            )
        return [(layer, p) for layer, p in by_name if p is not None]

    def _pieces(self, layer: Layer, population: Population) -> list[Array]:
        index = np.arange(population.size)
        if layer.tile is None:
            if layer.cores > population.size:
                raise DoesNotFitError(
                    f"{self.where(layer)}: layer {layer.name!r} has fewer neurons than cores",
                    found=f"{population.size} neurons, {layer.cores} cores",
                    allowed=f"1 to {population.size} cores",
                )
            return list(np.array_split(index, layer.cores))
        if len(population.shape) != 3:
            raise InvalidInputError(
                f"{self.where(layer)}: layer {layer.name!r} has a tile, but is no image",
                found=list(population.shape),
                hint="leave the tile out",
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
            (COLUMNS[1], _CORES.fullmatch(cores)),
            (COLUMNS[2], not shape or match is not None),
        )
        if not right
    ]
    if wrong:
        raise InvalidInputError(
            f"{path}, line {line}: not a layer (column {', '.join(wrong)})",
            found=f"{name or 'no name'}, {cores or 'no number of cores'}, {shape or 'no tile'}",
            allowed="a name, a whole number of cores from 1 on, and nothing or a tile as in Conv(8,4,64)",
        )
    tile = (int(match[1]), int(match[2]), int(match[3])) if match else None
    return Layer(name, int(cores), tile, line)
