"""Potentials counted from the reset, which the chip's integers do: of neurons, and of who reads them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodeploy.network.answer import Answer
from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import expect
from neurodeploy.network.host import HostInput, HostStage
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Lif


def reset_at_zero(neuron: Lif) -> Lif:
    """The same neuron with its potential counted from the reset (exact): v' = v - v_reset."""
    if neuron.reset != "hard":
        return neuron
    return replace(
        neuron,
        threshold=neuron.threshold - neuron.reset_to,
        bias=neuron.bias - neuron.dv * neuron.reset_to,
        initial=neuron.initial - neuron.reset_to,
        reset_to=np.zeros_like(neuron.reset_to),
        floor=None if neuron.floor is None else neuron.floor - neuron.reset_to,
    )


def answer_from_zero(network: Network) -> Answer | None:
    """The answer for potentials that are counted from the reset."""
    return None if network.answer is None else network.answer.raised(_rests(network))


def stages_from_zero(network: Network) -> tuple[HostStage, ...]:
    """The host stages for potentials that are counted from the reset, which is added to those that they read."""
    rests = _rests(network)

    def raised(taken: HostInput) -> HostInput:
        if taken.port != "potential" or not rests.get(taken.source, np.zeros(1)).any():
            return taken
        before = 0.0 if taken.raised is None else taken.raised
        return replace(taken, raised=before + rests[taken.source])

    return tuple(replace(stage, takes=tuple(map(raised, stage.takes))) for stage in network.stages)


def _rests(network: Network) -> dict[str, Array]:
    """Reset potentials of the populations that have a hard reset, ``[neurons]`` each."""
    hard = [p for p in network.populations if "hard" in p.neuron.resets()]
    return {p.name: expect(p, Lif, "quantise").reset_to for p in hard}
