"""SpikingJelly's neurons in both step modes, and its recurrent containers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from .classes import INPUTS, NEURONS, OUTPUTS, Make, Way, dense, modules_in

ALL = modules_in("spikingjelly.activation_based.neuron") | {
    kind.__name__: kind for kind in (layer.LinearRecurrentContainer, layer.ElementWiseRecurrentContainer)
}
"""Every module class among SpikingJelly's neurons, and the containers that are neurons with a loop."""

NOT_NEURONS: frozenset[str] = frozenset()


def each(low: float, high: float) -> torch.Tensor:
    """Another value for each neuron."""
    return torch.linspace(low, high, NEURONS)


def learned(**more: object) -> nn.Module:
    """A ParametricLIFNode that was trained for each neuron."""
    made = neuron.ParametricLIFNode(**more)
    made.w = nn.Parameter(each(-1, 1))
    return made


def leaks(kind: type[nn.Module]) -> list[Make]:
    """Sets of parameters of a kind of LIFNode."""
    return [
        kind, lambda: kind(tau=3.5, v_threshold=0.7, v_reset=-0.2, decay_input=False),
        lambda: kind(tau=1.5, v_threshold=0.9, v_reset=0.1), lambda: kind(v_reset=None),
        lambda: kind(tau=2.5, v_reset=None, decay_input=False),
    ]  # fmt: skip


def table() -> neuron.FewSpikeTable:
    """Of a few-spike node."""
    return neuron.FewSpikeTable(torch.tensor([0.5, 0.25]), torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.5]))


SETS: dict[str, list[Make]] = {
    "IFNode": [neuron.IFNode, lambda: neuron.IFNode(0.7, -0.1), lambda: neuron.IFNode(v_reset=None)],
    "LIFNode": leaks(neuron.LIFNode),
    "OTTTLIFNode": leaks(neuron.OTTTLIFNode),
    "SLTTLIFNode": leaks(neuron.SLTTLIFNode),
    "ParametricLIFNode": [
        neuron.ParametricLIFNode, learned, lambda: learned(decay_input=False, v_reset=None),
        lambda: neuron.ParametricLIFNode(init_tau=4.0, v_threshold=0.6, v_reset=-0.3),
    ],
    "CUBALIFNode": [
        neuron.CUBALIFNode, lambda: neuron.CUBALIFNode(0.3, 0.6, v_reset=None),
        lambda: neuron.CUBALIFNode(0.8, 0.2, v_threshold=1.0, v_reset=-0.5),
    ],
    "SimpleIFNode": [neuron.SimpleIFNode, lambda: neuron.SimpleIFNode(0.7, None)],
    "SimpleLIFNode": [
        lambda: neuron.SimpleLIFNode(2.0, True), lambda: neuron.SimpleLIFNode(3.0, False, 0.7, 0.1),
        lambda: neuron.SimpleLIFNode(3.0, True, 0.7, -0.2),
    ],
    "HalfThresholdIFNode": [neuron.HalfThresholdIFNode, lambda: neuron.HalfThresholdIFNode(1.75)],
    "LinearRecurrentContainer": [
        lambda: layer.LinearRecurrentContainer(neuron.LIFNode(), NEURONS, NEURONS),
        lambda: layer.LinearRecurrentContainer(
            nn.Sequential(dense(NEURONS, NEURONS), neuron.IFNode()), NEURONS, NEURONS
        ),
    ],
    "ElementWiseRecurrentContainer": [
        lambda: layer.ElementWiseRecurrentContainer(neuron.LIFNode(), torch.add),
        lambda: layer.ElementWiseRecurrentContainer(neuron.CUBALIFNode(), lambda x, y: x + y),
    ],
    "ActivationAwareIFNode": [neuron.ActivationAwareIFNode],
    "FewSpikeNode": [lambda: neuron.FewSpikeNode(table())],
    "HGNode": [lambda: ALL["HGNode"]([table(), table()], [0.5])],
    "OutlierAwareThresholdNode": [lambda: ALL["OutlierAwareThresholdNode"](table(), table(), 1.0)],
    "MPBNBaseNode": [lambda: ALL["MPBNBaseNode"](out_features=NEURONS)],
    "FlexSN": [lambda: neuron.FlexSN(lambda x, v: ((x + v >= 1).float(), v), 1)],
    "GatedLIFNode": [lambda: neuron.GatedLIFNode(4)],
    "PSN": [lambda: neuron.PSN(4)],
    "MaskedPSN": [lambda: neuron.MaskedPSN(2, 4)],
    "SlidingPSN": [lambda: neuron.SlidingPSN(2)],
    "LIAFNode": [lambda: neuron.LIAFNode(torch.relu, False)],
    "MPBNLIFNode": [lambda: neuron.MPBNLIFNode(out_features=NEURONS)],
    "STBIFNode": [lambda: neuron.STBIFNode(1.0, 8)],
    **{name: [lambda name=name: ALL[name]()] for name in (
        "BaseNode", "SimpleBaseNode", "AdaptBaseNode", "NonSpikingBaseNode", "NonSpikingIFNode", "QIFNode", "EIFNode",
        "IzhikevichNode", "RAFNode", "KLIFNode", "ComplementaryLIFNode", "ILIFNode", "TernaryIFNode", "TernaryLIFNode",
        "DSRIFNode", "DSRLIFNode", "NonSpikingLIFNode",
    )},
    **{name: [lambda name=name: ALL[name](2, 5)] for name in (
        "ILCBaseNode", "ILCIFNode", "ILCLIFNode", "ILCCUBALIFNode", "NoisyILCBaseNode", "NoisyILCCUBALIFNode",
    )},
    **{name: [lambda name=name: ALL[name](NEURONS)] for name in (
        "NoisyBaseNode", "NoisyCUBALIFNode", "NoisyNonSpikingBaseNode", "NoisyNonSpikingIFNode",
    )},
}  # fmt: skip


def ways(make: Make) -> Iterator[Way]:
    """Single-step mode in a loop outside, and multi-step mode, where the neuron has them."""
    for mode in ("s", "m"):
        made = make()
        if mode not in made.supported_step_mode() or (mode == "m" and type(made) is neuron.OTTTLIFNode):
            continue  # which is for single steps, says its constructor
        net = nn.Sequential(layer.Linear(INPUTS, NEURONS), made, layer.Linear(NEURONS, OUTPUTS), neuron.LIFNode())
        for place in (0, 2):
            net[place].load_state_dict(dense(net[place].in_features, net[place].out_features, 6.0).state_dict())
        functional.set_step_mode(net, mode)
        yield Way("step" if mode == "s" else "sequence", net, "step" if mode == "s" else 0)
