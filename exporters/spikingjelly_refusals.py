"""Why neurons and layers of SpikingJelly (2.0.0) cannot be exported, by the name of their class."""

from __future__ import annotations

from collections.abc import Mapping

_PARALLEL = "a parallel spiking neuron sees a whole sequence at once"
_DECODES = "it decodes a whole sequence of potentials; end the network in a spiking node"
_NOISE = "it draws noise in every step"
_POPULATION = "the neurons of each population are joined within the layer, by convolutions of its own"
_TABLE = "thresholds, resets and weights of its own for each step (few-spike coding)"
_TERNARY = "spikes of -1, 0 and 1, which no neuron here sends"
_BINS = "it makes one step of several, and fewer steps leave it than arrive"
_SURROGATE = "it computes the mean rate of a whole sequence at once; train with it, and run with IFNode or LIFNode"
_GATES = "gates and products of states (an LSTM or the like), which NIR has no node for"
_DIFFERENCE = "it sends what a function of the running sum of its inputs changes in a step, which NIR has no node for"
_ABSTRACT = "a base class, which says nothing of what its subclass computes"

NEURONS: Mapping[str, str] = {
    "NonSpikingIFNode": _DECODES,
    "NonSpikingLIFNode": _DECODES,
    "NonSpikingBaseNode": _DECODES,
    "LIAFNode": "it sends the activation of its potential, not spikes",
    "PSN": _PARALLEL,
    "MaskedPSN": _PARALLEL,
    "SlidingPSN": "a parallel spiking neuron sees several steps at once",
    "QIFNode": "a quadratic membrane, which NIR has no node for",
    "EIFNode": "an exponential membrane, which NIR has no node for",
    "IzhikevichNode": "an Izhikevich membrane, which NIR has no node for",
    "AdaptBaseNode": "an adaptation current on its membrane, which NIR has no node for",
    "RAFNode": "a resonating membrane of two coupled states, which NIR has no node for",
    "KLIFNode": "a scaled rectifier on its potential, which NIR has no node for",
    "GatedLIFNode": "gates between several membranes, which NIR has no node for",
    "ComplementaryLIFNode": "a complementary potential that changes its reset, which NIR has no node for",
    "ILIFNode": "it sends its potential rounded to a whole number, which no neuron here does",
    "ActivationAwareIFNode": "a level of its own at which it spikes, beside the threshold that it subtracts",
    "STBIFNode": "spikes of -1, 0 and 1 that depend on all that it sent before, which NIR has no node for",
    "TernaryIFNode": _TERNARY,
    "TernaryLIFNode": _TERNARY,
    "MPBNBaseNode": _ABSTRACT,
    "MPBNLIFNode": "it normalises its membrane potential in each step; fold that into its threshold and use LIFNode",
    "DSRIFNode": _SURROGATE,
    "DSRLIFNode": _SURROGATE,
    "FewSpikeNode": _TABLE,
    "OutlierAwareThresholdNode": _TABLE,
    "HGNode": _TABLE,
    "FlexSN": "a step function of the user's own; declare it (docs: export your own neurons)",
    "ILCBaseNode": _POPULATION,
    "ILCIFNode": _POPULATION,
    "ILCLIFNode": _POPULATION,
    "ILCCUBALIFNode": _POPULATION,
    "NoisyBaseNode": _NOISE,
    "NoisyCUBALIFNode": _NOISE,
    "NoisyILCBaseNode": _NOISE,
    "NoisyILCCUBALIFNode": _NOISE,
    "NoisyNonSpikingBaseNode": _NOISE,
    "NoisyNonSpikingIFNode": _NOISE,
    "BaseNode": _ABSTRACT,
    "SimpleBaseNode": _ABSTRACT,
}
"""Neurons."""

LAYERS: Mapping[str, str] = {
    "SynapseFilter": "it decays only where no spike arrives, so its state is multiplied by the input; use CUBALIFNode",
    "NeuNorm": "it subtracts a running sum over the channels; use batch normalisation",
    "DropConnectLinear": "it draws its outputs at random in evaluation mode; use Linear with (1 - p) times the weights",
    "TemporalBinSum": _BINS,
    "SpikeCountToBinary": _BINS,
    **dict.fromkeys(
        ("SpikingRNNCellBase", "SpikingRNNBase", "SpikingLSTMCell", "SpikingLSTM", "SpikingVanillaRNNCell",
         "SpikingVanillaRNN", "SpikingGRUCell", "SpikingGRU"), _GATES
    ),
    **dict.fromkeys(
        ("TDModule", "TDSoftmax", "TDLayerNorm", "TDRMSNorm", "TDSiLU", "TDGELU", "TDLinear", "TDConv2d",
         "SNNMatrixOperator", "SNNElementWiseProduct", "TDScaledDotProductAttention", "TDMultiheadAttention"),
        _DIFFERENCE,
    ),
}  # fmt: skip
"""Layers that are no neurons and no linear maps of a step."""


def reason(name: str) -> str:
    """Why a neuron or layer of this class is refused."""
    return NEURONS.get(name) or LAYERS.get(name) or f"SpikingJelly's {name}, which the exporter does not know"
