"""The tables of ``neurodeploy compile --explain``: what fits, what does not and why, what was done to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from neurodeploy.api.explanation import Explanation


def show(found: Explanation, console: Console) -> None:
    """Print the tables."""
    from neurodeploy.api.explanation import COLUMNS
    from neurodeploy.placement.need import shown

    network = found.network
    if found.limits:
        console.table(COLUMNS, found.rows(), title=f"{network.name} on {found.limits.chip}: what fits")
    console.table(
        ("projection", "stored as", "weights", "memory", "delay"),
        [(s.projection, s.encoding, s.weights, shown(s.bytes, "bytes"), s.delay) for s in found.storage],
        title="synapses",
    )
    if network.notes:
        console.table(("what", "why"), list(network.notes.items()), title="what was folded, rounded, assumed or left")
