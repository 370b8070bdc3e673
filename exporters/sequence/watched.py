"""Which comparisons of a recording are the spikes of neurons written by hand, by the lines of the user's file."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from ..torch_step.capture import node_name
from ..watching import COMPARISONS, Watch
from .lift import Lifted
from .operators import packet
from .record import Recorded, line_of


def watched(recorded: Recorded, by_hand: Mapping[str, Lifted]) -> Watch | None:
    """Which comparison of which line is a spike of which layer written by hand."""
    whose = {compared: node_name(site) for site, one in by_hand.items() for spike in one.written.spikes
             if (compared := _compares(spike.node)) is not None}  # fmt: skip
    if not whose:
        return None
    lines: dict[str, list[str | None]] = {}
    for node in recorded.graph.graph.nodes:
        if _is_comparison(node):
            lines.setdefault(line_of(node), []).append(whose.get(node))
    return Watch(
        {line: layers for line, layers in lines.items() if any(layers)},
        {node_name(site): one.outcome for site, one in by_hand.items()},
        max(len(one.written.spikes) for one in by_hand.values()),
    )


def _compares(node: fx.Node) -> fx.Node | None:
    """The comparison that an operator is, or that its argument is, as in ``relu(sign(x))``."""
    return next(filter(_is_comparison, (node, *node.all_input_nodes)), None)


def _is_comparison(node: fx.Node) -> bool:
    return node.op == "call_function" and packet(node).removeprefix("aten.") in COMPARISONS
