"""The tables of ``neurodeploy compile --explain``: what fits, what does not and why, what was done to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .console import Console

if TYPE_CHECKING:
    from neurodeploy.network.network import Network
    from neurodeploy.placement.fit import Need
    from neurodeploy.program.limits import Limits


def explain(network: Network, found: tuple[Need, ...], limits: Limits | None, console: Console) -> dict[str, Any]:
    """Print the tables for a network on a chip (None: no chip), and what it needs of it, and return them."""
    from neurodeploy.placement import fit

    stored = fit.storage(network, limits)
    if limits:
        console.table(
            ("layer", "in the model", "limit", "need", "have", "used", "fits", "what to do"),
            [_row(need) for need in found],
            title=f"{network.name} on {limits.chip}: what fits",
        )
    console.table(
        ("projection", "stored as", "weights", "memory", "delay"),
        [(s.projection, s.encoding, s.weights, fit.shown(s.bytes, "bytes"), s.delay) for s in stored],
        title="synapses",
    )
    if network.notes:
        console.table(("what", "why"), list(network.notes.items()), title="what was folded, rounded, assumed or left")
    return {
        "fits": all(need.fits for need in found),
        "needs": [vars(need) for need in found],
        "storage": [vars(s) for s in stored],
        "notes": dict(network.notes),
    }


def _row(need: Need) -> tuple[str, ...]:
    from neurodeploy.placement.fit import shown

    if need.lacks:
        verdict = "as floats" if need.fits else "NO"
        return need.layer, need.where, need.limit, "yes", "no", "-", verdict, need.remedy
    share = f"{100 * need.need / need.have:.0f} %" if need.have else "-"
    verdict = ("yes, " + need.note if need.note else "yes") if need.fits else "NO"
    return (
        need.layer or "all", need.where, need.limit, shown(need.need, need.unit), shown(need.have, need.unit), share,
        verdict, need.remedy,
    )  # fmt: skip
