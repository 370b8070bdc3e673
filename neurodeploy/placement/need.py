"""What a layer needs of one limit of a chip, and what there is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """What a layer needs of one limit, and what there is.

    Args:
        layer: population or projection; empty for the whole network.
        where: its place in the user's model.
        limit: name of the limit.
        unit: of `need` and `have`.
        need, have: numbers.
        per: what `have` belongs to: ``"core"`` or the chip.
        remedy: what to do; empty where it fits as it is.
        fits: whether it can be placed, if need be over several cores.
        note: how it fits, for the table.
        said: what is wrong, where ``need`` and ``have`` do not say it.
        lacks: the reset rule or kind of neuron that the chip has not.
    """

    layer: str
    where: str
    limit: str
    unit: str
    need: int
    have: int
    per: str
    remedy: str = ""
    fits: bool = True
    note: str = ""
    said: str = ""
    lacks: str = ""

    def __str__(self) -> str:
        who = f"{self.layer!r}" + (f" ({self.where})" if self.where and self.where != self.layer else "")
        who = who if self.layer else "the network"
        if self.said:
            return f"{who} {self.said}"
        return f"{who} needs {amount(self.need, self.unit, self.limit)}; {self.per} has {shown(self.have, self.unit)}"


def amount(value: int, unit: str, limit: str) -> str:
    """So much of a limit: ``5,000 input axons``, ``162 KiB of synapse memory``."""
    return f"{value:,} {limit}" if unit in limit else f"{shown(value, unit)} of {limit}"


def shown(value: int, unit: str) -> str:
    """A number with its unit; memory in KiB from one on."""
    if unit == "bytes" and value >= 1024:
        return f"{value / 1024:,.0f} KiB" if value >= 10240 else f"{value / 1024:,.1f} KiB"
    return f"{value:,} {unit}"
