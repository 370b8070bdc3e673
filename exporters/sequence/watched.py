"""Which comparisons of a recording are the spikes of neurons written by hand, by their places."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from ..torch_step.capture import node_name
from ..torch_step.fxgraph import module_of
from ..watching import COMPARISONS, Place, Watch
from .lift import Lifted
from .operators import packet
from .record import Recorded, line_of


def watched(recorded: Recorded, by_hand: Mapping[str, Lifted]) -> Watch | None:
    """Which comparison of which place is a spike of which layer written by hand."""
    whose = {compared: node_name(site) for site, one in by_hand.items() for spike in one.written.spikes
             if (compared := _compares(spike.node)) is not None}  # fmt: skip
    if not whose:
        return None
    places: dict[Place, list[str | None]] = {}
    for node in recorded.graph.graph.nodes:
        if _is_comparison(node):
            places.setdefault((line_of(node), module_of(node)), []).append(whose.get(node))
    return Watch(
        {place: layers for place, layers in places.items() if any(layers)},
        {node_name(site): one.outcome for site, one in by_hand.items()},
        max(len(one.written.spikes) for one in by_hand.values()),
    )


def _compares(node: fx.Node) -> fx.Node | None:
    """The comparison that an operator is, or that its argument is, as in ``relu(sign(x))``."""
    return next(filter(_is_comparison, (node, *node.all_input_nodes)), None)


def _is_comparison(node: fx.Node) -> bool:
    return node.op == "call_function" and packet(node).removeprefix("aten.") in COMPARISONS
