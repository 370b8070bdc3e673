"""What a run did, in exact integers, whatever it is later priced at.

A *message* is one spike sent to one core that holds at least one of its synapses (a multicast to n cores is n
messages). A *synaptic operation* (SOP) is one stored synapse walked for one arriving spike; `nonzero_sops` leaves out
synapses whose weight is zero. A neuron *update* happens for every mapped neuron in every chip step; it is *active*
where the neuron was not at rest (input arrived, or u, v or bias is not zero).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy.connectivity import Array

LAYER = ("events_in", "events_out", "sops", "nonzero_sops", "updates", "active_updates", "messages_out")
CORE = ("messages_in", "sops", "nonzero_sops", "updates", "active_updates", "events_out", "messages_out")
FABRIC = ("within_tile", "hops_east_west", "hops_north_south", "host_events", "host_messages")


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of one run.

    Args:
        populations: rows of the arrays in `layer`.
        cores: rows of the arrays in `core`.
        layer: for each name in `LAYER`, int64 ``[populations, network steps, samples]``; synaptic operations are
            counted at the population that receives them.
        core: for each name in `CORE`, int64 ``[cores, chip steps, samples]``.
        fabric: for each name in `FABRIC`, int64 ``[chip steps, samples]``: messages that stay within a tile, hops of
            all messages over east-west and north-south links (XY routing), and input events and messages that come
            from the host (their hops are not counted, since where the host sits is not known).
    """

    populations: tuple[str, ...]
    cores: tuple[int, ...]
    layer: Mapping[str, Array]
    core: Mapping[str, Array]
    fabric: Mapping[str, Array]
