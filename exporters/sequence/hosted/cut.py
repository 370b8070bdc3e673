"""Where to cut between chip and host: a minimum cut, fewest barriers first, then fewest bits.

Values that the chip cannot compute are the host's. What lies on a way from one of them to another, with no neuron
between, is the host's too: else there would be a barrier more. In front of them the host may take spikes and compute
the layers itself, or sums that the chip made; behind them it may send what it made at once, or go on. Which of these
is the cheapest in bits is a minimum cut (networkx), a value counting once however many take it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from ...usage import HostCut

Key = Hashable


@dataclass(eq=False)
class Values:
    """What is to be cut, as a graph of values within a step.

    Args:
        args: value -> what it is made of; nothing for what neurons and inputs send.
        forced: values that the host must compute.
        bent: values that no synapses make of what they take, so that the host must, where it makes that.
        drives: values that a neuron takes.
        up: bits of a step for which the chip sends a value to the host; None where it cannot.
        down: bits of a step for which the host sends it to the chip.
        work: what the host computes for it, in multiply-accumulates or numbers.
    """

    args: dict[Key, tuple[Key, ...]] = field(default_factory=dict)
    forced: set[Key] = field(default_factory=set)
    bent: set[Key] = field(default_factory=set)
    drives: set[Key] = field(default_factory=set)
    up: dict[Key, int | None] = field(default_factory=dict)
    down: dict[Key, int] = field(default_factory=dict)
    work: dict[Key, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cut:
    """Where it is cut.

    Args:
        host: what the host computes.
        reads: what the chip sends to the host, in the order of the values.
        gives: what the host sends to the chip, likewise.
    """

    host: frozenset[Key]
    reads: tuple[Key, ...]
    gives: tuple[Key, ...]


class CutError(Exception):
    """What the host must compute takes a value that cannot be sent to it."""


def minimum_cut(values: Values, least: HostCut = "bits") -> Cut:
    """The cheapest cut.

    Args:
        least: what there shall be the least of: ``bits`` that cross, or ``work`` of the host.

    Raises:
        CutError: there is none.
    """
    graph: nx.DiGraph[Key] = nx.DiGraph()
    graph.add_nodes_from(values.args)
    graph.add_edges_from((one, key) for key, args in values.args.items() for one in args)
    takers = {key: list(graph.successors(key)) for key in graph}
    behind = set[Key]().union(*(nx.descendants(graph, key) for key in values.forced))
    forced = values.forced | (values.bent & behind)
    forced |= behind & set[Key]().union(*(nx.ancestors(graph, key) for key in forced))
    later = behind | forced
    network = _network(values, takers, (forced, later), least)
    try:
        _, (chip, _) = nx.minimum_cut(network, _CHIP, _HOST)
    except nx.NetworkXUnbounded as error:
        raise CutError from error
    needed: set[Key] = set()
    gives = [
        key for key in values.args
        if key in later and ("value", key) not in chip
        and (key in values.drives or any(("value", taker) in chip for taker in takers[key]))
    ]  # fmt: skip
    stack = list(gives)
    while stack:
        key = stack.pop()
        if key not in needed:
            needed.add(key)
            stack += [one for one in values.args[key] if ("value", one) not in chip]
    taken = {one for key in needed for one in values.args[key]}
    reads = [key for key in values.args if key in taken and key not in needed]
    return Cut(frozenset(needed), tuple(reads), tuple(gives))


_CHIP, _HOST = ("side", "chip"), ("side", "host")


def _network(
    values: Values, takers: Mapping[Key, Sequence[Key]], sides: tuple[set[Key], set[Key]], least: HostCut
) -> nx.DiGraph[Key]:
    """The network whose minimum cut is ours: on the side of the source is what the chip computes.

    A bit weighs more than all that the host computes, so that of cuts with as many bits the one that leaves more to the
    chip is taken; or the other way round.

    Args:
        sides: what the host must compute; that and what lies behind it.
        least: as for `minimum_cut`.
    """
    forced, later = sides
    bit, work = 1 + sum(values.work.values()), 1
    if least == "work":
        bit, work = 1, 1 + sum(values.down.values()) + sum(cost or 0 for cost in values.up.values())
    made: nx.DiGraph[Key] = nx.DiGraph()
    made.add_nodes_from((_CHIP, _HOST))
    for key, args in values.args.items():
        value, taken, sent = ("value", key), ("taken", key), ("sent", key)
        if not args and key not in forced:
            made.add_edge(_CHIP, value)
        elif key in forced:
            made.add_edge(value, _HOST)
        else:
            made.add_edge(_CHIP, value, capacity=work * values.work[key])
        if key not in later:
            cost = values.up[key]
            if cost is None:
                made.add_edge(value, taken)
            else:
                made.add_edge(value, taken, capacity=bit * cost)
            made.add_edges_from((taken, ("value", taker)) for taker in takers[key])
            continue
        made.add_edge(sent, value, capacity=bit * values.down[key])
        for taker in takers[key]:
            made.add_edge(value, ("value", taker))
            made.add_edge(("value", taker), sent)
        if key in values.drives:
            made.add_edge(_CHIP, sent)
    return made
