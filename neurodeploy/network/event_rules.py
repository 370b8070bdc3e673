"""Learning rules for whole networks: MPD-ED, STD-ED, and the surrogate gradient that they are compared with.

They train a chain of layers on labelled samples: a source, spiking layers (dense or convolutional synapses, no bias)
and a read-out, dense synapses to integrators without spikes. With ``s_i[t]`` the spikes that arrive, a spiking layer is

    MPD-ED, BPTT   u_j[t] = (1 - dv) u_j[t-1] + sum_i w_ij s_i[t]                  leaky (LIF), ``lambda = 1 - dv``
    STD-ED         c_j[t] = (1 - du) c_j[t-1] + sum_i w_ij s_i[t];  u_j[t] = u_j[t-1] + c_j[t]       ``a = 1 - du``

    s_j[t] = u_j[t] > theta;  a spike resets u_j to 0 (and c_j: `reset_current` of `neurodeploy.network.neurons.Lif`)

and the read-out gives ``o_m = sum_t kappa(T - t) sum_j w_mj s_j[t] / T`` with ``kappa(n) = (1 - b^n) / (1 - b)``, an
integrator of currents that decay by ``b = 1 - du``: the earlier a spike, the more it counts. The loss is the cross
entropy of ``o``, and ``delta = softmax(o) - onehot(label)``.

Both rules live on events. With spikes k of neuron j at ``t_k``, and ``(t_{k-1}, t_k]`` the interval since the spike
before,

    dL/dw_ij = sum_k e_j^k sum over input spikes t in (t_{k-1}, t_k] of K(t_k - t)

    MPD-ED   e_j^k = dL/ds_j[t_k] psi(u_j[t_k] / theta)         K(n) = lambda^n
    STD-ED   e_j^k = -dL/dt_j^k / max(c_j[t_k], slope theta)    K(n) = (1 - a^{n+1}) / (1 - a)

with the triangle ``psi(x) = max(0, width - |x - 1|) / width^2``, and the error goes down to the input spikes of the
same intervals,

    MPD-ED   dL/ds_i[t] = sum w_ij e_j^k lambda^{t_k - t}       (used only where s_i[t] = 1: the mask)
    STD-ED   dL/dt_i    = -sum w_ij e_j^k a^{t_k - t}           a^n = K(n) - K(n - 1): what coming one step later costs

from the top, where ``dL/ds_j[t] = kappa(T - t) / T (W^T delta)_j`` and ``dL/dt_j = -b^{T-t-1} / T (W^T delta)_j``. K of
STD-ED grows with n, so no input spike ever seems to act the wrong way round. ``BPTT`` is the same network as MPD-ED
with the surrogate ``psi`` in every step and not at spikes only, computed for all neurons, back through time.

The adaptive firing threshold keeps layers alive: one number a layer, lowered while its neurons fire too seldom, and
raised again no further than to where it began.

Sources: Wei et al., "Event-Driven Learning for Spiking Neural Networks", arXiv 2403.00270 (the two rules' ideas:
learning from spike times with an adaptive threshold, masked surrogate gradients; its formulas were not at hand, these
are ours); Zhu et al., "Training Spiking Neural Networks with Event-driven Backpropagation", NeurIPS 2022 (intervals
between spikes, a backward kernel of one sign); Neftci et al., IEEE Signal Processing Magazine 36(6), 2019 (surrogate
gradients).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError, did_you_mean

from .arrays import Array
from .connectivity import Conv2d, Dense, with_weights
from .dispatch import expect
from .event_rule import RULES as RULES
from .event_rule import AdaptiveThreshold as AdaptiveThreshold
from .event_rule import EventRule as EventRule
from .event_rule import RuleName as RuleName
from .network import TRAINS_EQUALLY, Handle, Network, Population, Projection
from .neurons import Lif, Source


@dataclass(frozen=True, eq=False)
class Layer:
    """A plastic projection and the spiking population that it ends in.

    Args:
        projection: whose weights learn.
        source, target: its populations; images as ``(channels, height, width)``, else ``(neurons,)``.
        keep: what a step leaves of the leaking variable (lambda of MPD-ED, a of STD-ED).
        threshold: theta.
    """

    projection: Projection
    source: Population
    target: Population
    keep: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Chain:
    """A network as the rules see it.

    Args:
        layers: from the input on.
        readout: dense synapses from the last layer to the classes.
        keep: b of the read-out.
    """

    network: Network
    source: Population
    layers: tuple[Layer, ...]
    readout: Projection
    keep: float

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.readout.connectivity.outputs

    def with_learned(self, weights: Sequence[Array], readout: Array, thresholds: Sequence[Array]) -> Network:
        """The network with other weights (each in its projection's layout) and thresholds ``[neurons]``."""
        values = {layer.projection.name: w for layer, w in zip(self.layers, weights, strict=True)}
        values[self.readout.name] = readout
        levels = {layer.target.name: level for layer, level in zip(self.layers, thresholds, strict=True)}
        projections = tuple(
            replace(p, connectivity=with_weights(p.connectivity, np.array(values[p.name]), p.connectivity.exponent))
            for p in self.network.projections
        )
        populations = tuple(
            replace(p, neuron=replace(expect(p, Lif, "learning"), threshold=levels[p.name])) if p.name in levels else p
            for p in self.network.populations
        )
        return replace(self.network, populations=populations, projections=projections)


def chain(network: Network, rule: RuleName) -> Chain:
    """Read a network as a chain of layers that the rule can train.

    Raises:
        UnsupportedError: it is none; names the population or projection and says what is allowed.
    """
    if network.arithmetic != "float":
        raise UnsupportedError(
            f"network {network.name!r} has integer weights", allowed="a float network", hint="give it before quantise"
        )
    if len(network.inputs) != 1 or len(network.inputs) + len(network.projections) != len(network.populations):
        raise UnsupportedError(
            f"network {network.name!r} is not a chain of layers",
            found=f"{len(network.inputs)} input(s), {len(network.populations)} populations, "
            f"{len(network.projections)} projections",
            allowed="one input and one projection into each other population",
        )
    source = network.inputs[0]
    here, layers = source, list[Layer]()
    while True:
        following = [p for p in network.projections if p.source == here.name]
        if len(following) != 1:
            raise UnsupportedError(
                f"population {here.name!r} sends to {len(following)} projections",
                allowed="one, up to a read-out without spikes",
            )
        projection = following[0]
        target = network.by_name[projection.target]
        if target.join is not None:
            raise UnsupportedError(
                f"population {target.name!r} has a MAX of compartments in front",
                allowed="layers without, for this rule",
                hint=TRAINS_EQUALLY,
            )
        _check_projection(projection)
        if not target.spiking:
            return Chain(network, source, tuple(layers), projection, _readout(projection, target, layers))
        layers.append(_layer(projection, here, target, rule))
        here = target


def _check_projection(projection: Projection) -> None:
    kind, where = projection.connectivity, f"projection {projection.name!r}"
    plain = isinstance(kind, Dense) or (isinstance(kind, Conv2d) and kind.groups == 1)
    if not plain or kind.exponent:
        raise UnsupportedError(
            f"{where} cannot learn by this rule", found=type(kind).__name__, allowed="Dense, or Conv2d with one group"
        )
    if projection.delay or projection.bias is not None or projection.rule is not None:
        raise UnsupportedError(f"{where} has a delay, a bias or a rule of its own", allowed="none of them")


def _same(population: Population, neuron: Lif, name: str) -> float:
    values = np.unique(np.asarray(getattr(neuron, name), np.float64))
    if len(values) != 1:
        raise UnsupportedError(
            f"population {population.name!r}: {name} differs between neurons",
            found=f"{values.min():g} to {values.max():g}",
            allowed="one value for a layer that learns",
        )
    return float(values[0])


def _layer(projection: Projection, source: Population, target: Population, rule: RuleName) -> Layer:
    neuron, where = expect(target, Lif, rule), f"population {target.name!r}"
    plain = (
        neuron.reset == "hard" and neuron.reset_time == "now" and neuron.comparison == ">"
        and not neuron.slow and neuron.max_spikes == 1 and neuron.floor is None and neuron.lower is None
    )  # fmt: skip
    if not plain:
        raise UnsupportedError(
            f"{where} cannot learn by {rule}", found=neuron.label, allowed="integrate-and-fire, hard reset"
        )
    if neuron.reset_current != (rule == "std-ed"):
        raise UnsupportedError(
            f"{where}: reset_current does not suit {rule}", found=neuron.reset_current, allowed=rule == "std-ed"
        )
    found = {name: _same(target, neuron, name) for name in ("du", "dv", "threshold", "bias", "reset_to", "initial")}
    wanted = {
        "bias": 0.0,
        "reset_to": 0.0,
        "initial": 0.0,
        ("dv" if rule == "std-ed" else "du"): float(rule != "std-ed"),
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise UnsupportedError(f"{where}: {name} does not suit {rule}", found=found[name], allowed=value)
    if found["threshold"] <= 0:
        raise UnsupportedError(f"{where}: its threshold does not suit {rule}", found=found["threshold"], allowed="> 0")
    keep = 1 - found["du" if rule == "std-ed" else "dv"]
    if rule == "std-ed" and not 0 <= keep < 1:
        raise UnsupportedError(f"{where}: du does not suit {rule}", found=1 - keep, allowed="above 0, up to 1")
    return Layer(projection, source, target, keep, found["threshold"])


def _readout(projection: Projection, target: Population, layers: list[Layer]) -> float:
    neuron = expect(target, Lif, "learning")
    found = {name: _same(target, neuron, name) for name in ("du", "dv", "bias", "initial")}
    if not layers or not isinstance(projection.connectivity, Dense):
        raise UnsupportedError(
            f"the read-out {target.name!r} cannot learn", allowed="dense synapses from a spiking layer to integrators"
        )
    if found["dv"] or found["bias"] or found["initial"] or not 0 < found["du"] <= 1:
        raise UnsupportedError(
            f"the read-out {target.name!r} is not a plain integrator",
            found=", ".join(f"{name} {value:g}" for name, value in found.items()),
            allowed="du above 0, dv, bias and initial 0",
        )
    return 1 - found["du"]


def lif(
    size: int, *, du: float = 1.0, dv: float = 0.0, threshold: float = 1.0, spiking: bool = True,
    reset_current: bool = False,
) -> Lif:  # fmt: skip
    """Neurons of one kind, hard reset to 0; see `neurodeploy.network.neurons.Lif`."""
    nothing = np.zeros(size)
    return Lif(
        du=np.full(size, du), dv=np.full(size, dv), threshold=np.full(size, threshold), bias=nothing, reset_to=nothing,
        initial=nothing, spiking=spiking, reset="hard" if spiking else "none", reset_current=reset_current,
    )  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A network to be trained: hidden layers as neurons of a dense layer, or ``(channels, kernel, stride)``."""

    source: tuple[int, ...]
    hidden: tuple[int | tuple[int, int, int], ...]
    classes: int


def build(
    shape: Shape, rule: RuleName, *, seed: int = 0, gain: float = 1.0, keep: float | None = None,
    readout_keep: float = 0.9,
) -> Network:  # fmt: skip
    """An untrained chain with normally distributed weights.

    Args:
        shape: of the network.
        rule: which neurons it needs.
        seed: of the weights.
        gain: standard deviation of a weight times the square root of the fan-in, for a threshold of 1.
        keep: lambda or a; 0.95 and 0.7 when not given.
        readout_keep: b.
    """
    random = np.random.default_rng(seed)
    here = Population("input", shape.source, Source(), Handle("input"))
    populations, projections = [here], []
    for number, hidden in enumerate(shape.hidden, 1):
        kind: Dense | Conv2d
        if isinstance(hidden, int):
            kind = Dense(random.normal(0, gain / np.sqrt(here.size), (hidden, here.size)))
            extent: tuple[int, ...] = (hidden,)
        else:
            channels, size, stride = hidden
            if len(here.shape) != 3:
                raise InvalidInputError(
                    f"hidden layer {number} cannot be a convolution", found=f"a source of shape {here.shape}",
                    allowed="(channels, height, width)",
                )  # fmt: skip
            deviation = gain / np.sqrt(here.shape[0] * size * size)
            weights = random.normal(0, deviation, (channels, here.shape[0], size, size))
            kind = Conv2d(weights, here.shape, (stride, stride), (size // 2, size // 2))
            extent = kind.output_shape
        leaky: dict[str, Any] = {"du": 1 - (0.7 if keep is None else keep)} if rule == "std-ed" else {
            "dv": 1 - (0.95 if keep is None else keep)
        }  # fmt: skip
        neuron = lif(int(np.prod(extent)), **leaky, reset_current=rule == "std-ed")
        layer = Population(f"hidden{number}", extent, neuron, Handle(f"hidden{number}"))
        projections.append(Projection(f"synapses{number}", here.name, layer.name, kind))
        populations.append(layer)
        here = layer
    dense = Dense(random.normal(0, gain / np.sqrt(here.size), (shape.classes, here.size)))
    integrators = lif(shape.classes, du=1 - readout_keep, spiking=False)
    populations.append(Population("readout", (shape.classes,), integrators, Handle("readout")))
    projections.append(Projection("synapses-out", here.name, "readout", dense))
    return Network(f"learned-{rule}", tuple(populations), tuple(projections), ("readout",), 1e-3, read="last")


def with_rule(network: Network, rule: EventRule, names: Sequence[str] = ()) -> Network:
    """The network with a rule on its projections.

    Args:
        names: of what learns: projections, populations in which they end, or modules they came from; all projections
            whose target a rule can teach, but bias axons and the kernels of poolings, when not given. Event rules of
            others are taken away.

    Raises:
        InvalidInputError: a name of none of these.
    """
    known = {q.name: [q.name, q.target, q.handle.module] for q in network.projections}
    every = [name for place in range(3) for name in dict.fromkeys(own[place] for own in known.values()) if name]
    if unknown := sorted(set(names) - set(every)):
        raise InvalidInputError(
            "a rule is given to a projection that does not exist",
            found=unknown[0] + did_you_mean(unknown[0], every), allowed=", ".join(every),
        )  # fmt: skip
    plastic = {q.name for q in network.projections if _plastic(network, q)}
    chosen = (
        plastic if not names else {n for n, own in known.items() if n in names or (n in plastic and {*own} & {*names})}
    )
    if idle := [name for name in names if not any(name in known[projection] for projection in chosen)]:
        raise InvalidInputError(
            f"{idle[0]!r} has no synapses that learn", found="bias axons, or the kernel of a pooling",
            allowed=", ".join(sorted(plastic)),
        )  # fmt: skip
    projections = [
        replace(q, rule=rule if q.name in chosen else q.local_rule) if q.name in chosen or q.event_rule else q
        for q in network.projections
    ]
    return replace(network, projections=tuple(projections))


def _plastic(network: Network, q: Projection) -> bool:
    """Whether a projection is one of a layer of weights, and no bias axon and no pooling."""
    source, kind = network.by_name[q.source], q.connectivity
    bias_axon = source.external and source not in network.inputs
    pooling = isinstance(kind, Conv2d) and kind.groups > 1 and len(np.unique(kind.weights)) == 1
    return not bias_axon and not pooling and network.by_name[q.target].neuron.plastic and q.local_rule is None
