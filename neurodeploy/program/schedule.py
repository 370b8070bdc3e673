"""From network time to chip time: the one alignment that `run`, `verify` and the recordings share.

On a Loihi-like chip a projection delivers the spikes of step t-1 in step t: every hop costs one step. A population's
*lag* is the number of hops by which the longest path from the sources exceeds the delays on it,

    lag(p) = max over projections q -> p from earlier populations of lag(q) + 1 - delay; 0 for sources, else >= 1

and its network step k is chip step ``k + lag``. Before its network step 0 it is held in its initial state, so its bias
does not act before its first input can arrive, exactly, in floats and integers. An always-on source (a bias axon) has
the lag of the layer before the one it feeds. A projection's *latency* on the chip
is then ``lag(target) + delay - lag(source)``; 1 is the bare hop, and more is realised as an axonal delay, so branches
of unequal length stay in step. A loop is fed back into the next network step, since its latency is its delay.

A recurrent projection whose delay is shorter than the hops it closes over (a loop over several layers) would need a
latency below 1; such a network is slower on the chip than in NIR, and `schedule` refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.network import Network


@dataclass(frozen=True)
class Schedule:
    """Where network time stands on the chip's clock.

    Args:
        lag: by population, chip steps between network step 0 and chip step 0.
        latency: by projection, chip steps from a spike to its effect, 1 or more.
    """

    lag: Mapping[str, int]
    latency: Mapping[str, int]

    @property
    def depth(self) -> int:
        """Steps that a run needs on top of its input's length."""
        return max(self.lag.values(), default=0)


def schedule(network: Network) -> Schedule:
    """Return the chip-time schedule of a network.

    Raises:
        UnsupportedError: a loop over several layers with too short a delay.
    """
    lag: dict[str, int] = {}
    for population in network.populations:
        # Only sources that stand before it: what comes from later on closes a loop, which waiting cannot shorten.
        hops = [lag[p.source] + 1 - p.delay for p in network.into(population.name) if p.source in lag]
        hops = [steps for steps in hops if steps > 0]
        lag[population.name] = max(hops, default=0 if population.external else 1)
    for population in network.populations:
        if population.neuron.always_on:
            fed = [lag[p.target] for p in network.projections if p.source == population.name]
            lag[population.name] = min(fed, default=1) - 1
    latency = {p.name: lag[p.target] + p.delay - lag[p.source] for p in network.projections}
    for projection in network.projections:
        if latency[projection.name] < 1:
            raise UnsupportedError(
                f"projection {projection.name!r} feeds back over {lag[projection.source] - lag[projection.target] + 1} "
                f"layers within {projection.delay} step(s)",
                allowed="one step of delay for each layer of the loop, since every hop on the chip costs one step",
                hint="give the recurrent projection a longer delay and train with it",
            )
    return Schedule(lag, latency)
