"""Which neurons of a population stand together: chunks of at most ``room`` neurons, one for each core.

- ``spatial``: images in compact tiles, all channels of a position together, since a convolution's spike reaches the
  neurons around its own position in every channel. A tile of h x w positions is heard from (h + k - 1)(w + k - 1)
  positions under a k x k kernel, so of the tilings that need no more cores than strips of rows do, the one with the
  least h + w is taken, its tiles made as even as their number allows.
- ``sequential``: as neurons are numbered, channel by channel.
- ``random``: shuffled by a seed; the worst case, to compare with.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Population

Order = Literal["spatial", "sequential", "random", "hypergraph"]


def chunks(population: Population, order: Order, room: int, seed: int = 0) -> list[Array]:
    """Flat indices of a population's neurons, chunk by chunk."""
    index = np.arange(population.size)
    if order == "random":
        return cut(np.random.default_rng(seed).permutation(index), room)
    if order == "sequential" or len(population.shape) not in (2, 3):
        return cut(index, room)
    channels = population.shape[0]
    image = index.reshape(channels, *((1,) if len(population.shape) == 2 else ()), *population.shape[1:])
    image = image.transpose(1, 2, 0)
    height, width = image.shape[:2]
    positions = room // channels
    strips = cut(image.ravel(), max(positions * channels, 1) if positions else room)
    best: tuple[int, int] | None = None
    for h in range(1, min(height, positions) + 1):
        w = min(positions // h, width)
        rows, columns = -(-height // h), -(-width // w)
        even = -(-height // rows), -(-width // columns)
        if rows * columns <= len(strips) and (best is None or sum(even) < sum(best)):
            best = even
    return strips if best is None else tiles(image, *best)


def tiles(image: Array, h: int, w: int) -> list[Array]:
    """Neurons of ``[height, width, channels]`` tile by tile, in (y, x, c) order within each."""
    height, width = image.shape[:2]
    return [image[y : y + h, x : x + w].ravel() for y in range(0, height, h) for x in range(0, width, w)]


def cut(sequence: Array, room: int) -> list[Array]:
    """A row in pieces of ``room``, the last one what is left."""
    return [sequence[start : start + room] for start in range(0, len(sequence), room)]
