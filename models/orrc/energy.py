"""The energy that the authors of ORRC + SynA publish, from the firing rates that they released (``released.yaml``).

Their arithmetic, per sample of T steps: a convolution makes ``(C_in k^2 - 1) H W C_out`` sums at a rate of 1; the first
one counts as multiply-accumulates (MAC) in every step, the others as accumulates (AC) times the rate of what they hear;
a normalisation is a MAC for each output and step; max-pooling a sum for each pixel of its windows. A MAC is one
multiplication and one addition.

What is odd in it, and is kept by `published`: one layer is taken at another size (``odd_size``); the head adds
``512 x 512`` instead of ``512 x K`` numbers; a shortcut is priced at the rate of the backbone's last layer instead of
what it hears; the MACs of attention are added after the energy was computed, so that the energy is without them.
`counted` is the same without the first three; attention is not in it either, since the released rates do not say which
of its parts ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

WIDTHS = (64, 128, 256, 512)
LAYERS = 20
SHORTCUTS = (7, 12, 17)
"""Which of the 20 layers are shortcuts."""


@dataclass(frozen=True)
class Energy:
    """Per sample.

    Args:
        spikes: of all neurons that are left.
        ac, mac: accumulates, and multiply-accumulates.
        energy: in mJ.
        neurons: of the layers that are left.
    """

    spikes: float
    ac: float
    mac: float
    energy: float
    neurons: int


@dataclass(frozen=True)
class Layer:
    """A convolution: ``inputs`` to ``outputs`` channels, ``kernel`` wide, on ``size`` x ``size`` outputs."""

    inputs: int
    outputs: int
    kernel: int
    size: int

    @property
    def sums(self) -> int:
        """Additions at a rate of 1."""
        return (self.inputs * self.kernel**2 - 1) * self.size**2 * self.outputs


def released() -> Mapping[str, Any]:
    """The file of released rates: ``prices``, and ``sets`` by name."""
    found: Mapping[str, Any] = yaml.safe_load((files(__package__) / "released.yaml").read_text(encoding="utf-8"))
    return found


def published(name: str) -> Energy:
    """What the authors' script prints for the data set called ``name``."""
    return _energy(name, as_published=True)


def counted(name: str) -> Energy:
    """The same from what each layer hears, and the head's own additions."""
    return _energy(name, as_published=False)


def layers(data: Mapping[str, Any], as_published: bool = False) -> list[Layer]:
    """The 20 convolutions of a set, in order."""
    first, *sizes = data["sizes"]
    found = [Layer(data["inputs"], WIDTHS[0], data["kernel"], first)]
    found += [Layer(WIDTHS[0], WIDTHS[0], 3, sizes[0])] * 4
    for before, width, size in zip(WIDTHS, WIDTHS[1:], sizes[1:], strict=False):
        found += [Layer(before, width, 3, size), Layer(width, width, 3, size), Layer(before, width, 1, size)]
        found += [Layer(width, width, 3, size)] * 2
    if as_published and "odd_size" in data:
        found[SHORTCUTS[-1] - 1] = Layer(WIDTHS[-1], WIDTHS[-1], 3, data["odd_size"])
    return found


def _energy(name: str, as_published: bool) -> Energy:
    file = released()
    data, prices = file["sets"][name], file["prices"]
    every, real = layers(data, as_published), layers(data)
    steps, rates = data["steps"], data["rates"]
    left = [i for i in range(LAYERS) if i not in SHORTCUTS or SHORTCUTS.index(i) + 1 not in data["pruned"]]
    mac = every[0].sums * steps + sum(every[i].outputs * every[i].size ** 2 for i in left) * steps
    ac = sum(sums * rate * steps for i, sums, rate in _heard(data, every, as_published) if i in left)
    if data.get("pooled"):
        ac += WIDTHS[0] * data["sizes"][1] ** 2 * 9 * steps
    head = WIDTHS[-1] * data["classes"]
    additions = (WIDTHS[-1] ** 2 if as_published else head) * steps + mac + ac
    multiplications = head * steps + mac
    energy = multiplications * prices["multiplication"]["pJ"] + additions * prices["addition"]["pJ"]
    neurons = sum(real[i].outputs * real[i].size ** 2 for i in left)
    spikes = sum(rates[i] * steps * real[i].outputs * real[i].size ** 2 for i in left)
    spikes += sum(size**2 * rate for size, rate in data.get("gates", []))
    return Energy(spikes, ac, mac, energy * 1e-9, neurons)


def _heard(data: Mapping[str, Any], every: list[Layer], as_published: bool) -> Iterator[tuple[int, int, float]]:
    """Layer, its sums at a rate of 1, and the rate of what it hears, of all behind the first."""
    rates, joined = data["rates"], data["joined"]
    for i in range(1, LAYERS):
        sums, rate = every[i].sums, rates[i - 1]
        if i - 1 in SHORTCUTS:
            rate = joined[SHORTCUTS.index(i - 1)]
        elif i in SHORTCUTS and not as_published:
            rate = rates[i - 3]
        yield i, sums, rate
